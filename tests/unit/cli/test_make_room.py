"""`make-room`: it proposes, asks, and does what was proposed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fakes import World, a_calm_host, a_world
from moltfleet.model.size import Size


@pytest.fixture
def world() -> World:
    made = a_world(clones=("crab-1", "crab-2"))
    total = Size.of_gib(15)
    made.meter.load = replace(a_calm_host(), total=total, available=total)
    for name in ("crab-1", "crab-2"):
        made.clock.sleep(300)
        made.guest(name).write("work", "done")
        made.hypervisor.resident[name] = Size.of_gib(1)
    return made


@pytest.fixture
def do(run, world: World):
    return lambda *args, **options: run(*args, build_fleet=lambda *_: world.fleet, **options)


TABLE = "CLONE    ACT      PROMISED    IN USE  WHY\ncrab-1   stop    2.2 GiB     1 GiB  last wrote 5 min ago\n"


def running(world: World) -> list[str]:
    return [domain.name for domain in world.hypervisor.domains() if domain.is_active]


@pytest.mark.parametrize("options", [(), ("--dry-run",), ("--yes", "--dry-run")])
def test_without_being_told_it_only_proposes(do, world, options):
    outcome = do("make-room", "2G", "--vcpus", "2", *options)
    assert outcome.exit_code == 0
    assert outcome.stdout.split() == TABLE.split()
    assert outcome.stderr == ("" if "--dry-run" in options else "Nothing was changed; --yes does it.\n")
    assert running(world) == ["crab-1", "crab-2"]


def test_a_proposal_is_json_too(do):
    assert json.loads(do("make-room", "2G", "--vcpus", "2", "--json").stdout) == {
        "schema": "moltfleet.make-room/1",
        "memory_mib": 2048,
        "fits": False,
        "steps": [
            {
                "clone": "crab-1",
                "act": "stop",
                "why": "last wrote 5 min ago",
                "promised_bytes": 2304 << 20,
                "resident_bytes": 1 << 30,
            }
        ],
        "results": None,
    }


def test_told_to_it_does_it(do, world):
    outcome = do("make-room", "2G", "--vcpus", "2", "--yes", "--json")
    assert outcome.exit_code == 0
    (result,) = json.loads(outcome.stdout)["results"]
    assert (result["clone"], result["outcome"]) == ("crab-1", "stopped")
    assert running(world) == ["crab-2"]


@pytest.mark.parametrize(("answer", "left"), [("y\n", ["crab-2"]), ("n\n", ["crab-1", "crab-2"])])
def test_on_a_terminal_it_asks(do, world, answer, left):
    outcome = do("make-room", "2G", "--vcpus", "2", interactive=True, input=answer)
    assert outcome.exit_code == (0 if answer == "y\n" else 1)
    assert "last wrote 5 min ago" in outcome.stderr and "Do it?" in outcome.stderr
    assert running(world) == left


def test_room_that_is_there_is_said(do, world):
    outcome = do("make-room", "256M", "--vcpus", "1", "--yes")
    assert (outcome.exit_code, outcome.stdout) == (0, "There is room for a clone of 256 MiB.\n")
    assert running(world) == ["crab-1", "crab-2"]


def test_room_that_cannot_be_made_is_a_refusal(do):
    outcome = do("make-room", "60G", "--json")
    assert outcome.exit_code == 5
    assert json.loads(outcome.stdout)["error"]["code"] == "no-capacity"


@pytest.mark.parametrize("size", ["0", "-1", "much", "1e99G"])
def test_a_size_that_is_none_is_refused(run, size):
    assert run("make-room", "--", size).exit_code == 2
