"""What tables show: states, warmth, health, and that looking changes nothing."""

from __future__ import annotations

import pytest

from fakes import Killed, Process, World, effects_told_to
from moltfleet.model.errors import NotFound, WrongState
from moltfleet.model.requests import BuildRequest, MoltRequest, StopRequest
from moltfleet.operations import golden_build, listing, molt, start, stop


def test_a_host_without_clones_lists_none_and_asks_no_pool(world: World) -> None:
    process = Process()
    assert listing.list_clones(world.process(process)) == ()
    assert process.changes == []


def test_clones_are_listed_by_name_without_goldens_and_foreign_domains(clone: World) -> None:
    clone.hypervisor.add_foreign("aaa")
    clone.add_clone("crab-0", start=False)
    views = listing.list_clones(clone.fleet)
    assert [(view.name, view.warm, view.health) for view in views] == [
        ("crab-0", "none", "off"),
        ("crab-1", "warm", "ok"),
    ]


def test_a_clone_is_told_with_where_it_is_reached(clone: World) -> None:
    (view,) = listing.list_clones(clone.fleet)
    assert view.endpoint and (view.endpoint.host, view.endpoint.port, view.endpoint.user) == (
        "192.168.150.2",
        22,
        "agent",
    )
    own = clone.record("crab-1").volumes()
    assert view.disk_allocation.bytes == sum(clone.storage.disks[name].length for name in own)


@pytest.mark.parametrize(
    ("act", "expected"),
    [
        (lambda w: stop.stop(w.fleet, ["crab-1"], StopRequest()), ("warm", "off")),
        (lambda w: setattr(w.hypervisor, "kernel", "7.0"), ("stale", "ok")),
        (lambda w: setattr(w.hypervisor.machines["crab-1"].running, "is_paused", True), ("warm", "paused")),
        (lambda w: killed_molt(w), ("warm", "unfinished molt")),
    ],
)
def test_health_and_warmth_are_one_word_each(clone: World, act: object, expected: tuple[str, str]) -> None:
    act(clone)  # type: ignore[operator]
    (view,) = listing.list_clones(clone.fleet)
    assert (view.warm, view.health) == expected


def killed_molt(world: World) -> None:
    process = Process(kill_at_effect=2)
    with effects_told_to(process), pytest.raises(Killed):
        molt.molt(world.process(process), ["crab-1"], MoltRequest())


def test_looking_changes_nothing_not_even_what_is_unfinished(clone: World) -> None:
    killed_molt(clone)
    process = Process()
    fleet = clone.process(process)
    listing.list_clones(fleet)
    listing.list_goldens(fleet)
    listing.show_golden(fleet, "base")
    assert process.changes == []


def test_a_clone_of_an_older_generation_shows_the_newest(world: World) -> None:
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    world.add_clone("crab-1", golden="two", start=False)
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    (view,) = listing.list_clones(world.fleet)
    assert (view.generation, view.latest_generation) == (1, 2)


def test_goldens_are_listed_with_their_clones(clone: World) -> None:
    (view,) = listing.list_goldens(clone.fleet)
    assert (view.name, view.generations, view.clones) == ("base", (1,), ("crab-1",))


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe"])
def test_a_manifest_that_cannot_be_read_is_said(world: World, content: bytes) -> None:
    world.storage.disks["base.g1.json"].data = content
    with pytest.raises(WrongState, match="Manifest of golden 'base' cannot be read"):
        listing.show_golden(world.fleet, "base")


def test_an_unknown_golden_is_not_found(world: World) -> None:
    with pytest.raises(NotFound):
        listing.show_golden(world.fleet, "nope")


def test_a_clone_of_a_newer_version_is_listed_but_not_touched(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.hypervisor.machines["crab-2"].is_newer = True
    before = clone.hypervisor.machines["crab-2"].record
    views = listing.list_clones(clone.fleet)
    assert [(view.name, view.health) for view in views] == [("crab-1", "ok"), ("crab-2", "unreadable")]
    with pytest.raises(WrongState, match="newer moltfleet"):
        start.start(clone.fleet, ["crab-2"])
    assert [result.clone for result in molt.molt(clone.fleet, [], MoltRequest())] == ["crab-1"]
    assert clone.hypervisor.machines["crab-2"].record is before
