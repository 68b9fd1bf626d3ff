"""Call the kernel's namespace functions that Python 3.11 lacks; decide nothing."""

from __future__ import annotations

import ctypes
import os

CLONE_NEWNS = 0x00020000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
PR_SET_PDEATHSIG = 1
PR_CAPBSET_DROP = 24
CAP_SYS_TIME = 25

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare_host() -> None:
    """Give this process new mount and network namespaces, and its children a new PID namespace."""
    _check(_libc.unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWPID), "unshare")


def unshare_mounts() -> None:
    """Give this process a mount namespace of its own."""
    _check(_libc.unshare(CLONE_NEWNS), "unshare")


def join_host(pid: int) -> None:
    """Enter a process's mount, network and PID namespaces; PID takes effect for children only."""
    kinds = ("pid", "net", "mnt")
    handles = [os.open(f"/proc/{pid}/ns/{kind}", os.O_RDONLY) for kind in kinds]
    for handle, kind in zip(handles, kinds, strict=True):
        _check(_libc.setns(handle, 0), f"setns {kind}")
        os.close(handle)


def give_up_clock() -> None:
    """Make this process and all it starts unable to set the clock, which no namespace separates from the machine's."""
    _check(_libc.prctl(PR_CAPBSET_DROP, CAP_SYS_TIME, 0, 0, 0), "prctl")


def die_with_parent(signal_number: int) -> None:
    """Ask the kernel for a signal when the parent dies; lost when credentials change."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, signal_number, 0, 0, 0), "prctl")
