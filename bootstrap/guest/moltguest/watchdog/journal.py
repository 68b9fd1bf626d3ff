"""Events for the journal, as fields: what was seen and done, never what somebody's command line said."""

from __future__ import annotations

import json
import socket
import struct
import sys
from dataclasses import dataclass, field
from typing import Protocol

from moltguest.watchdog.files import printable

SOCKET = "/run/systemd/journal/socket"
# sd_journal priorities, as syslog's.
ERROR, WARNING, NOTICE, INFO = 3, 4, 5, 6

# By which journalctl finds an event: MESSAGE_ID=...
MESSAGE_IDS = {
    "started": "68c4901c6ec84450bcc1049c425dcaff",
    "stopped": "dfd6d578d20e47daa3c4ac650bc62b60",
    "problem": "57a22e06e9224c6db3e5f4bae82cc02d",
    "warn": "943f8119b5874e0ba3706c9678048a27",
    "asked": "32a6e63748904b4183a823a77147d172",
    "outcome": "28be72932a17456ab596f53f88cd82b2",
    "uncontained": "8acdde38b9f6427386ddf6beaaf37af8",
    "kernel-kill": "0975cf1428414723b438cfaec71b012a",
    "nobody": "c5bb078584ea46c5b6b8f0bc34b6a12a",
    "filling": "c11b4b113f0549b68f1229c5387baf12",
}


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. ``fields`` are facts: numbers in bytes and seconds, names made printable."""

    kind: str
    message: str
    priority: int = INFO
    fields: dict[str, str | int | float] = field(default_factory=dict)

    def document(self) -> str:
        """Return the event as one line of JSON."""
        return json.dumps({"schema": "moltfleet.event/1", "event": self.kind, "message": self.message, **self.fields})


class Log(Protocol):
    """Where events go."""

    def write(self, event: Event) -> None:
        """Take an event; never fails, and never waits."""


class Journal:
    """systemd's journal by its own protocol; lines of JSON on standard output where there is none."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def write(self, event: Event) -> None:
        """Send one datagram."""
        try:
            self._connection().send(datagram(event))
        except OSError:
            self._socket = None
            Lines().write(event)

    def is_reachable(self) -> bool:
        """Whether there is a journal."""
        try:
            self._connection()
        except OSError:
            return False
        return True

    def _connection(self) -> socket.socket:
        if self._socket is None:
            made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
            made.setblocking(False)
            try:
                made.connect(self._path)
            except OSError:
                made.close()
                raise
            self._socket = made
        return self._socket


class Lines:
    """Events as lines of JSON on standard output."""

    def write(self, event: Event) -> None:
        """Write one line; a reader that has gone is no reason to end."""
        try:
            sys.stdout.write(event.document() + "\n")
            sys.stdout.flush()
        except OSError:
            return


def datagram(event: Event) -> bytes:
    """Return an event in the journal's native format (systemd.io/JOURNAL_NATIVE_PROTOCOL)."""
    values: dict[str, str | int | float] = {
        "MESSAGE": event.message,
        "PRIORITY": event.priority,
        "MESSAGE_ID": MESSAGE_IDS[event.kind],
        "SYSLOG_IDENTIFIER": "moltfleet-watchdog",
        "MOLTFLEET_EVENT": event.kind,
    }
    values.update({f"MOLTFLEET_{name.upper()}": value for name, value in event.fields.items()})
    return b"".join(_encoded(name, str(value)) for name, value in values.items())


def _encoded(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "backslashreplace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


def amount(size: int) -> str:
    """Return bytes for a person."""
    return f"{size / (1 << 30):.1f} GiB" if size >= 1 << 30 else f"{size >> 20} MiB"


def label(text: str) -> str:
    """Return a name from outside for a message."""
    return printable(text) or "?"
