"""The division of a host's memory holds for every host, and the manifest says again what it was told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.containment import Entry, Limits, Manifest, Phase
from moltfleet.model.errors import NoCapacity, WrongState
from moltfleet.model.size import Size

GIB = 2**30


@given(st.integers(2**28, 2**44).flatmap(lambda memory: st.tuples(st.just(memory), st.integers(2**26, memory - 2**21))))
def test_the_limit_of_the_clones_acts_before_earlyoom_and_earlyoom_before_the_kernel(pair: tuple[int, int]) -> None:
    limits = Limits(Size(pair[0]), Size(pair[1]))
    left_at_the_limit = limits.memory.bytes - limits.machine_max.bytes
    assert 0 < limits.kill.bytes < limits.term.bytes < left_at_the_limit
    assert limits.machine_max + limits.reserve <= limits.memory
    # A host that uses half of its reserve beside clones at their limit has nothing to fear of earlyoom.
    assert left_at_the_limit - limits.reserve.bytes // 2 > limits.term.bytes


@given(st.integers(2**26, 2**44))
def test_what_is_protected_is_a_small_part_of_the_reserve(reserve: int) -> None:
    limits = Limits(Size(2**45), Size(reserve))
    assert limits.sshd_min.bytes + limits.libvirtd_min.bytes <= limits.guard.bytes <= reserve // 8
    assert limits.sshd_min.bytes > 0


@pytest.mark.parametrize("reserve", [64 * GIB, 65 * GIB])
def test_a_reserve_that_leaves_nothing_is_refused(reserve: int) -> None:
    with pytest.raises(NoCapacity, match="has 64 GiB of memory, and the reserve is 6"):
        Limits(Size(64 * GIB), Size(reserve))


MANIFEST = Manifest(
    Phase.INSTALLING,
    (Entry("/etc/a", ("0" * 64,)), Entry("/etc/b", ("1" * 64, "2" * 64), b"\xff\n", 0o640, merged=True)),
    ("/etc/x", "/etc/x/y"),
    ("earlyoom",),
    was_enabled=True,
)


def test_a_manifest_is_read_as_it_was_written() -> None:
    assert Manifest.from_json(MANIFEST.to_json()) == MANIFEST


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"contained/1", b"contained/2"),
        (b'"installing"', b'"begun"'),
        (b'"files"', b'"things"'),
        (b'"/wo=', b'"not base64'),
        (b'"640"', b'"999"'),
        (b"}", b""),
    ],
)
def test_a_manifest_that_is_not_ours_is_refused(old: bytes, new: bytes) -> None:
    text = MANIFEST.to_json()
    assert old in text
    with pytest.raises(WrongState, match="cannot be read"):
        Manifest.from_json(text.replace(old, new))
