"""The files that contain the fleet on its host, made from the templates of ``bootstrap/host/``; writes nothing."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moltfleet.model.containment import ContainedFile, Limits
from moltfleet.model.errors import WrongState

if TYPE_CHECKING:
    from moltfleet.model.ports import Bootstrap
    from moltfleet.model.size import Size

UNITS = "/etc/systemd/system"
EGRESS_UNIT = "moltfleet-egress.service"
EGRESS_UNIT_PATH = f"{UNITS}/{EGRESS_UNIT}"
EGRESS_PATH = "/etc/moltfleet/egress.nft"
EGRESS_TABLE = "moltfleet_egress"
EARLYOOM_DEFAULTS = "/etc/default/earlyoom"
DOCKER_SETTINGS = "/etc/docker/daemon.json"
DOCKER_SLICE = "docker.slice"
DROP_IN = "50-moltfleet.conf"
# Our own network's bridge; adapters/libvirt/networks.py makes it.
BRIDGE = "moltfleet0"

PROGRAMS = {"earlyoom": "/usr/bin/earlyoom", "nft": "/usr/sbin/nft"}

# Kernel names (15 characters at most) that earlyoom spares: the ways in, and what keeps the host and its guests going.
AVOID = "^(sshd.*|tmux.*|systemd.*|dbus-.*|libvirtd|virt[a-z]*d|dnsmasq|dockerd|containerd.*|earlyoom)$"

# RFC 6890 and the multicast and reserved blocks. Link-local is where clouds keep their metadata service.
_NEVER4 = ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3")
_PRIVATE4 = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.0.0.0/24", "192.168.0.0/16", "198.18.0.0/15")
_NEVER6 = ("::/127", "::ffff:0.0.0.0/96", "fe80::/10", "ff00::/8")
_PRIVATE6 = ("64:ff9b::/96", "fc00::/7", "fec0::/10")
_REFUSED: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "internet": (_NEVER4 + _PRIVATE4, _NEVER6 + _PRIVATE6),
    "lan": (_NEVER4, _NEVER6),
    "none": (("0.0.0.0/0",), ("::/0",)),
}
_DNS = "fib daddr . iif type local meta l4proto { tcp, udp } th dport 53 accept"
_NO_DNS = "# no DNS: names that are looked up leave the host as well"


@dataclass(frozen=True, slots=True)
class Containment:
    """What the files depend on. ``sshd`` and ``libvirt`` are unit names, ``programs`` paths by name.

    ``avoid`` is a regular expression of somebody's own; ``docker_max`` is None where containers are left alone,
    ``docker_settings`` is what Docker's settings hold now.
    """

    limits: Limits
    egress: str
    sshd: tuple[str, ...] = ("ssh.service",)
    libvirt: tuple[str, ...] = ("libvirtd.service",)
    programs: Mapping[str, str] = field(default_factory=lambda: dict(PROGRAMS))
    avoid: str | None = None
    docker_max: Size | None = None
    docker_settings: bytes | None = None


def contained_files(containment: Containment, templates: Bootstrap) -> tuple[ContainedFile, ...]:
    """Render every file, in the order in which they are written. Raises: WrongState for unusable Docker settings."""
    limits, nft = containment.limits, {"NFT": containment.programs["nft"]}
    drop_ins = {
        "machine.slice": ("machine.slice.conf", machine_values(limits)),
        "system.slice": ("system.slice.conf", {"GUARD": _mib(limits.guard)}),
        **{unit: ("sshd.conf", {"SSHD_MIN": _mib(limits.sshd_min)}) for unit in containment.sshd},
        **{unit: ("libvirtd.conf", {"LIBVIRTD_MIN": _mib(limits.libvirtd_min)}) for unit in containment.libvirt},
        "earlyoom.service": ("earlyoom.conf", earlyoom_values(containment)),
        "nftables.service": ("nftables.conf", nft),
    }
    if containment.docker_max is not None:
        drop_ins[DOCKER_SLICE] = ("docker.slice.conf", {"DOCKER_MAX": _mib(containment.docker_max)})
    files = [
        ContainedFile(f"{UNITS}/{unit}.d/{DROP_IN}", render(templates, template, values))
        for unit, (template, values) in drop_ins.items()
    ]
    if containment.docker_max is not None:
        merged = merge_docker_settings(containment.docker_settings)
        files.append(ContainedFile(DOCKER_SETTINGS, merged, merged=True))
    files.append(ContainedFile(EGRESS_PATH, render(templates, "egress.nft", egress_values(containment.egress))))
    files.append(ContainedFile(EGRESS_UNIT_PATH, render(templates, EGRESS_UNIT, nft)))
    return tuple(files)


def render(templates: Bootstrap, name: str, values: Mapping[str, str]) -> bytes:
    """Fill a template's ``@NAME@`` in; a name without a value, or a value without a name, is a bug."""
    text = templates.read(f"host/{name}").decode()
    used = set(re.findall(r"@([A-Z0-9_]+)@", text))
    assert used == values.keys(), f"{name}: {used ^ values.keys()}"
    return re.sub(r"@([A-Z0-9_]+)@", lambda match: values[match[1]], text).encode()


def machine_values(limits: Limits) -> dict[str, str]:
    """The values of machine.slice's drop-in."""
    return {"MEMORY": str(limits.memory), "RESERVE": str(limits.reserve), "MACHINE_MAX": _mib(limits.machine_max)}


def earlyoom_values(containment: Containment) -> dict[str, str]:
    """The values of earlyoom's drop-in; what was spared before is spared still."""
    limits, avoid = containment.limits, containment.avoid
    return {
        "EARLYOOM": containment.programs["earlyoom"],
        "TERM": str(limits.term.kib),
        "KILL": str(limits.kill.kib),
        "AVOID": _in_unit(f"({avoid})|({AVOID})" if avoid else AVOID),
    }


def egress_values(egress: str) -> dict[str, str]:
    """The values of the nftables table for "internet", "lan" or "none"."""
    refused4, refused6 = _REFUSED[egress]
    return {
        "BRIDGE": BRIDGE,
        "EGRESS": egress,
        "REFUSED4": ", ".join(refused4),
        "REFUSED6": ", ".join(refused6),
        "DNS": _NO_DNS if egress == "none" else _DNS,
    }


def avoided_in(defaults: bytes | None) -> str | None:
    """Return the ``--avoid`` of EARLYOOM_ARGS in /etc/default/earlyoom; earlyoom knows only one, the last."""
    found = re.findall(r"^\s*EARLYOOM_ARGS=(.*)$", (defaults or b"").decode("utf-8", "replace"), re.MULTILINE)
    try:
        words = shlex.split(" ".join(shlex.split(found[-1]))) if found else []
    except ValueError:
        return None
    pairs = zip(words, (*words[1:], ""), strict=False)
    given = [after if word == "--avoid" else word.partition("=")[2] for word, after in pairs if _is_avoid(word)]
    return given[-1] or None if given else None


def _is_avoid(word: str) -> bool:
    return word == "--avoid" or word.startswith("--avoid=")


def merge_docker_settings(settings: bytes | None) -> bytes:
    """Put containers into docker.slice, everything else kept. Raises: WrongState, also when they are elsewhere."""
    document = _docker_document(settings)
    parent = document.get("cgroup-parent", DOCKER_SLICE)
    if parent != DOCKER_SLICE:
        raise WrongState(
            f"Docker's containers already have a place of their own: {parent!r}",
            hint=f"Limit that one, or take cgroup-parent out of {DOCKER_SETTINGS}.",
        )
    if document.get("cgroup-parent") == DOCKER_SLICE and settings is not None:
        return settings
    return _json({**document, "cgroup-parent": DOCKER_SLICE})


def unmerge_docker_settings(settings: bytes) -> bytes | None:
    """Take our key out of settings that were edited since; None when nothing else is left."""
    document = _docker_document(settings)
    if document.get("cgroup-parent") != DOCKER_SLICE:
        return settings
    del document["cgroup-parent"]
    return _json(document) if document else None


def _docker_document(settings: bytes | None) -> dict[str, object]:
    try:
        document = json.loads(settings) if settings and settings.strip() else {}
    except ValueError as error:
        raise WrongState(f"File {DOCKER_SETTINGS} is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise WrongState(f"File {DOCKER_SETTINGS} is not a JSON object")
    return document


def _json(document: Mapping[str, object]) -> bytes:
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _mib(size: Size) -> str:
    return f"{size.mib}M"


def _in_unit(pattern: str) -> str:
    """Quote for single quotes in a unit's ExecStart (systemd.service(5): %, $ and backslash mean something there)."""
    return pattern.replace("\\", "\\\\").replace("'", "\\'").replace("%", "%%").replace("$", "$$")
