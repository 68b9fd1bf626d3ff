"""What this guest's memory makes of its slices and mounts, as units that a generator writes at every boot.

Drop-ins of one name, so that root's slice gets its own in place of that for everybody (systemd.unit(5)).
"""

from __future__ import annotations

import os
import sys

from moltguest import thisguest
from moltguest.limits import MIB, Limits, Tmpfs

_NAME = "50-moltfleet-limits.conf"
_TMP_UNITS = ("etc/systemd/system/tmp.mount", "usr/lib/systemd/system/tmp.mount", "lib/systemd/system/tmp.mount")
SERVICE = "moltfleet-tmpfs.service"


def units(limits: Limits, fstab: str = "", *, has_tmp_mount: bool = False) -> dict[str, str]:
    """Return units by their path below a generator's directory; none for a guest that is too small for limits."""
    if not limits.contained:
        return {}
    found = {
        f"agents.slice.d/{_NAME}": _slice(f"MemoryMax={limits.ceiling}", "MemorySwapMax=0"),
        f"user-.slice.d/{_NAME}": _slice(f"MemoryMax={limits.ceiling}", "MemorySwapMax=0"),
        # Whoever repairs a guest is not to be held up by what is to be repaired.
        f"user-0.slice.d/{_NAME}": _slice("MemoryMax=infinity", "MemorySwapMax=infinity"),
        f"docker.slice.d/{_NAME}": _slice(
            f"MemoryMax={limits.docker_max}", "MemorySwapMax=0", "CPUWeight=50", "IOWeight=50"
        ),
    }
    sized = sized_by_hand(fstab)
    if "/dev/shm" not in sized:
        found[SERVICE] = _remount("/dev/shm", limits.shm)
    if has_tmp_mount and "/tmp" not in sized:
        options = f"mode=1777,strictatime,nosuid,nodev,{_options(limits.tmp)}"
        found[f"tmp.mount.d/{_NAME}"] = f"[Mount]\nOptions={options}\n"
    return found


def sized_by_hand(fstab: str) -> set[str]:
    """Return where /etc/fstab says how large a file system in memory is: its word counts."""
    found = set()
    for line in fstab.splitlines():
        fields = line.split()
        if len(fields) >= 4 and not fields[0].startswith("#") and "size=" in fields[3]:
            found.add(fields[1])
    return found


def _slice(*lines: str) -> str:
    return "\n".join(("[Slice]", *lines)) + "\n"


def _options(tmpfs: Tmpfs) -> str:
    return f"size={tmpfs.size},nr_inodes={tmpfs.inodes}"


def _remount(path: str, tmpfs: Tmpfs) -> str:
    return f"""\
[Unit]
Description=Size of {path}: {tmpfs.size // MIB} MiB
DefaultDependencies=no
After=systemd-remount-fs.service
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/bin/mount -o remount,{_options(tmpfs)} {path}
"""


def main(arguments: list[str], root: str = "/") -> int:
    """Write the units below the first directory, as systemd.generator(7) has it."""
    if not arguments:
        sys.stderr.write("usage: moltfleet-limits-generator DIRECTORY...\n")
        return 2
    try:
        guest = thisguest.look(root)
        found = units(guest.limits, _read(root, "etc/fstab"), has_tmp_mount=_has_tmp_mount(root))
        for path, text in found.items():
            whole = os.path.join(arguments[0], path)
            os.makedirs(os.path.dirname(whole), exist_ok=True)
            with open(whole, "w", encoding="ascii") as file:
                file.write(text)
        if SERVICE in found:
            _link(os.path.join(arguments[0], "sysinit.target.wants", SERVICE), f"../{SERVICE}")
    except (OSError, ValueError) as error:
        sys.stderr.write(f"moltfleet-limits-generator: {error}\n")
        return 1
    for note in (*guest.limits.notes, *guest.problems):
        sys.stderr.write(f"moltfleet-limits-generator: {note}\n")
    return 0


def _read(root: str, path: str) -> str:
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _has_tmp_mount(root: str) -> bool:
    return any(os.path.exists(os.path.join(root, path)) for path in _TMP_UNITS)


def _link(path: str, target: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    if not os.path.lexists(path):
        os.symlink(target, path)
