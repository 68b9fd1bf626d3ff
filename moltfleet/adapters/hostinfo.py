"""What this machine is: memory, CPUs, boot, name, processes. The only importer of psutil; it changes nothing."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from moltfleet.model.size import Size

_PROC = Path("/proc")
_MACHINE_ID = Path("/etc/machine-id")


@dataclass(frozen=True, slots=True)
class HostMemory:
    """This machine's memory; ``available`` is the kernel's MemAvailable."""

    total: Size
    available: Size


def memory() -> HostMemory:
    """Measure this machine's memory."""
    measured = psutil.virtual_memory()
    return HostMemory(Size(measured.total), Size(measured.available))


def free_space(path: str) -> Size | None:
    """Return what a file system has for others than root, given a path on it; None when it cannot be asked."""
    try:
        measured = os.statvfs(path)
    except OSError:
        return None
    return Size(measured.f_bavail * measured.f_frsize)


def memory_pressure(proc: Path = _PROC) -> tuple[float | None, str]:
    """Return the share of the last minute in which something waited for memory, in percent (PSI "some avg60").

    With its origin; None with the reason where the kernel does not tell.
    """
    path = proc / "pressure/memory"
    try:
        text = path.read_text("ascii", "replace")
    except FileNotFoundError:
        return None, f"there is no {path} (the kernel has no PSI)"
    except OSError as error:
        # EOPNOTSUPP where it is built in and switched off: the kernel's parameter psi=1 switches it on.
        return None, f"{path} cannot be read: {error.strerror} (the kernel parameter psi=1 switches it on)"
    found = re.search(r"^some .*\bavg60=(\d+(?:\.\d+)?)", text, re.MULTILINE)
    return (float(found[1]), str(path)) if found else (None, f"{path} has no 'some avg60'")


def oom_kills(proc: Path = _PROC) -> int | None:
    """Return how many processes the kernel killed for want of memory since the boot; None where it does not count."""
    try:
        text = (proc / "vmstat").read_text("ascii", "replace")
    except OSError:
        return None
    found = re.search(r"^oom_kill (\d+)$", text, re.MULTILINE)
    return int(found[1]) if found else None


def emulator_peaks(proc: Path = _PROC) -> dict[str, Size]:
    """Return the most memory that each QEMU of this machine has ever taken (VmHWM), by the name of its domain.

    A name that domains of several libvirts bear is left out, and so is what may not be read.
    """
    found: dict[str, list[Size]] = {}
    for directory in proc.iterdir():
        if directory.name.isdigit():
            with contextlib.suppress(OSError):
                name, peak = _emulated_domain(directory), _peak(directory)
                if name is not None and peak is not None:
                    found.setdefault(name, []).append(peak)
    return {name: peaks[0] for name, peaks in found.items() if len(peaks) == 1}


def _emulated_domain(directory: Path) -> str | None:
    """Return the domain that a process emulates: libvirt passes `-name guest=NAME,…`, a comma in it doubled."""
    if not (directory / "comm").read_text("utf-8", "replace").startswith("qemu-"):
        return None
    words = (directory / "cmdline").read_text("utf-8", "replace").split("\0")
    values = (re.match(r"guest=((?:[^,]|,,)*)", after) for word, after in pairwise(words) if word == "-name")
    found = next(filter(None, values), None)
    return found[1].replace(",,", ",") if found else None


def _peak(directory: Path) -> Size | None:
    status = (directory / "status").read_text("utf-8", "replace")
    found = re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)
    return Size(int(found[1]) * 1024) if found else None


def uptime_s(proc: Path = _PROC) -> float:
    """Return the seconds since the boot; setting the clock does not move them."""
    return float((proc / "uptime").read_text().split()[0])


def cpu_count() -> int:
    """Count the logical CPUs, 1 when the kernel does not tell."""
    return psutil.cpu_count() or 1


def cpu_flags(proc: Path = _PROC) -> frozenset[str]:
    """Return the first CPU's flags from /proc/cpuinfo; empty where it has none (not x86)."""
    for line in (proc / "cpuinfo").read_text("utf-8", "replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def has_hardware_virtualization(proc: Path = _PROC) -> bool:
    """Whether the CPU flags say that KVM can work: vmx (Intel) or svm (AMD)."""
    return bool({"vmx", "svm"} & cpu_flags(proc))


def boot_id(proc: Path = _PROC) -> str:
    """Return the kernel's random id of this boot."""
    return (proc / "sys/kernel/random/boot_id").read_text().strip()


def host_name() -> str:
    """Return this machine's host name."""
    return socket.gethostname()


def machine_key(machine_id: Path = _MACHINE_ID) -> str:
    """Return what tells this machine from another of the same name.

    A hash, because machine-id(5) asks not to expose the id itself; the host name where there is no id.
    """
    try:
        secret = machine_id.read_text().strip()
    except OSError:
        secret = host_name()
    return hashlib.sha256(f"moltfleet {secret}".encode()).hexdigest()[:16]


def process_started_at(pid: int, proc: Path = _PROC) -> int | None:
    """Return when a process of this machine started, in clock ticks since the boot; None when there is none.

    Not psutil's time since the epoch, which moves when the clock is set.
    """
    try:
        status = (proc / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    # proc(5): field 22; the second one, the name, is in parentheses and may contain anything.
    return int(status.rpartition(")")[2].split()[19])
