"""Sizes as people write them: a bare number is MiB, K, M, G and T are powers of 1024."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([KMGT]?)(?:i?B)?", re.IGNORECASE | re.ASCII)
_FACTORS = {"": 1 << 20, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def size(text: str) -> int | None:
    """Return bytes, cut down to whole MiB; None for what is no size."""
    found = _SIZE.fullmatch(text)
    if found is None:
        return None
    return int(float(found[1]) * _FACTORS[found[2].upper()]) >> 20 << 20
