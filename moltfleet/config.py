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
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from moltfleet.model.catalogue import CatalogueEntry
from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import printable
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.policy import Policy

DEFAULT_URI = "qemu:///system"
FILE_NAME = "moltfleet.toml"
_LARGEST_FILE = 2**20


def _parse_size(value: object) -> object:
    """Read what TOML has for a size: text, or a bare number of MiB."""
    if isinstance(value, Size):
        return value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise ValueError("is not a size such as 12G")
    try:
        return Size.parse(str(value))
    except InvalidInput as error:
        raise ValueError(error.brief) from error


Amount = Annotated[Size, BeforeValidator(_parse_size)]
Seconds = Annotated[float, Field(gt=0, le=86_400, strict=True)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Defaults(_Section):
    """`[defaults]`: what a clone or golden gets when neither the command nor the golden says."""

    memory: Amount = Field(default=Size.of_gib(16), description="Memory of a clone; a bare number is MiB.")
    vcpus: int = Field(default=4, ge=1, le=512, strict=True, description="Virtual CPUs of a clone.")
    disk: Amount = Field(
        default=Size.of_gib(50), description="Disk size of a golden; what is not written takes no space."
    )
    user: str = Field(
        default="agent", pattern=r"^[a-z_][a-z0-9_-]{0,31}$", description="The guest user that is logged in as."
    )
    profile: Literal["none", "minimal", "agent", "desktop"] = Field(
        default="agent", description="Profile of a golden build."
    )
    golden: str = Field(default="", description="Golden of `create` when none is named.")


class Timeouts(_Section):
    """`[timeouts]`: the deadline of each wait, in seconds, before the factor for emulated guests."""

    domain: Seconds = Field(default=30, description="A started domain runs.")
    address: Seconds = Field(default=120, description="A guest has an address.")
    ssh: Seconds = Field(default=180, description="Its SSH server answers.")
    login: Seconds = Field(default=60, description="It accepts the key.")
    cloud_init: Seconds = Field(default=1800, description="cloud-init is done, or a build's script has run.")
    tools: Seconds = Field(default=300, description="The guest tools are installed and verified.")
    shutdown: Seconds = Field(default=90, description="A guest that was asked to power off is off.")
    libvirt_call: Seconds = Field(
        default=60, description="One libvirt call answers (saving and uploading have their own)."
    )

    def scaled(self, factor: float) -> Timeouts:
        """Return every deadline multiplied, as emulated guests need it."""
        return Timeouts.model_construct(**{name: getattr(self, name) * factor for name in Timeouts.model_fields})


class Nightly(_Section):
    """`[nightly]`: what `moltfleet nightly` does, and until when."""

    hours: float = Field(default=4, gt=0, le=24, strict=True, description="Hours after which a night ends by itself.")


class LeakPolicy(_Section):
    """`[policy]`: when a clone counts as leaking, and what stands against molting it by itself."""

    horizon_minutes: float = Field(
        default=120, gt=0, le=1440, strict=True, description="It leaks when its memory is used up within so long."
    )
    critical_minutes: float = Field(default=15, gt=0, le=1440, strict=True, description="And is critical within.")
    leaking_percent: float = Field(
        default=85, gt=0, le=100, strict=True, description="It leaks when so much is in use, whatever the forecast."
    )
    critical_percent: float = Field(default=95, gt=0, le=100, strict=True, description="And is critical from.")
    cooldown_minutes: float = Field(
        default=60, ge=0, le=1440, strict=True, description="After a molt it is not molted by itself for so long."
    )
    quiet_hours: tuple[str, ...] = Field(
        default=(), description='Local hours in which only what is critical is molted, such as ["09:00-18:00"].'
    )
    busy_percent: float = Field(
        default=5, ge=0, le=6400, strict=True, description="It is busy when its agents use so much of one processor."
    )
    busy_minutes: float = Field(default=5, gt=0, le=120, strict=True, description="Over so long.")
    pool_percent: float = Field(
        default=5, ge=0, le=50, strict=True, description="The clone that fills the pool is paused when no more is free."
    )
    restart: bool = Field(default=True, strict=True, description="Start clones that went down by themselves.")
    guest_seconds: float = Field(
        default=10, gt=0, le=600, strict=True, description="How long a survey waits for a guest (longer if emulated)."
    )

    @field_validator("quiet_hours")
    @classmethod
    def _check_hours(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        from moltfleet.model.policy import Hours

        try:
            return tuple(str(Hours.parse(text)) for text in texts)
        except InvalidInput as error:
            raise ValueError(error.brief) from error

    @model_validator(mode="after")
    def _check_order(self) -> LeakPolicy:
        if self.critical_minutes > self.horizon_minutes:
            raise ValueError("critical_minutes is more than horizon_minutes")
        if self.critical_percent < self.leaking_percent:
            raise ValueError("critical_percent is less than leaking_percent")
        return self

    def rules(self) -> Policy:
        """Return it as decisions are made by."""
        from moltfleet.model.policy import Hours, Policy

        return Policy(
            horizon_s=self.horizon_minutes * 60,
            critical_s=self.critical_minutes * 60,
            leaking_share=self.leaking_percent / 100,
            critical_share=self.critical_percent / 100,
            cooldown_s=self.cooldown_minutes * 60,
            quiet=tuple(Hours.parse(text) for text in self.quiet_hours),
            busy_share=self.busy_percent / 100,
            busy_s=self.busy_minutes * 60,
            pool_share=self.pool_percent / 100,
            restart=self.restart,
            guest_s=self.guest_seconds,
        )


class ImageEntry(_Section):
    """`[images.NAME]`: a base image that `golden build --image NAME` knows."""

    url: str = Field(pattern=r"^(https?|file)://", description="Where the image is.")
    checksums_url: str | None = Field(default=None, description="A SHA256SUMS or SHA512SUMS file that lists it.")
    sha256: str | None = Field(
        default=None, pattern=r"^[0-9a-fA-F]{64}$", description="Its SHA-256, instead of a list."
    )
    keyring: str | None = Field(default=None, description="Path of the OpenPGP keyring that signs the list.")
    signature_url: str | None = Field(default=None, description='The signature; by default checksums_url + ".gpg".')

    def entry(self) -> CatalogueEntry:
        """Return it as the catalogue has it."""
        return CatalogueEntry(**self.model_dump())


def is_session_uri(uri: str) -> bool:
    """Whether ``uri`` means an ordinary user's own libvirt."""
    return uri.split("?")[0].endswith("/session")


class Config(_Section):
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
    policy: LeakPolicy = LeakPolicy()
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
    homes = [home for home in ("defaults", "timeouts", "nightly", "policy") if name in _model_of((home,)).model_fields]
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
        ("nightly",): Nightly,
        ("policy",): LeakPolicy,
    }
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
