"""`doctor`: it tells, asks, mends what it told, and its exit code says whether anything is wrong."""

from __future__ import annotations

import json

import pytest

from fakes import Disk, World, a_world
from fakes.machine import FakeMachine
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.errors import HostUnavailable, InvalidInput
from moltfleet.operations.host import Host

ORPHAN = "old-1.seed.iso"


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1",))


@pytest.fixture
def machine(tmp_path) -> FakeMachine:
    made = FakeMachine(tmp_path / "machine")
    made.put("/sys/class/net/moltfleet0/bridge/stp_state", "0\n")
    return made


@pytest.fixture
def do(run, world: World, machine):
    def invoke(*args, **options):
        options.setdefault("build_host", lambda config, progress: Host(config, machine, BootstrapFiles(), progress))
        return run(*args, build_fleet=lambda *_: world.fleet, **options)

    return invoke


def plant(world: World, name: str = ORPHAN) -> None:
    world.storage.put(Disk(name, "raw", 1 << 20, data=bytes(1 << 20)))


def test_a_healthy_fleet_is_told_in_a_word_and_exits_with_0(do):
    assert do("doctor") == do("doctor", "--fix", "--yes")
    outcome = do("doctor")
    assert (outcome.exit_code, outcome.stdout) == (0, "Nothing is wrong.\n")


def test_a_finding_is_told_with_its_reason_its_fix_and_the_bytes_to_win(do, world):
    plant(world)
    plant(world, "old-2.seed.iso")
    outcome = do("doctor")
    assert outcome.exit_code == 4
    assert outcome.stdout == (
        "fleet: old-1.seed.iso, old-2.seed.iso: no record explains it\n"
        "  why  Its domain is gone, and nothing else names it; it takes room until the pool is full, which pauses"
        " guests.\n"
        "  fix  Delete the volume, with whatever was written to it. (--fix does it, 2 MiB to win)\n"
        "\n"
        "2 findings, 2 of which --fix mends; 2 MiB to win.\n"
    )
    assert ORPHAN in world.storage.names()


def test_it_is_json_too(do, world):
    plant(world)
    outcome = do("doctor", "--json")
    assert outcome.exit_code == 4
    assert json.loads(outcome.stdout) == {
        "schema": "moltfleet.doctor/1",
        "findings": [
            {
                "kind": "orphan",
                "area": "fleet",
                "subject": ORPHAN,
                "volume": ORPHAN,
                "finding": "no record explains it",
                "why": "Its domain is gone, and nothing else names it; it takes room until the pool is full, which"
                " pauses guests.",
                "fix": "Delete the volume, with whatever was written to it.",
                "mendable": True,
                "bytes_to_win": 1 << 20,
            }
        ],
        "bytes_to_win": 1 << 20,
        "notes": [],
        "mended": None,
        "left": None,
    }


def test_a_dry_run_tells_what_would_be_done(do, world):
    plant(world)
    outcome = do("doctor", "--fix", "--dry-run")
    assert outcome.exit_code == 0
    assert outcome.stdout == (
        f"{ORPHAN}: no record explains it. Delete the volume, with whatever was written to it. (1 MiB)\n"
    )
    assert ORPHAN in world.storage.names()


def test_without_a_terminal_it_needs_to_be_told(do, world):
    plant(world)
    outcome = do("doctor", "--fix")
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert "Add --yes to go ahead" in outcome.stderr
    assert ORPHAN in world.storage.names()


@pytest.mark.parametrize(("answer", "code", "stays"), [("y\n", 0, False), ("n\n", 1, True)])
def test_on_a_terminal_it_asks(do, world, answer, code, stays):
    plant(world)
    outcome = do("doctor", "--fix", interactive=True, input=answer)
    assert outcome.exit_code == code
    assert f"{ORPHAN}: no record explains it" in outcome.stderr and "Mend?" in outcome.stderr
    assert (ORPHAN in world.storage.names()) is stays


def test_what_was_mended_is_told_and_what_is_left(do, world):
    plant(world)
    world.hypervisor.kernel = "6.2.0"
    outcome = do("doctor", "--fix", "--yes")
    assert outcome.exit_code == 4
    lines = outcome.stdout.splitlines()
    assert lines[0].split() == ["SUBJECT", "FINDING", "OUTCOME", "SIZE"]
    assert lines[1].split() == [ORPHAN, "orphan", "mended", "1", "MiB"]
    assert lines[3] == "fleet: crab-1: changed since the clean point: kernel"
    assert lines[-1] == "1 finding, none of which --fix can mend."
    assert ORPHAN not in world.storage.names()


def test_mended_as_json_has_what_became_of_each(do, world):
    plant(world)
    outcome = do("doctor", "--fix", "--yes", "--json")
    assert outcome.exit_code == 0
    document = json.loads(outcome.stdout)
    assert document["mended"] == [
        {"kind": "orphan", "subject": ORPHAN, "volume": ORPHAN, "outcome": "mended", "error": None}
    ]
    assert document["left"] == []


def test_what_could_not_be_mended_gives_its_own_code(do, world):
    plant(world)
    world.storage.users = lambda path, name, owner: "domain 'theirs'" if name == ORPHAN else None
    outcome = do("doctor", "--fix", "--yes")
    assert outcome.exit_code == 4
    assert f"Volume {ORPHAN!r} is in use by domain 'theirs'" in outcome.stderr
    assert ORPHAN in world.storage.names()


def test_names_that_would_drive_a_terminal_do_not(do, world):
    world.storage.put(Disk("\x1b[2Jx.iso", "raw", 1))
    outcome = do("doctor")
    assert outcome.exit_code == 0
    assert "\x1b" not in outcome.stdout and "?[2Jx.iso" in outcome.stdout


def test_this_host_is_looked_at(do, machine):
    machine.put("/sys/class/net/moltfleet0/bridge/stp_state", "1\n")
    outcome = do("doctor")
    assert outcome.exit_code == 4
    assert outcome.stdout.startswith("host: moltfleet: moltfleet0 has stp_state set\n")


def test_of_another_machine_only_its_libvirt_is_asked(do):
    def elsewhere(*_):
        raise InvalidInput("libvirt at qemu+ssh://far/system is on another machine")

    assert do("doctor", build_host=elsewhere).exit_code == 0


def test_a_libvirt_that_does_not_answer_is_a_finding(do, world, monkeypatch):
    def refuse():
        raise HostUnavailable("libvirt is not running at qemu:///system", hint="Start it.")

    monkeypatch.setattr(world.storage, "find_free_space", refuse)
    outcome = do("doctor")
    assert outcome.exit_code == 4
    assert "host: libvirt: libvirt is not running at qemu:///system\n" in outcome.stdout
    assert "  fix  Start it.\n" in outcome.stdout


@pytest.mark.parametrize(("options", "code"), [((), 4), (("--no-guests",), 0)])
def test_guests_are_asked_unless_told_otherwise(do, world, options, code):
    world.guest("crab-1").write("tools", "0.0.9-abc")
    outcome = do("doctor", *options)
    assert outcome.exit_code == code
    assert ("guests: crab-1: its tools are 0.0.9-abc" in outcome.stdout) is (code == 4)
