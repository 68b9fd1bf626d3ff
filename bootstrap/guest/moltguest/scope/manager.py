"""A service manager asked directly, over its own socket or a bus: no program is started, and errors are told apart."""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass

from moltguest.scope.message import HEAD, Answer, Property, Writer, call, lengths, parse

_NAME = "org.freedesktop.systemd1"
_PATH = "/org/freedesktop/systemd1"
_INTERFACE = "org.freedesktop.systemd1.Manager"
# A manager that is busy with a whole boot still answers within that.
_LONGEST_S = 30.0


class Refused(Exception):
    """A manager did not do it. ``name`` is D-Bus's name of the error, empty when nobody answered."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text or name)
        self.name = name


@dataclass(frozen=True, slots=True)
class Address:
    """A socket, and whether a bus daemon is behind it, which wants to be greeted."""

    path: str
    is_bus: bool


def addresses_of_system() -> tuple[Address, ...]:
    """Return where root finds the system's manager."""
    return Address("/run/systemd/private", is_bus=False), Address("/run/dbus/system_bus_socket", is_bus=True)


def addresses_of_user(uid: int) -> tuple[Address, ...]:
    """Return where a user finds the manager of their own, also where no variable says so: under cron, su and sudo."""
    base = f"/run/user/{uid}"
    return Address(f"{base}/systemd/private", is_bus=False), Address(f"{base}/bus", is_bus=True)


class Manager:
    """A connection to a service manager."""

    def __init__(self, addresses: tuple[Address, ...]) -> None:
        """Connect to the first that answers. Raises: Refused."""
        self._serial = 0
        why = Refused("", "there is none")
        for address in addresses:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
            self._socket.settimeout(_LONGEST_S)
            try:
                self._socket.connect(address.path)
                self._introduce(address)
            except (OSError, ValueError, Refused) as error:
                self._socket.close()
                why = error if isinstance(error, Refused) else Refused("", str(error))
            else:
                return
        raise why

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def start_scope(self, unit: str, properties: tuple[Property, ...]) -> None:
        """Ask for a transient scope; it is under way when this returns. Raises: Refused."""
        writer = Writer()
        writer.text(unit)
        writer.text("fail")

        def adder(found: Property):  # type: ignore[no-untyped-def]
            return lambda: writer.property(found)

        writer.array([adder(found) for found in properties], 8)
        writer.array([], 8)
        self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", bytes(writer.data))

    def knows(self, unit: str) -> bool:
        """Whether a unit is there; one that failed at once is not. Raises: Refused when that cannot be told."""
        writer = Writer()
        writer.text(unit)
        try:
            self._call("GetUnit", "s", bytes(writer.data))
        except Refused as error:
            if error.name.endswith(".NoSuchUnit"):
                return False
            raise
        return True

    def _call(self, member: str, signature: str, body: bytes) -> Answer:
        self._serial += 1
        try:
            self._socket.sendall(call(self._serial, _NAME, _PATH, _INTERFACE, member, signature, body))
            return self._answer()
        except (OSError, ValueError) as error:
            raise Refused("", str(error)) from error

    def _answer(self) -> Answer:
        while True:
            head = self._exactly(HEAD)
            found = parse(head + self._exactly(lengths(head)))
            if not found.is_reply or found.serial != self._serial:
                continue
            if found.error:
                raise Refused(found.error, found.text)
            return found

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._socket.recv(size - len(data))
            if not more:
                raise OSError("the service manager hung up")
            data += more
        return data

    def _introduce(self, address: Address) -> None:
        """Say who asks (D-Bus specification, "EXTERNAL"): the kernel vouches for it."""
        self._socket.sendall(b"\0AUTH EXTERNAL " + str(os.geteuid()).encode().hex().encode() + b"\r\n")
        line = b""
        while not line.endswith(b"\r\n") and len(line) < 512:
            line += self._exactly(1)
        if not line.startswith(b"OK "):
            raise Refused("", "the service manager does not believe who asks")
        self._socket.sendall(b"BEGIN\r\n")
        if address.is_bus:
            self._serial += 1
            bus = "org.freedesktop.DBus"
            self._socket.sendall(call(self._serial, bus, "/org/freedesktop/DBus", bus, "Hello", "", b""))
            self._answer()
