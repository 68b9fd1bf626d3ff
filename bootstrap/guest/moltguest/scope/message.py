"""D-Bus messages, as much of them as asking a service manager for a unit takes (D-Bus specification)."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass

CALL, RETURN, ERROR = 1, 2, 3
_PATH, _INTERFACE, _MEMBER, _ERROR_NAME, _REPLY_SERIAL, _DESTINATION, _SIGNATURE = 1, 2, 3, 4, 5, 6, 8
HEAD = 16
# A manager's answer is an object path or a sentence.
LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class Property:
    """A unit's property: "s" a text, "t" a number of 64 bits, "au" a list of numbers of 32."""

    name: str
    kind: str
    value: str | int | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back to one call. ``error`` is the error's name, ``text`` the first word of the body."""

    serial: int
    error: str
    text: str
    is_reply: bool


class Writer:
    """Values in the order of the wire, little endian."""

    def __init__(self) -> None:
        self.data = bytearray()

    def align(self, size: int) -> None:
        """Fill up to a multiple of ``size``."""
        self.data += bytes(-len(self.data) % size)

    def number(self, value: int, form: str = "<I") -> None:
        """Add an integer, aligned to its size."""
        self.align(struct.calcsize(form))
        self.data += struct.pack(form, value)

    def text(self, value: str) -> None:
        """Add a string or an object path."""
        raw = value.encode("utf-8", "replace")
        self.number(len(raw))
        self.data += raw + b"\0"

    def signature(self, value: str) -> None:
        """Add a signature."""
        self.data += bytes([len(value)]) + value.encode("ascii") + b"\0"

    def array(self, elements: Iterable[Callable[[], None]], align: int) -> None:
        """Add what each of the functions adds, as one array of elements with this alignment."""
        self.number(0)
        at = len(self.data)
        self.align(align)
        begin = len(self.data)
        for add in elements:
            self.align(align)
            add()
        struct.pack_into("<I", self.data, at - 4, len(self.data) - begin)

    def property(self, found: Property) -> None:
        """Add a struct (sv)."""
        self.text(found.name)
        self.signature(found.kind)
        if isinstance(found.value, str):
            self.text(found.value)
        elif isinstance(found.value, int):
            self.number(found.value, "<Q")
        else:
            self.array([_adder(self.number, number) for number in found.value], 4)


def _adder(add: Callable[[int], None], value: int) -> Callable[[], None]:
    return lambda: add(value)


def call(serial: int, destination: str, path: str, interface: str, member: str, signature: str, body: bytes) -> bytes:  # noqa: PLR0913 - what a call consists of
    """Return a method call."""
    writer = Writer()
    writer.data += bytes([ord("l"), CALL, 0, 1])
    writer.number(len(body))
    writer.number(serial)
    fields = [
        (_PATH, "o", path),
        (_INTERFACE, "s", interface),
        (_MEMBER, "s", member),
        (_DESTINATION, "s", destination),
    ]
    if signature:
        fields.append((_SIGNATURE, "g", signature))

    def adder(code: int, kind: str, value: str) -> Callable[[], None]:
        def add() -> None:
            writer.data.append(code)
            writer.signature(kind)
            (writer.signature if kind == "g" else writer.text)(value)

        return add

    writer.array([adder(*field) for field in fields], 8)
    writer.align(8)
    return bytes(writer.data) + body


def lengths(head: bytes) -> int:
    """Return how much follows the first 16 bytes of a message. Raises: ValueError."""
    if len(head) < HEAD or head[0:1] != b"l":
        raise ValueError("not a message in this byte order")
    body, _, fields = struct.unpack_from("<III", head, 4)
    rest = fields + (-(HEAD + fields) % 8) + body
    if rest > LARGEST:
        raise ValueError("a message that is too long")
    return int(rest)


def parse(message: bytes) -> Answer:
    """Read a whole message. Raises: ValueError."""
    try:
        size = struct.unpack_from("<I", message, 12)[0]
        fields = dict(_fields(message, HEAD, HEAD + size))
        begin = HEAD + size + (-(HEAD + size) % 8)
        signature = str(fields.get(_SIGNATURE, ""))
        text = _string(message, begin)[0] if signature[:1] in ("s", "o") else ""
    except (struct.error, IndexError) as error:
        raise ValueError("a message that is cut off") from error
    kind = message[1]
    serial = fields.get(_REPLY_SERIAL, 0)
    error_name = str(fields.get(_ERROR_NAME, "")) if kind == ERROR else ""
    return Answer(int(serial), error_name, text, kind in (RETURN, ERROR))


def _fields(message: bytes, at: int, end: int) -> Iterable[tuple[int, str | int]]:
    while at < end:
        at += -at % 8
        code, length = message[at], message[at + 1]
        kind = message[at + 2 : at + 2 + length].decode("ascii", "replace")
        at += 3 + length
        value: str | int
        if kind in ("s", "o"):
            value, at = _string(message, at)
        elif kind == "g":
            value = message[at + 1 : at + 1 + message[at]].decode("ascii", "replace")
            at += 2 + message[at]
        elif kind == "u":
            at += -at % 4
            value = struct.unpack_from("<I", message, at)[0]
            at += 4
        else:
            raise ValueError(f"a field of type {kind!r}")
        yield code, value


def _string(message: bytes, at: int) -> tuple[str, int]:
    at += -at % 4
    size = struct.unpack_from("<I", message, at)[0]
    return message[at + 4 : at + 4 + size].decode("utf-8", "replace"), at + 4 + size + 1
