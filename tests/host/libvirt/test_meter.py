"""A remote host's memory as far as libvirt tells it, and what a domain that ends in the middle does to a listing."""

from __future__ import annotations

from typing import Any

import libvirt
import pytest

from moltfleet.adapters.libvirt import statistics
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.meter import RemoteMeter
from moltfleet.model.domain import DomainState
from moltfleet.model.load import DomainUse
from moltfleet.model.size import Size


def test_where_libvirt_tells_only_the_total_the_rest_is_not_measured(gate: Gate) -> None:
    load = RemoteMeter(gate).measure()
    assert (load.total, load.total_origin) == (Size.of_gib(16), "libvirt node information")
    assert (load.available, load.pressure, load.oom_kills) == (None, None, None)
    assert "remote" in load.available_origin and "remote" in load.pressure_origin and "remote" in load.oom_origin


def test_what_is_free_and_what_the_cache_can_give_is_available(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> None:
    kib = {"total": 64 << 20, "free": 30 << 20, "buffers": 1 << 20, "cached": 9 << 20}
    monkeypatch.setattr(libvirt.virConnect, "getMemoryStats", lambda *_: kib)
    load = RemoteMeter(gate).measure()
    assert (load.total, load.available) == (Size.of_gib(64), Size.of_gib(40))
    assert load.available_origin == "free, buffers and cache, libvirt node memory statistics"


class Bulk:
    """A connection that answers the bulk call as QEMU's driver does."""

    def __init__(self, *answers: tuple[str, dict[str, Any]]) -> None:
        self._answers = answers

    def getAllDomainStats(self, _: int, flags: int) -> list[tuple[Any, dict[str, Any]]]:
        assert flags & libvirt.VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT
        return [(Named(name), measured) for name, measured in self._answers]


class Named:
    """A domain that has ended since."""

    def __init__(self, name: str) -> None:
        self._name = name

    def name(self) -> str:
        return self._name

    def info(self) -> None:
        raise libvirt.libvirtError("Domain not found")


QEMU = {"state.state": 1, "balloon.current": 1 << 20, "balloon.maximum": 2 << 20, "vcpu.current": 2, "vcpu.maximum": 8}


def test_the_maximum_counts_and_not_the_balloon() -> None:
    (use,) = statistics.read_use(Bulk(("a", QEMU | {"balloon.rss": 3 << 19})), emulated=True)
    assert use == DomainUse("a", DomainState.RUNNING, Size.of_gib(2), 2, Size.of_gib(1.5), True)


def test_a_domain_with_a_job_tells_no_resident_memory() -> None:
    (use,) = statistics.read_use(Bulk(("a", QEMU | {"state.state": 3})), emulated=False)
    assert (use.state, use.resident, use.untouched) == (DomainState.PAUSED, None, use.promised)


def test_a_domain_that_ended_meanwhile_counts_no_more() -> None:
    uses = statistics.read_use(Bulk(("gone", {"state.state": 1}), ("a", QEMU)), emulated=False)
    assert [use.name for use in uses] == ["a"]
