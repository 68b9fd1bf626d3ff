"""Amounts of memory and disk, in bytes in a type of its own, so that no MiB is ever taken for a KiB."""

from __future__ import annotations

import re
from dataclasses import dataclass

from moltfleet.model.errors import InvalidInput

_UNITS = {"": 2**20, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_PATTERN = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>[kmgt]?)(?:i?b)?", re.IGNORECASE | re.ASCII)
# More than any host has; beyond it the figure is a typing error, and libvirt's unsigned long of KiB is near.
_LARGEST = 2**50


@dataclass(frozen=True, slots=True, order=True)
class Size:
    """A non-negative number of bytes."""

    bytes: int

    def __post_init__(self) -> None:
        if self.bytes < 0:
            raise ValueError(f"negative size: {self.bytes}")

    @classmethod
    def parse(cls, text: str) -> Size:
        """Read ``12288`` (MiB), ``12G``, ``1.5GiB``, ``512MB``: all powers of 1024, as memory is sold.

        Raises: InvalidInput, which quotes the text.
        """
        match = _PATTERN.fullmatch(text.strip())
        if match is None:
            raise InvalidInput(
                f"Size {text!r} is not a number with an optional K, M, G or T",
                hint="Example: 12G, 512M, or 12288 for MiB.",
            )
        if match["number"].replace(".", "").strip("0") == "" or len(match["number"]) > 20:
            raise InvalidInput(f"Size {text!r} is not a usable amount", hint="Example: 12G, 512M, or 12288 for MiB.")
        size = cls(int(float(match["number"]) * _UNITS[match["unit"].lower()]))
        if not 0 < size.bytes <= _LARGEST:
            raise InvalidInput(f"Size {text!r} is not a usable amount", hint="Example: 12G, 512M, or 12288 for MiB.")
        return size

    @classmethod
    def of_mib(cls, mib: float) -> Size:
        """Make a size from MiB."""
        return cls(int(mib * 2**20))

    @classmethod
    def of_gib(cls, gib: float) -> Size:
        """Make a size from GiB."""
        return cls(int(gib * 2**30))

    @property
    def kib(self) -> int:
        """Whole KiB, rounded down: libvirt's own unit for memory."""
        return self.bytes // 2**10

    @property
    def mib(self) -> int:
        """Whole MiB, rounded down."""
        return self.bytes // 2**20

    def __add__(self, other: Size) -> Size:
        return Size(self.bytes + other.bytes)

    def __sub__(self, other: Size) -> Size:
        """Subtract; stops at zero, as what is left of a resource does."""
        return Size(max(0, self.bytes - other.bytes))

    def __mul__(self, factor: float) -> Size:
        return Size(int(self.bytes * factor))

    def __str__(self) -> str:
        """Say it for a person: three significant figures at most, in the largest fitting unit."""
        value = float(self.bytes)
        for unit in ("B", "KiB", "MiB", "GiB"):
            if value < 1024:
                return f"{value:.1f}".rstrip("0").rstrip(".") + f" {unit}" if value < 100 else f"{value:.0f} {unit}"
            value /= 1024
        return f"{value:.1f} TiB"
