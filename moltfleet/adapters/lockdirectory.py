"""The directory of the lock files: the same for every user of one libvirt, and nobody else's to plant (DESIGN D2).

/run/lock is open to all, so what lies there is believed only by its owner, its group and its mode.
"""

from __future__ import annotations

import contextlib
import errno
import grp
import hashlib
import os
import pwd
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import platformdirs

from moltfleet.adapters.lockholder import user_name
from moltfleet.model.errors import ToolFailed

_SHARED_ROOT = Path("/run/lock")
_GROUP = "libvirt"
SHARED_MODE = 0o2770
PRIVATE_MODE = 0o700
_DEFAULT_SOCKETS = ("", "/run/libvirt/libvirt-sock", "/var/run/libvirt/libvirt-sock")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who asks. ``group`` is the gid of group libvirt, None when there is none; ``is_member`` knows its uids."""

    uid: int
    groups: frozenset[int]
    group: int | None
    is_member: Callable[[int], bool]

    @classmethod
    def current(cls) -> Identity:
        """Look the caller up."""
        group = _libvirt_group()
        return cls(os.geteuid(), frozenset((*os.getgroups(), os.getegid())), group, partial(_is_member, group))

    @property
    def shares(self) -> bool:
        """Whether the caller can make a directory for the whole group."""
        return self.group is not None and (self.uid == 0 or self.group in self.groups)


@dataclass(frozen=True, slots=True)
class Owned:
    """Owner, group and permission bits of what is there."""

    uid: int
    gid: int
    mode: int


def is_local_uri(uri: str) -> bool:
    """Whether the libvirt behind ``uri`` runs on this machine, so that ``flock`` is seen by all its users."""
    parts = urlsplit(uri)
    return not parts.netloc and parts.scheme.partition("+")[2] in ("", "unix")


def canonical_uri(uri: str) -> str:
    """Return one spelling for one libvirt: "qemu+unix:///system" is "qemu:///system", another socket is another."""
    parts = urlsplit(uri)
    socket = parse_qs(parts.query).get("socket", [""])[0]
    if not is_local_uri(uri):
        return uri
    ending = "" if socket in _DEFAULT_SOCKETS else f"?socket={os.path.realpath(socket)}"
    return f"{parts.scheme.partition('+')[0]}://{parts.path}{ending}"


def directory_for(uri: str, environment: Mapping[str, str], *, shared_root: Path = _SHARED_ROOT) -> tuple[Path, bool]:
    """Return where the locks of a local libvirt are, and whether its users share them (a system URI)."""
    canonical = canonical_uri(uri)
    name = f"moltfleet-{hashlib.sha256(canonical.encode()).hexdigest()[:12]}"
    if urlsplit(canonical).path == "/system":
        return shared_root / name, True
    runtime = environment.get("XDG_RUNTIME_DIR")
    base = Path(runtime) if runtime else platformdirs.user_state_path()
    return base / "moltfleet" / name, False


def wanted(identity: Identity, *, is_shared: bool) -> tuple[int, int | None]:
    """Return the mode and the group (None: leave it) of a lock directory that ``identity`` makes."""
    if is_shared and identity.shares:
        return SHARED_MODE, identity.group
    return PRIVATE_MODE, None


def objection(there: Owned, identity: Identity, *, is_shared: bool) -> str | None:
    """Say why a directory that is there cannot be used; None when it can.

    Its owner must be the caller, root or a member of the group, who may do everything with that libvirt anyway.
    """
    if there.mode & stat.S_IWOTH:
        return "is writable by everybody"
    if there.uid == identity.uid:
        return None
    if not is_shared or not (there.uid == 0 or identity.is_member(there.uid)):
        return f"belongs to user {user_name(there.uid)!r}"
    if there.gid != identity.group or there.mode & SHARED_MODE != SHARED_MODE:
        return f"is not shared with group {_GROUP!r}"
    return None


def open_directory(path: Path, identity: Identity, *, is_shared: bool) -> int:
    """Make the directory when it is missing, and return a descriptor of it; the caller closes it.

    Raises: ToolFailed when it cannot be trusted or used, also for the moment in which another process is making it.
    """
    try:
        return _open(path, identity, is_shared=is_shared)
    except PermissionError as error:
        raise _unusable(path, "is closed to this user", is_shared=is_shared) from error
    except OSError as error:
        planted = error.errno in (errno.ENOTDIR, errno.ELOOP)
        reason = "is a symlink or a file" if planted else f"cannot be opened: {error.strerror}"
        raise _unusable(path, reason, is_shared=is_shared) from error


def _open(path: Path, identity: Identity, *, is_shared: bool) -> int:
    if not is_shared:
        path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=PRIVATE_MODE)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _settle(descriptor, identity, is_shared=is_shared)
        reason = objection(_owned(descriptor), identity, is_shared=is_shared)
    except BaseException:
        os.close(descriptor)
        raise
    if reason is not None:
        os.close(descriptor)
        raise _unusable(path, reason, is_shared=is_shared)
    return descriptor


def _settle(descriptor: int, identity: Identity, *, is_shared: bool) -> None:
    """Give a directory of our own its group and mode, also when its maker was killed before that."""
    there = _owned(descriptor)
    mode, group = wanted(identity, is_shared=is_shared)
    if there.uid != identity.uid:
        return
    if group is not None and there.gid != group:
        os.fchown(descriptor, -1, group)
    # After the change of group, which clears the set-group-ID bit.
    if there.mode != mode or (group is not None and there.gid != group):
        os.fchmod(descriptor, mode)


def _owned(descriptor: int) -> Owned:
    status = os.fstat(descriptor)
    return Owned(status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def _unusable(path: Path, reason: str, *, is_shared: bool) -> ToolFailed:
    hint = f"Users of one libvirt share it through group {_GROUP!r}: join that group, or remove {path} as root."
    return ToolFailed(f"Lock directory {path} {reason}", hint=hint if is_shared else f"Remove {path}.")


def _libvirt_group() -> int | None:
    try:
        return grp.getgrnam(_GROUP).gr_gid
    except KeyError:
        return None


def _is_member(group: int | None, uid: int) -> bool:
    try:
        user = pwd.getpwuid(uid)
    except KeyError:
        return False
    return group is not None and group in os.getgrouplist(user.pw_name, user.pw_gid)
