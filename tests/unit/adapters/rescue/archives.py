"""Archives made header by header, as no honest tar would."""

from __future__ import annotations

END = bytes(1024)


def header(name: bytes, size: int | bytes = 0, kind: bytes = b"0", *, target: bytes = b"", **fields: bytes) -> bytes:
    """One header with a right checksum; ``fields`` replace mode, magic, prefix or checksum."""
    block = bytearray(512)
    block[0 : len(name[:100])] = name[:100]
    block[100:108] = fields.get("mode", b"0000644\0")
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[156:157] = kind
    block[157 : 157 + len(target)] = target
    block[257:265] = fields.get("magic", b"ustar  \0")
    block[345 : 345 + len(fields.get("prefix", b""))] = fields.get("prefix", b"")
    block[148:156] = b" " * 8
    block[148:156] = fields.get("checksum", b"%06o\0 " % sum(block))
    return bytes(block)


def padded(content: bytes) -> bytes:
    """Content in whole blocks."""
    return content + bytes(-len(content) % 512)


def a_file(name: bytes, content: bytes = b"x", kind: bytes = b"0", **fields: bytes) -> bytes:
    """A file's header and content."""
    return header(name, len(content), kind, **fields) + padded(content)


def long_name(name: bytes, kind: bytes = b"L") -> bytes:
    """What GNU tar puts before a header whose name is longer than 100 bytes."""
    return header(b"././@LongLink", len(name) + 1, kind) + padded(name + b"\0")
