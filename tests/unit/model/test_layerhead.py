"""Heads of layers from hostile hands: whatever stands there, it is read or refused."""

from __future__ import annotations

import contextlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.errors import InvalidInput
from moltfleet.model.layerhead import parse_head

_HEAD = ">4sIQIIQIIQQIIQ"


def head(*, at: int = 0, length: int = 0, version: int = 2, encryption: int = 0) -> bytes:
    return struct.pack(_HEAD, b"QFI\xfb", version, at, length, 16, 1 << 20, encryption, 1, 0, 0, 1, 0, 0)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    with contextlib.suppress(InvalidInput):
        parse_head(content)


@given(st.binary(max_size=400), st.integers(0, 2**64 - 1), st.integers(0, 2**32 - 1), st.sampled_from([2, 3]))
def test_any_bytes_behind_the_magic_are_read_or_refused(rest: bytes, at: int, length: int, version: int) -> None:
    with contextlib.suppress(InvalidInput):
        parse_head(head(at=at, length=length, version=version) + rest)


@pytest.mark.parametrize(("at", "length"), [(1 << 40, 5), (72, 0), (72, 2000), (60, 100)])
def test_a_name_outside_of_the_head_is_refused(at: int, length: int) -> None:
    with pytest.raises(InvalidInput, match="names its backing file where"):
        parse_head(head(at=at, length=length))


def test_features_that_nobody_knows_are_a_flaw() -> None:
    version_3 = struct.pack(">QQQII", 1 << 40, 0, 0, 4, 104)
    assert parse_head(head(version=3) + version_3).flaw == "uses qcow2 features that are not known"
    assert parse_head(head(version=3) + struct.pack(">QQQII", 2, 0, 0, 4, 104)).flaw == "is marked corrupt"
