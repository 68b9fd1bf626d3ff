"""Who holds a lock, as written into it and as said to the next one who wants it."""

from __future__ import annotations

import json
import os
import pwd
import time
from dataclasses import asdict, dataclass

from moltfleet.model.errors import Busy
from moltfleet.model.names import printable
from moltfleet.model.ports import HeldLock

_PARTICIPLES = {
    "build": "built",
    "clean": "frozen",
    "create": "created",
    "delete": "deleted",
    "molt": "molted",
    "repair": "repaired",
    "start": "started",
    "stop": "stopped",
    "undo": "reverted",
    "upload": "uploaded",
}
# Locks that stand for no clone, golden or volume; they are only ever used.
_FIXED = {
    "check.room": "The check for room on the host",
    "fleet": "The fleet",
    "network": "The network",
    "pool": "The storage pool",
    "run.night": "The nightly run",
}
LARGEST = 4096


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that holds a lock. ``since`` is in seconds since the epoch; ``note`` is what else it has to say."""

    pid: int
    user: str
    verb: str
    since: float
    note: str = ""

    @classmethod
    def this_process(cls, verb: str, now: float, note: str = "") -> Holder:
        """Describe the caller."""
        return cls(os.getpid(), user_name(os.getuid()), verb, now, note)

    def to_bytes(self) -> bytes:
        """Return the content of the lock."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_bytes(cls, content: bytes) -> Holder | None:
        """Read a lock's content; None for anything else, since everybody who may lock may write it."""
        try:
            data = json.loads(content)
            note = str(data.get("note", ""))
            return cls(int(data["pid"]), str(data["user"]), str(data["verb"]), float(data["since"]), note)
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
            return None

    def as_held(self) -> HeldLock:
        """Return it as the port tells it."""
        return HeldLock(user=self.user, pid=self.pid, verb=self.verb, since=self.since, note=self.note)

    def said(self, now: float) -> str:
        """Say who, in one line."""
        return f"{printable(self.user, limit=40)} (pid {self.pid}, since {clock_time(self.since, now)})"


def busy(name: str, holder: Holder | None, now: float) -> Busy:
    """Build the error for a lock that somebody holds."""
    subject = _FIXED.get(name, repr(printable(name)))
    hint = "--wait SECONDS waits for it."
    if holder is None:
        return Busy(f"{subject} is in use by another process", hint=hint)
    participle = None if name in _FIXED else _PARTICIPLES.get(holder.verb)
    doing = f"being {participle}" if participle else f"in use for {printable(holder.verb, limit=20)}"
    return Busy(f"{subject} is {doing} by {holder.said(now)}", hint=hint)


def user_name(uid: int) -> str:
    """Return a user's name, or the number of one who has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def clock_time(moment: float, now: float) -> str:
    """Say a moment as the local clock does, with the date when it is not today's."""
    try:
        then, today = time.localtime(moment), time.localtime(now)
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    return time.strftime("%H:%M" if then[:3] == today[:3] else "%Y-%m-%d %H:%M", then)
