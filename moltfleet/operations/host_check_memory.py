"""The rows of `host check` about memory: limits, who is under them, the sum of all trees, swap, KSM, balloons."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.hostcheck import CheckState
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.operations.host import Host

CONTAIN = "sudo moltfleet host contain"
_CGROUPS = "/sys/fs/cgroup"
_MACHINE = f"{_CGROUPS}/machine.slice"
# Kernel names of QEMU on Debian and on Red Hat; qemu-ga is the guest agent, on a host that is itself a guest.
_EMULATORS = ("qemu-system-", "qemu-kvm")
# How far a limit may be from ours and still be taken for it: the kernel's MemTotal differs a little between kernels.
_TOLERANCE = 0.02

WHY_CGROUPS = "Limits of slices hold only on cgroup v2."
WHY_PRESSURE = "Admission refuses a start on a host that stalls for memory; without PSI it cannot tell."
WHY_LIMIT = (
    "All clones together must not take the host's own memory: the kernel then ends one emulator, and not the host."
)
WHY_EMULATORS = "A limit holds for what runs under it, and only a process that may be ended ends a leak."
WHY_SUM = "Each limit may be right and their sum wrong: what all trees may take has to fit into memory."
WHY_SWAP = "Guest memory in swap turns memory pressure into an IO storm that takes the whole host."
WHY_KSM = "Merging pages of guests that do not trust each other leaks what they hold, and can come undone at once."
WHY_REPORTING = "Without free page reporting a guest keeps what it freed until it is stopped."


@dataclass(frozen=True, slots=True)
class Finding:
    """What a look led to."""

    state: CheckState
    text: str
    fix: str | None = None


def ok(text: str) -> Finding:
    """All is well."""
    return Finding(CheckState.OK, text)


def warning(text: str, fix: str | None) -> Finding:
    """Something is missing or wrong."""
    return Finding(CheckState.WARNING, text, fix)


def unknown(text: str, fix: str | None = None) -> Finding:
    """It could not be told."""
    return Finding(CheckState.UNKNOWN, text, fix)


def has_unified_cgroups(host: Host) -> bool:
    """Whether the host has cgroup v2 alone."""
    return host.machine.exists(f"{_CGROUPS}/cgroup.controllers")


def look_at_cgroups(host: Host) -> Finding:
    """Which version, and whether memory can be limited."""
    controllers = host.machine.read(f"{_CGROUPS}/cgroup.controllers")
    if controllers is None:
        mixed = " (v2 beside it, without memory)" if host.machine.exists(f"{_CGROUPS}/unified") else ""
        return warning(f"version 1{mixed}", "Boot with systemd.unified_cgroup_hierarchy=1 on the kernel command line.")
    if b"memory" not in controllers.split():
        return warning(
            "version 2 without the memory controller", "Take cgroup_disable=memory off the kernel command line."
        )
    return ok("version 2")


def look_at_pressure(host: Host) -> Finding:
    """Whether the kernel measures stalls."""
    if host.machine.exists("/proc/pressure/memory"):
        return ok("measured")
    return warning("not measured (no PSI)", "Boot with psi=1 on the kernel command line.")


def look_at_limit(host: Host) -> Finding:
    """What machine.slice may have: as the kernel has it, or as systemd will set it when the first guest starts."""
    if not has_unified_cgroups(host):
        return warning("no limit: cgroup v1", "See cgroups.")
    wanted = host.limits().machine_max
    limit = machine_limit(host)
    if limit is None:
        return warning("no limit", CONTAIN)
    text = f"at most {limit} of {host.machine.memory()}"
    if limit.bytes > wanted.bytes * (1 + _TOLERANCE):
        return warning(f"{text}: more than the {wanted} that the reserve leaves", CONTAIN)
    if limit.bytes < wanted.bytes * (1 - _TOLERANCE):
        return warning(f"{text}: less than the {wanted} that starts are admitted for", CONTAIN)
    return ok(text)


def machine_limit(host: Host) -> Size | None:
    """The MemoryMax of machine.slice in force; None for no limit."""
    live = host.machine.read(f"{_MACHINE}/memory.max")
    if live is not None:
        return _limit(live.decode().strip())
    unit = host.unit("machine.slice", "MemoryMax")
    return _limit(unit.get("MemoryMax", "infinity"))


def _limit(text: str) -> Size | None:
    return Size(int(text)) if text.isdigit() else None


def look_at_emulators(host: Host) -> Finding:
    """Whether every emulator stands under machine.slice and may be ended."""
    emulators = host.machine.processes(*_EMULATORS)
    if not emulators:
        return ok("none runs")
    outside = [p for p in emulators if not p.cgroup.startswith("/machine.slice/")]
    if outside:
        groups = ", ".join(sorted({p.cgroup for p in outside})[:3])
        return warning(
            f"{len(outside)} of {len(emulators)} outside of machine.slice, in {groups}",
            "Run clones on qemu:///system; those of qemu:///session are under their user's limits, if there are any.",
        )
    spared = [p for p in emulators if p.oom_score_adj < 0]
    if spared:
        return warning(f"{len(spared)} of {len(emulators)} are spared by the kernel (oom_score_adj below 0)",
                       "Take OOMScoreAdjust off libvirt's service, and restart the guests.")  # fmt: skip
    return ok(f"{len(emulators)} under machine.slice")


def look_at_sum(host: Host) -> Finding:
    """Whether the clones at their limit, and all else as it is now, leave earlyoom nothing to do."""
    limit = machine_limit(host) if has_unified_cgroups(host) else None
    if limit is None:
        return warning("the clones are not limited, so there is no sum", "See machine.slice.")
    total, outside = host.machine.memory(), _used_outside(host)
    left = total - limit - outside
    text = f"clones at most {limit}, all else {outside} now, {left} left of {total}"
    if left < host.limits().term:
        return warning(
            f"{text}: earlyoom would act before the limit does",
            "Use less outside of clones, or set a larger reserve and contain again.",
        )
    return ok(text)


def _used_outside(host: Host) -> Size:
    """What the kernel could not free at once, less what machine.slice holds of it."""
    facts = _facts(host.machine.read("/proc/meminfo") or b"")
    used = Size((facts.get("MemTotal", 0) - facts.get("MemAvailable", 0)) * 1024)
    return used - machine_used(host)


def machine_used(host: Host) -> Size:
    """What machine.slice holds that could not be reclaimed: anonymous, shared and kernel memory."""
    facts = _facts(host.machine.read(f"{_MACHINE}/memory.stat") or b"")
    return Size(sum(facts.get(name, 0) for name in ("anon", "shmem", "kernel")))


def _facts(text: bytes) -> dict[str, int]:
    """Read the lines of /proc/meminfo and memory.stat: a name, a number."""
    pairs = (line.replace(":", " ").split() for line in text.decode().splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) > 1 and pair[1].isdigit()}


def look_at_swap(host: Host) -> Finding:
    """Whether guest memory may be swapped out."""
    lines = (host.machine.read("/proc/swaps") or b"").decode().splitlines()[1:]
    devices = [line.split() for line in lines if line.strip()]
    if not devices:
        return ok("none")
    total = Size(sum(int(device[2]) for device in devices) * 1024)
    live = host.machine.read(f"{_MACHINE}/memory.swap.max")
    text = live.decode().strip() if live is not None else ""
    if live is None and has_unified_cgroups(host):
        unit = host.unit("machine.slice", "MemorySwapMax")
        text = unit.get("MemorySwapMax", "")
    if text == "0":
        return ok(f"{total}, and none of it for clones")
    if all(device[0].startswith("/dev/zram") for device in devices):
        return ok(f"{total}, compressed in memory")
    return warning(f"{total} that clones can be pushed into", CONTAIN)


def look_at_ksm(host: Host) -> Finding:
    """Whether the kernel merges equal pages."""
    run = host.machine.read("/sys/kernel/mm/ksm/run")
    if run is None or run.strip() != b"1":
        return ok("off")
    return warning("on", "echo 2 | sudo tee /sys/kernel/mm/ksm/run, and disable ksm.service and ksmtuned.service.")


def look_at_reporting(host: Host) -> Finding:
    """Whether running guests give back what they free."""
    reporting = host.machine.free_page_reporting()
    keeping = sorted(name for name, reports in reporting.items() if not reports)
    if not keeping:
        return ok(f"reported by all that run ({len(reporting)})" if reporting else "no domain runs")
    names = ", ".join(keeping[:3]) + (", …" if len(keeping) > 3 else "")
    return warning(
        f"{len(keeping)} of {len(reporting)} running domains keep them: {names}",
        "<memballoon model='virtio' freePageReporting='on'/> in their definition, and a new start; clones have it.",
    )
