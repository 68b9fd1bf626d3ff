"""The rows of `host check` about services: what acts when memory runs out, what must survive it, what clones reach."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from moltfleet.model.containment import digest_of
from moltfleet.model.size import Size
from moltfleet.operations import host_files as files
from moltfleet.operations.host_check_memory import CONTAIN, Finding, ok, unknown, warning

if TYPE_CHECKING:
    from moltfleet.operations.host import Host

WHY_EARLYOOM = (
    "What is outside of every limit can still use up the reserve: earlyoom acts while there is something left."
)
WHY_AVOID = "A last line that ends sshd or libvirtd takes the way in, or every guest."
WHY_OOMD = "systemd-oomd ends whole groups, a terminal with all that runs in it, and acts late without swap."
WHY_SSHD = "The way in has to answer while memory is short; and what exempts its service, every session inherits."
WHY_LIBVIRTD = "Without libvirtd no clone can be molted; and what exempts its service, every emulator inherits."
WHY_WEIGHTS = "Busy clones must not starve sshd, libvirtd and the journal of processor and disk."
WHY_DOCKER = "Containers stand in system.slice, outside of every limit, unless they are given a slice of their own."
WHY_EGRESS = (
    "Isolated ports keep clones apart on the bridge only: routed, they reach each other, the host and its network."
)
WHY_GUESTS = (
    "Suspending the guests at shutdown writes all their memory to disk, and brings back states that molts must discard."
)

SSHD_UNITS = ("ssh.service", "sshd.service")
LIBVIRT_UNITS = ("libvirtd.service", "virtqemud.service")
# The names that the last line must spare.
_SPARED = ("sshd", "libvirtd", "virtqemud", "systemd", "systemd-journal", "tmux: server")


def look_at_earlyoom(host: Host) -> Finding:
    """Whether it is there, starts at boot, runs, and decides by memory alone where there is swap."""
    if host.machine.find_program("earlyoom") is None:
        return warning("not installed", f"{CONTAIN} --install-earlyoom")
    unit = host.unit("earlyoom.service", "LoadState", "ActiveState", "UnitFileState")
    if unit.get("ActiveState") != "active":
        return warning(f"installed, and {unit.get('ActiveState') or 'unknown'}", CONTAIN)
    if unit.get("UnitFileState") not in ("enabled", "enabled-runtime", "generated"):
        return warning("runs, and would not after a boot", "sudo systemctl enable earlyoom")
    return _armed(host, _earlyoom_words(host))


def _armed(host: Host, words: Sequence[str]) -> Finding:
    if not words:
        return unknown("runs, and its arguments are not to be seen")
    if "--dryrun" in words:
        return warning("runs, and only pretends (--dryrun)", "Take --dryrun out of /etc/default/earlyoom.")
    threshold = _threshold(words)
    swap = _last(words, "-s") or "10"
    has_swap = len((host.machine.read("/proc/swaps") or b"").splitlines()) > 1
    if has_swap and not swap.startswith("100"):
        return warning(f"acts below {threshold} of available memory, and not before swap is full as well", CONTAIN)
    return ok(f"acts below {threshold} of available memory")


def _threshold(words: Sequence[str]) -> str:
    """Where it sends SIGTERM; of a percentage and a size, the lower one counts (earlyoom(1))."""
    kib, percent = _last(words, "-M"), _last(words, "-m")
    size = kib.split(",")[0] if kib else ""
    said = [str(Size(int(size) * 1024))] if size.isdigit() else []
    said += [f"{percent.split(',')[0]} %"] if percent else []
    return " or ".join(said) or "10 %"


def _last(words: Sequence[str], option: str) -> str | None:
    """The value that counts: of the last one given, joined or not."""
    found: str | None = None
    for word, after in zip(words, (*words[1:], ""), strict=False):
        if word == option:
            found = after
        elif word.startswith(f"{option}=" if option.startswith("--") else option):
            found = word.removeprefix(option).removeprefix("=")
    return found


def _earlyoom_words(host: Host) -> tuple[str, ...]:
    """The arguments of the running one. Raises: MoltfleetError when they may not be read."""
    for process in host.machine.processes("earlyoom"):
        words = host.machine.read(f"/proc/{process.pid}/cmdline") or b""
        return tuple(words.decode("utf-8", "replace").rstrip("\0").split("\0"))
    return ()


def look_at_avoided(host: Host) -> Finding:
    """Whether the ways in are spared."""
    words = _earlyoom_words(host)
    if not words:
        return warning("earlyoom does not run", CONTAIN)
    try:
        pattern = re.compile(_last(words, "--avoid") or "$^")
    except re.error:
        return unknown("its --avoid is no regular expression that can be read here")
    missing = [name for name in _SPARED if not pattern.search(name)]
    return (
        warning(f"does not spare {', '.join(missing)}", CONTAIN)
        if missing
        else ok("spares sshd, libvirt, systemd, tmux")
    )


def look_at_oomd(host: Host) -> Finding:
    """Whether systemd-oomd is set on slices as a whole."""
    unit = host.unit("systemd-oomd.service", "ActiveState")
    if unit.get("ActiveState") != "active":
        return ok("does not run")
    names = ["-.slice", "machine.slice", "system.slice", "user.slice", "user@*.service"]
    watched = host.machine.units(names, ["ManagedOOMMemoryPressure", "ManagedOOMSwap"])
    killed = [u["Id"] for u in watched if "kill" in (u.get("ManagedOOMMemoryPressure"), u.get("ManagedOOMSwap"))]
    if killed:
        return warning(f"may end groups below {', '.join(killed)}", "sudo systemctl disable --now systemd-oomd")
    return ok("runs, and is set on no slice")


def look_at_sshd(host: Host) -> Finding:
    """Whether its memory is protected, on its unit and on the slice above, and its sessions can be ended."""
    return _protected(host, SSHD_UNITS)


def look_at_libvirtd(host: Host) -> Finding:
    """Likewise, for the emulators that it starts."""
    return _protected(host, LIBVIRT_UNITS)


def _protected(host: Host, names: Sequence[str]) -> Finding:
    units = host.loaded_units(names, "MemoryMin", "OOMScoreAdjust")
    if not units:
        return unknown(f"neither {' nor '.join(names)} is a service here")
    above = host.unit("system.slice", "MemoryMin")
    for unit in units:
        if unit.get("OOMScoreAdjust", "0").startswith("-"):
            return warning(f"{unit['Id']} is exempt by OOMScoreAdjust={unit['OOMScoreAdjust']}",
                           f"sudo systemctl edit {unit['Id']}: OOMScoreAdjust=0, and restart it.")  # fmt: skip
        if "0" in (unit.get("MemoryMin", "0"), above.get("MemoryMin", "0")):
            return warning(f"{unit['Id']} has no protected memory", CONTAIN)
    return ok(f"{', '.join(unit['Id'] for unit in units)}: protected memory")


def look_at_weights(host: Host) -> Finding:
    """Whether system.slice weighs more than the clones; an IO weight works only with some schedulers."""
    units = {u["Id"]: u for u in host.machine.units(["system.slice", "machine.slice"], ["CPUWeight", "IOWeight"])}
    system, machine = units.get("system.slice", {}), units.get("machine.slice", {})
    lighter = [name for name in ("CPUWeight", "IOWeight") if _weight(system, name) <= _weight(machine, name)]
    if lighter:
        return warning(f"system.slice weighs no more than the clones ({', '.join(lighter)})", CONTAIN)
    return ok("system.slice goes first (for the disk only with BFQ or io.cost)")


def _weight(unit: Mapping[str, str], name: str) -> int:
    text = unit.get(name, "")
    # Not set is 100 (systemd.resource-control(5)).
    return int(text) if text.isdigit() and int(text) <= 10_000 else 100


def look_at_docker(host: Host) -> Finding:
    """Whether containers, where there are any, have a limit."""
    if host.machine.find_program("dockerd") is None:
        return ok("not installed")
    settings = host.machine.read(files.DOCKER_SETTINGS) or b""
    unit = host.unit(files.DOCKER_SLICE, "MemoryMax")
    limit = unit.get("MemoryMax", "infinity")
    if f'"{files.DOCKER_SLICE}"'.encode() not in settings or not limit.isdigit():
        return warning("containers are outside of every limit", f"{CONTAIN} --docker SIZE")
    return ok(f"containers in {files.DOCKER_SLICE}, limited")


def look_at_egress(host: Host) -> Finding:
    """Whether the table is there, is that of the settings, and is loaded."""
    egress = host.config.egress
    if host.config.network != "moltfleet":
        return warning(f"network {host.config.network!r} is not our own, so the table does not cover it",
                       "Use the network 'moltfleet', or write rules for the other one.")  # fmt: skip
    written = host.machine.read(files.EGRESS_PATH)
    if written is None:
        return warning(f"no table; egress = {egress!r} is only written down", CONTAIN)
    wanted = files.render(host.templates, "egress.nft", files.egress_values(egress))
    if digest_of(written) != digest_of(wanted):
        return warning(f"{files.EGRESS_PATH} is not that of egress = {egress!r}", CONTAIN)
    return _loaded_table(host, egress)


def _loaded_table(host: Host, egress: str) -> Finding:
    if host.machine.is_root():
        listed = host.machine.run(["nft", "list", "table", "inet", files.EGRESS_TABLE], check=False)
        if listed.exit_code == 0:
            return ok(f"{egress}: loaded")
        return warning("the table is written and not loaded", f"sudo systemctl restart {files.EGRESS_UNIT}")
    unit = host.unit(files.EGRESS_UNIT, "ActiveState")
    if unit.get("ActiveState") == "active":
        return ok(f"{egress}: loaded, says systemd (only root can look)")
    return warning("the table is written and not loaded", f"sudo systemctl restart {files.EGRESS_UNIT}")


def look_at_libvirt_guests(host: Host) -> Finding:
    """What happens to running guests when the host shuts down."""
    unit = host.unit("libvirt-guests.service", "LoadState", "UnitFileState", "ActiveState")
    runs = unit.get("ActiveState") == "active" or unit.get("UnitFileState") == "enabled"
    if unit.get("LoadState") != "loaded" or not runs:
        return ok("does not run: guests are cut off at shutdown")
    sources = ("/usr/lib/libvirt/libvirt-guests.sh", "/usr/libexec/libvirt-guests.sh",
               "/etc/sysconfig/libvirt-guests", "/etc/default/libvirt-guests")  # fmt: skip
    text = b"\n".join(host.machine.read(source) or b"" for source in sources).decode("utf-8", "replace")
    # The script's own default stands first, and what is set later wins.
    found = re.findall(r"^ON_SHUTDOWN=[\"']?(\w+)", text, re.MULTILINE)
    if found and found[-1] == "suspend":
        return warning("suspends guests at shutdown", "ON_SHUTDOWN=shutdown in /etc/default/libvirt-guests")
    return ok(f"at shutdown: {found[-1] if found else 'shutdown'}")
