"""moltfleet.toml to a frozen Config: where it is looked for, what may stand in it, and what is wrong with it.

Refuses unknown keys. Importing this costs pydantic, so the command line imports it only where a command runs.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import printable
from moltfleet.model.size import Size
from moltfleet.tables import Amount, ImageEntry, Section
from moltfleet.tables import Defaults as Defaults
from moltfleet.tables import LeakPolicy as LeakPolicy
from moltfleet.tables import Logins as Logins
from moltfleet.tables import LoginTool as LoginTool
from moltfleet.tables import Nightly as Nightly
from moltfleet.tables import Rescue as Rescue
from moltfleet.tables import Timeouts as Timeouts

DEFAULT_URI = "qemu:///system"
FILE_NAME = "moltfleet.toml"
_LARGEST_FILE = 2**20


def is_session_uri(uri: str) -> bool:
    """Whether ``uri`` means an ordinary user's own libvirt."""
    return uri.split("?")[0].endswith("/session")


class Config(Section):
    """The settings of one run. Every field has a value; ``uri`` already is the effective one."""

    uri: str = Field(default=DEFAULT_URI, min_length=1, description="libvirt connection.")
    pool: str = Field(default="moltfleet", pattern=r"^[A-Za-z0-9._-]+$", description="Name of our storage pool.")
    pool_path: Path = Field(
        default=Path("/var/lib/libvirt/images/moltfleet"),
        description="Its directory; for qemu:///session ~/.local/share/moltfleet/pool.",
    )
    network: str = Field(
        default="moltfleet",
        min_length=1,
        description='"moltfleet" (our own), another libvirt network, or "user", which is the default in a session.',
    )
    subnets: tuple[str, ...] = Field(
        default=tuple(f"192.168.{third}.0/24" for third in range(150, 162)),
        min_length=1,
        description="Subnets for our network; the first free one is taken.",
    )
    reserve: Amount = Field(default=Size.of_gib(10), description="Host memory that clones never get.")
    host_memory: Amount | None = Field(
        default=None, description="Memory that counts as the host's; by default what the host has."
    )
    disk_growth: Amount = Field(
        default=Size.of_gib(1), description="What a clone is expected to write at least, between two molts."
    )
    virt_type: Literal["auto", "kvm", "qemu"] = Field(default="auto", description="Use KVM, emulate, or find out.")
    emulation_factor: float = Field(
        default=4, ge=1, le=100, description="Timeouts are this many times longer when emulated."
    )
    egress: Literal["internet", "lan", "none"] = Field(default="internet", description="What clones may reach.")
    defaults: Defaults = Defaults()
    authorized_keys: tuple[str, ...] = Field(
        default=(), description="Your public keys for clones, as paths or key lines; none listed: ~/.ssh/id_*.pub."
    )
    timeouts: Timeouts = Timeouts()
    nightly: Nightly = Nightly()
    rescue: Rescue = Rescue()
    policy: LeakPolicy = LeakPolicy()
    logins: Logins = Logins()
    notify: str = Field(
        default="",
        description="A command that is run, without a shell, when something happens: docs/policy.md.",
    )
    jobs: int = Field(
        default_factory=lambda: max(2, min(4, (os.cpu_count() or 1) // 2)),
        ge=1,
        le=64,
        strict=True,
        description="Clones worked on side by side; by default half the CPUs, at least 2, at most 4.",
    )
    shed_hours: float = Field(default=24, ge=0, strict=True, description="Hours that a shed layer stays for `undo`.")
    images: Mapping[str, ImageEntry] = Field(default_factory=dict)

    @property
    def catalogue(self) -> Mapping[str, CatalogueEntry]:
        """The user's own base images by name."""
        return {name: image.entry() for name, image in self.images.items()}

    @property
    def is_session(self) -> bool:
        """Whether the connection is an ordinary user's own."""
        return is_session_uri(self.uri)

    @model_validator(mode="before")
    @classmethod
    def _fit_session(cls, data: Any) -> Any:
        """Give a session connection the pool directory and the network that need no privilege."""
        if not isinstance(data, dict) or not is_session_uri(str(data.get("uri", DEFAULT_URI))):
            return data
        session = {"pool_path": Path.home() / ".local/share/moltfleet/pool", "network": "user"}
        return session | data

    @field_validator("pool_path")
    @classmethod
    def _make_absolute(cls, path: Path) -> Path:
        expanded = path.expanduser()
        if not expanded.is_absolute():
            raise ValueError("is not an absolute path")
        return expanded

    @field_validator("notify")
    @classmethod
    def _check_command(cls, command: str) -> str:
        try:
            shlex.split(command)
        except ValueError as error:
            raise ValueError(f"is no command line: {error}") from error
        return command

    @field_validator("subnets")
    @classmethod
    def _check_subnets(cls, subnets: tuple[str, ...]) -> tuple[str, ...]:
        for subnet in subnets:
            _check_subnet(subnet)
        return subnets


def _check_subnet(text: str) -> None:
    from ipaddress import IPv4Network

    network = IPv4Network(text)
    # One slot per host address is defined beforehand, 253 of them (DESIGN D3).
    if network.prefixlen != 24:
        raise ValueError(f"{text} is not a /24 network")


def load_config(file: Path | None, *, uri: str | None, environment: Mapping[str, str]) -> Config:
    """Read the settings; ``file`` and ``uri`` are the command's own options and win.

    Raises: InvalidInput with one line that names file and, where it can be told, line.
    """
    path = find_file(file, environment=environment)
    text = _read(path) if path else ""
    document = _parse(text, path)
    chosen = uri or environment.get("LIBVIRT_DEFAULT_URI")
    if chosen:
        document["uri"] = chosen
    try:
        return Config.model_validate(document)
    except ValidationError as error:
        raise _explain(error, path=path, text=text) from error


def find_file(file: Path | None, *, environment: Mapping[str, str]) -> Path | None:
    """Return the file that counts: the option, MOLTFLEET_CONFIG, the user's, the host's, or none.

    Raises: InvalidInput when a file that was asked for is not there.
    """
    asked = file or (Path(environment["MOLTFLEET_CONFIG"]) if environment.get("MOLTFLEET_CONFIG") else None)
    if asked:
        if not asked.is_file():
            raise InvalidInput(f"Config file {printable(str(asked))!r} does not exist")
        return asked
    home = Path(environment.get("XDG_CONFIG_HOME") or Path(environment.get("HOME") or Path.home()) / ".config")
    candidates = (home / "moltfleet" / FILE_NAME, Path("/etc/moltfleet") / FILE_NAME)
    return next((path for path in candidates if path.is_file()), None)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
        if len(content) > _LARGEST_FILE:
            raise InvalidInput(f"Config file '{path}' is longer than 1 MiB")
        return content.decode()
    except OSError as error:
        raise InvalidInput(f"Config file '{path}' cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"Config file '{path}' is not UTF-8 text") from error


def _parse(text: str, path: Path | None) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"Config file '{path}' is not TOML: {error}", hint="See https://toml.io.") from error


def _explain(error: ValidationError, *, path: Path | None, text: str) -> InvalidInput:
    """Turn pydantic's most telling finding into one line and a hint; an unknown key tells most."""
    findings = error.errors(include_url=False)
    first = next((finding for finding in findings if finding["type"] == "extra_forbidden"), findings[0])
    location = tuple(str(part) for part in first["loc"] if not isinstance(part, int))
    key = printable(".".join(location))
    line = _line_of(location, text)
    where = f"{path}:{line}" if line else str(path or "settings")
    if first["type"] == "extra_forbidden":
        return InvalidInput(f"{where}: key '{key}' is unknown", hint=_nearest(location))
    return InvalidInput(f"{where}: {key}: {printable(_plain_message(first))}", hint=_description(location))


def _plain_message(finding: Any) -> str:
    if finding["type"] == "string_pattern_mismatch":
        return f"{finding['input']!r} is not usable here"
    if finding["type"] in ("model_type", "dict_type", "mapping_type"):
        return "is not a table"
    cause = finding.get("ctx", {}).get("error")
    message = str(cause) if isinstance(cause, ValueError) else str(finding["msg"])
    return message[0].lower() + message[1:]


def _nearest(location: tuple[str, ...]) -> str:
    """Say which known key is meant, where it belongs, or which there are."""
    *section, name = location
    known = sorted(_model_of(tuple(section)).model_fields)
    homes = [
        home
        for home in ("defaults", "timeouts", "nightly", "policy", "rescue", "logins")
        if name in _model_of((home,)).model_fields
    ]
    if homes and not section:
        return f"It belongs under [{homes[0]}]."
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    if close:
        return f"The nearest known key is '{'.'.join([*section, close[0]])}'."
    return f"It belongs under [{homes[0]}]." if homes else f"Known keys: {', '.join(known)}."


def _model_of(section: tuple[str, ...]) -> type[BaseModel]:
    """Return the model that a table is checked by."""
    models: dict[tuple[str, ...], type[BaseModel]] = {
        (): Config,
        ("defaults",): Defaults,
        ("timeouts",): Timeouts,
        ("rescue",): Rescue,
        ("nightly",): Nightly,
        ("policy",): LeakPolicy,
        ("logins",): Logins,
    }
    if section[:2] == ("logins", "more"):
        return LoginTool
    return models.get(section, ImageEntry)


def _description(location: tuple[str, ...]) -> str | None:
    field = _model_of(location[:-1]).model_fields.get(location[-1]) if location else None
    return field.description if field else None


def _line_of(location: tuple[str, ...], text: str) -> int | None:
    """Find the line that sets the key, for `[table]` headers and plain `key =` lines; tomllib does not tell."""
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        header = re.match(r"\s*\[+\s*([^\]]+?)\s*\]", line)
        if header:
            table = _split_key(header[1])
            if table == location:
                return number
        assignment = re.match(r"\s*([A-Za-z0-9_.\"'-]+)\s*=", line)
        if assignment and table + _split_key(assignment[1]) == location:
            return number
    return None


def _split_key(key: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in key.split("."))
