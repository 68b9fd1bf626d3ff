"""Gathering the report: everything once and in bulk, nothing changed, the same numbers as `plan`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import replace

import pytest

from fakes import Disk, Killed, Process, World, a_calm_host, a_world, effects_told_to
from moltfleet.model.domain import DomainState
from moltfleet.model.load import Wanted
from moltfleet.model.report import CloneUse, Report
from moltfleet.model.requests import BuildRequest, MoltRequest, StopRequest
from moltfleet.model.size import Size
from moltfleet.operations import golden_build, molt, stop
from moltfleet.operations.plan import PlanRequest, plan
from moltfleet.operations.report import gather

GIB = Size.of_gib


def clone_of(report: Report, name: str = "crab-1") -> CloneUse:
    return next(clone for clone in report.clones if clone.view.name == name)


def a_start_under_way(world: World) -> AbstractContextManager[None]:
    return world.fleet.reservations.hold(Wanted("other", GIB(3)), check=lambda _: None)


def parts(report: Report) -> dict[str, int]:
    return {part.kind: part.volumes for part in report.pool}


def test_an_empty_host_is_reported_without_making_a_pool() -> None:
    world = a_world(golden=None)
    world.storage.has_pool = False
    process = Process()
    report = gather(world.process(process))
    assert (report.clones, report.others, report.goldens, report.pool) == ((), (), (), ())
    assert (report.memory.committed, report.default.more) == (Size(0), 3)
    assert process.changes == []
    assert [finding.text for finding in report.findings] == [
        "Free space of the pool: not measured (pool 'moltfleet' is not there, or does not run)"
    ]


def test_looking_changes_nothing_not_even_what_is_unfinished(clone: World) -> None:
    process = Process(kill_at_effect=2)
    with effects_told_to(process), pytest.raises(Killed):
        molt.molt(clone.process(process), ["crab-1"], MoltRequest())
    looking = Process()
    report = gather(clone.process(looking))
    assert looking.changes == []
    assert "A command on clones was interrupted" in [finding.text for finding in report.findings]
    assert clone_of(report).disk.leftover == clone.storage.get("crab-1.2.qcow2").allocation


@pytest.mark.parametrize(
    "config",
    [{}, {"reserve": "4G", "defaults": {"memory": "12G", "vcpus": 2}}, {"host_memory": "32G"}, {"disk_growth": "60G"}],
)
def test_the_numbers_are_those_of_plan(config: dict[str, object]) -> None:
    world = a_world(clones=("crab-1", "crab-2"), **config)
    world.hypervisor.resident |= {"crab-1": GIB(1.5)}
    with a_start_under_way(world):
        found, report = plan(world.config, PlanRequest(), lambda: world.fleet), gather(world.fleet)
    assert found.now is not None
    assert report.default.hosts[0] == found.capacity
    assert report.default.more == found.now.clones
    assert report.largest == found.now.admission.largest
    assert (report.situation.host.total, report.situation.reserve) == (found.host.memory, found.host.reserve)


def test_a_clone_is_told_with_what_it_was_promised_and_takes(clone: World) -> None:
    clone.hypervisor.resident["crab-1"] = GIB(1.5)
    use = clone_of(gather(clone.fleet))
    assert (use.promised, use.resident) == (GIB(2.25), GIB(1.5))
    assert use.peak is None
    clone.meter.highest["crab-1"] = GIB(2)
    assert clone_of(gather(clone.fleet)).peak == GIB(2)
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    use = clone_of(gather(clone.fleet))
    assert use.peak is None
    assert (use.promised, use.resident, use.view.state) == (Size(0), None, DomainState.SHUT_OFF)


def test_what_a_clone_takes_on_the_disk_is_told_by_what_it_is_for(clone: World) -> None:
    allocated = {name: clone.storage.get(name).allocation for name in clone.storage.names()}
    disk = clone_of(gather(clone.fleet)).disk
    assert disk.clean == allocated["crab-1.clean.qcow2"] + allocated["crab-1.seed.iso"]
    assert disk.ram_image == allocated["crab-1.clean.1.ram"]
    assert disk.written == allocated["crab-1.1.qcow2"]
    assert (disk.shed, disk.kept, disk.leftover) == (Size(0), Size(0), Size(0))


def test_what_molts_put_aside_is_told(clone: World) -> None:
    molt.molt(clone.fleet, ["crab-1"], MoltRequest(keep="before"))
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    report = gather(clone.fleet)
    disk = clone_of(report).disk
    assert disk.kept == clone.storage.get("crab-1.1.qcow2").allocation
    assert disk.shed == clone.storage.get("crab-1.2.qcow2").allocation
    assert disk.written == clone.storage.get("crab-1.3.qcow2").allocation
    assert disk.kept.bytes and disk.shed.bytes
    assert (parts(report)["kept layers"], parts(report)["shed layers"]) == (1, 1)


def test_a_clone_and_its_view_agree_about_the_disk(clone: World) -> None:
    molt.molt(clone.fleet, ["crab-1"], MoltRequest(keep="before"))
    use = clone_of(gather(clone.fleet))
    disk = use.disk
    every = (disk.clean, disk.ram_image, disk.written, disk.shed, disk.kept, disk.leftover)
    assert Size(sum(size.bytes for size in every)) == use.view.disk_allocation


def test_every_volume_of_the_pool_is_told_once_and_what_no_record_explains_as_that(clone: World) -> None:
    clone.storage.put(Disk("somebodys.qcow2", "qcow2", 1))
    clone.storage.put(Disk("image.0123456789abcdef.qcow2", "qcow2", 1))
    clone.storage.put(Disk("stage.0123456789abcdef.qcow2", "qcow2", 1))
    clone.storage.put(Disk("stage.0123456789abcdef.qcow2.json", "raw", 1))
    report = gather(clone.fleet)
    assert parts(report) == {
        "goldens": 2, "clean points": 2, "saved RAM": 1, "written since": 1, "base images": 3, "unexplained": 1,
    }  # fmt: skip
    volumes = clone.storage.volumes()
    assert sum(part.size.bytes for part in report.pool) == sum(volume.allocation.bytes for volume in volumes)


def test_goldens_are_told_with_the_clones_of_each_generation(world: World) -> None:
    for _ in range(2):
        golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
        world.add_clone(f"crab-{len(gather(world.fleet).clones)}", golden="two")
    base, two = gather(world.fleet).goldens
    assert (base.name, base.clones, base.running) == ("base", 0, 0)
    assert [(g.number, g.clones) for g in two.generations] == [(1, 1), (2, 1)]
    assert (two.running, two.allocation.bytes > 0) == (2, True)


def test_other_peoples_domains_count_and_are_named(clone: World) -> None:
    clone.hypervisor.add_foreign("theirs")
    clone.hypervisor.start("theirs")
    clone.hypervisor.add_foreign("off")
    report = gather(clone.fleet)
    assert [use.name for use in report.others] == ["theirs"]
    assert report.memory.others_promised == GIB(1.25)
    assert report.memory.committed == report.situation.promised


def test_a_record_that_cannot_be_read_is_told_and_its_memory_counts(clone: World) -> None:
    clone.hypervisor.machines["crab-1"].is_newer = True
    report = gather(clone.fleet)
    use = clone_of(report)
    assert (use.view.health, use.promised, use.disk_capacity) == ("unreadable", GIB(2.25), Size(0))
    finding = next(finding for finding in report.findings if "Metadata" in finding.text)
    assert finding.names == ("crab-1",)
    assert parts(report)["unexplained"] == 4


def test_reservations_of_starts_under_way_count(clone: World) -> None:
    with a_start_under_way(clone):
        assert gather(clone.fleet).memory.starting == GIB(3)
    assert gather(clone.fleet).memory.starting == Size(0)


def test_domains_and_volumes_are_asked_for_once_however_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    world = a_world(clones=tuple(f"crab-{n}" for n in range(8)), host_memory="512G")
    world.add_golden("lean")
    asked: list[str] = []
    for port, name in ((world.hypervisor, "domains"), (world.hypervisor, "memory_use"), (world.storage, "volumes")):
        real = getattr(type(port), name)

        def count(self: object, name: str = name, real: object = real) -> object:
            asked.append(name)
            return real(self)  # type: ignore[operator]

        monkeypatch.setattr(type(port), name, count)
    gather(world.fleet)
    assert sorted(asked) == ["domains", "memory_use", "volumes"]


def test_the_moment_and_the_host_are_told(clone: World) -> None:
    clone.hypervisor.facts = replace(clone.hypervisor.facts, name="forge")
    report = gather(clone.fleet)
    assert (report.taken_at[:10], report.host.name) == ("2026-11-20", "forge")
    assert report.situation.host == a_calm_host()
