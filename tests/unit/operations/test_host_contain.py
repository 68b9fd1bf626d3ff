"""Containment of a host: what is written, that it can be finished or undone from anywhere, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes.machine import UNITS, FakeMachine
from fakes.process import Killed
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.config import Config
from moltfleet.model.errors import Busy, HostUnavailable, MoltfleetError, NoCapacity, ToolFailed, WrongState
from moltfleet.model.size import Size
from moltfleet.operations.host import Host
from moltfleet.operations.host_contain import ContainRequest, contain, plan_contain
from moltfleet.operations.host_release import plan_release, release
from moltfleet.progress import RecordingProgress

MACHINE_SLICE = f"{UNITS}/machine.slice.d/50-moltfleet.conf"
DAEMON = "/etc/docker/daemon.json"
PLAIN = ContainRequest()
WITH_DOCKER = ContainRequest(docker_max=Size.of_gib(4))


@pytest.fixture
def machine(tmp_path: Path) -> FakeMachine:
    return FakeMachine(tmp_path)


def on(machine: FakeMachine, **settings: object) -> Host:
    return Host(Config.model_validate(settings), machine, BootstrapFiles(), RecordingProgress())


def acts(plan: object) -> dict[str, str]:
    return {act.path: act.act for act in plan.acts}  # type: ignore[attr-defined]


def test_every_file_is_as_it_was_agreed(machine: FakeMachine, golden: Callable[[str, str], None]) -> None:
    plan = plan_contain(on(machine), WITH_DOCKER)
    golden("host/contain.txt", "\n".join(plan.lines()) + "\n")


@pytest.mark.parametrize("egress", ["lan", "none"])
def test_the_other_tables_are_as_they_were_agreed(
    machine: FakeMachine, golden: Callable[[str, str], None], egress: str
) -> None:
    contain(on(machine, egress=egress), PLAIN)
    golden(f"host/egress-{egress}.nft", machine.text("/etc/moltfleet/egress.nft"))
    assert machine.table == machine.read("/etc/moltfleet/egress.nft")


def test_a_plan_changes_nothing(machine: FakeMachine) -> None:
    before = machine.tree()
    machine.root_user = False
    plan_contain(on(machine), WITH_DOCKER)
    plan_release(on(machine))
    assert (machine.tree(), machine.ran, machine.changes) == (before, [], 0)


@pytest.mark.parametrize("request_", [PLAIN, WITH_DOCKER], ids=["plain", "docker"])
def test_a_removal_leaves_what_was_there_before(machine: FakeMachine, request_: ContainRequest) -> None:
    machine.put(f"{UNITS}/ssh.service.d/10-mine.conf", "[Service]\n")
    machine.put(DAEMON, '{"log-driver":"journald"  }')
    (machine.root / DAEMON[1:]).chmod(0o640)
    before = machine.tree()
    contain(on(machine), request_)
    assert machine.tree() != before
    release(on(machine))
    assert machine.tree() == before
    assert machine.table is None


def test_a_removal_where_nothing_is_does_nothing(machine: FakeMachine) -> None:
    assert release(on(machine)).acts == ()
    assert machine.ran == []


def install(host: Host) -> object:
    return contain(host, ContainRequest(docker_max=Size.of_gib(4), install_earlyoom=True))


def remove(host: Host) -> object:
    return release(host)


def a_machine(root: Path) -> FakeMachine:
    """One that has settings of Docker's, and no earlyoom yet."""
    machine = FakeMachine(root)
    machine.put(DAEMON, '{"debug": true}')
    (root / "usr/bin/earlyoom").unlink()
    del machine.systemd.units["earlyoom.service"]
    return machine


@pytest.mark.parametrize("then", [install, remove], ids=["contain", "remove"])
@pytest.mark.parametrize("first", [install, remove], ids=["contain-killed", "remove-killed"])
def test_a_run_that_was_killed_anywhere_is_finished_or_undone_by_the_next(
    tmp_path: Path, first: Callable[[Host], object], then: Callable[[Host], object]
) -> None:
    goal = a_machine(tmp_path / "goal")
    pristine = goal.tree()
    install(on(goal))
    installed = goal.tree()
    at = 0
    while True:
        at += 1
        machine = a_machine(tmp_path / str(at))
        if first is remove:
            install(on(machine))
        machine.changes, machine.kill_after = 0, at
        try:
            first(on(machine))
            break
        except Killed:
            machine.kill_after = 0
        then(on(machine))
        assert machine.tree() == (installed if then is install else pristine), f"killed after change {at}"
    assert at > 15


def test_a_second_run_changes_no_file(machine: FakeMachine) -> None:
    contain(on(machine), PLAIN)
    before = machine.tree()
    assert set(acts(contain(on(machine), PLAIN)).values()) == {"keep"}
    assert machine.tree() == before


def test_another_reserve_changes_what_follows_from_it(machine: FakeMachine) -> None:
    before = machine.tree()
    contain(on(machine), PLAIN)
    changed = acts(contain(on(machine, reserve="20G"), PLAIN))
    assert {path.split("/")[-2] for path, act in changed.items() if act == "update"} == {
        "machine.slice.d",
        "earlyoom.service.d",
    }
    assert "MemoryMax=45056M" in machine.text(MACHINE_SLICE)
    release(on(machine))
    assert machine.tree() == before


@pytest.mark.parametrize(("counts", "limit"), [("32G", "22528M"), ("96G", "55296M")])
def test_memory_that_does_not_count_as_the_hosts_is_kept_from_clones(
    machine: FakeMachine, counts: str, limit: str
) -> None:
    contain(on(machine, host_memory=counts), PLAIN)
    assert f"MemoryMax={limit}\n" in machine.text(MACHINE_SLICE)


def test_a_run_without_docker_frees_the_containers_again(machine: FakeMachine) -> None:
    machine.put(DAEMON, '{"debug": true}')
    contain(on(machine), WITH_DOCKER)
    assert json.loads(machine.text(DAEMON)) == {"debug": True, "cgroup-parent": "docker.slice"}
    done = acts(contain(on(machine), PLAIN))
    assert (done[DAEMON], done[f"{UNITS}/docker.slice.d/50-moltfleet.conf"]) == ("restore", "remove")
    assert machine.text(DAEMON) == '{"debug": true}'


def test_docker_settings_that_were_edited_since_lose_our_part_only(machine: FakeMachine) -> None:
    machine.put(DAEMON, '{"debug": true}')
    contain(on(machine), WITH_DOCKER)
    machine.put(DAEMON, machine.text(DAEMON).replace("true", "false"))
    contain(on(machine), WITH_DOCKER)
    release(on(machine))
    assert json.loads(machine.text(DAEMON)) == {"debug": False}


def test_docker_settings_that_were_ours_alone_go(machine: FakeMachine) -> None:
    contain(on(machine), WITH_DOCKER)
    machine.put(DAEMON, machine.text(DAEMON) + "\n")
    release(on(machine))
    assert not machine.exists("/etc/docker")


def test_docker_settings_that_had_our_place_before_keep_it(machine: FakeMachine) -> None:
    machine.put(DAEMON, '{"cgroup-parent":"docker.slice"}')
    before = machine.tree()
    contain(on(machine), WITH_DOCKER)
    release(on(machine))
    assert machine.tree() == before


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ('{"cgroup-parent": "theirs.slice"}', "already have a place of their own: 'theirs.slice'"),
        ("{,}", "is not JSON"),
        ("[]", "is not a JSON object"),
    ],
)
def test_docker_settings_that_cannot_be_merged_stop_everything(machine: FakeMachine, settings: str, said: str) -> None:
    machine.put(DAEMON, settings)
    before = machine.tree()
    with pytest.raises(WrongState, match=said):
        contain(on(machine), WITH_DOCKER)
    assert machine.tree() == before


@pytest.mark.parametrize(
    "again", [lambda host, **o: contain(host, ContainRequest(**o)), release], ids=["contain", "remove"]
)
def test_an_edited_file_is_neither_overwritten_nor_removed_unasked(
    machine: FakeMachine, again: Callable[..., object]
) -> None:
    before = machine.tree()
    contain(on(machine), PLAIN)
    machine.put(MACHINE_SLICE, "[Slice]\nMemoryMax=1G\n")
    edited = machine.tree()
    with pytest.raises(WrongState, match=f"Changed by other hands: {MACHINE_SLICE}") as caught:
        again(on(machine))
    assert "--discard-edits" in (caught.value.hint or "")
    assert machine.tree() == edited
    again(on(machine), discard_edits=True)
    release(on(machine))
    assert machine.tree() == before


def test_somebody_elses_file_in_our_place_is_given_back(machine: FakeMachine) -> None:
    machine.put(MACHINE_SLICE, "[Slice]\nMemoryMax=1G\n")
    before = machine.tree()
    with pytest.raises(WrongState, match="Changed by other hands"):
        contain(on(machine), PLAIN)
    assert machine.tree() == before
    assert acts(contain(on(machine), ContainRequest(discard_edits=True)))[MACHINE_SLICE] == "update"
    release(on(machine))
    assert machine.tree() == before


def test_a_directory_that_others_use_by_now_stays(machine: FakeMachine) -> None:
    contain(on(machine), PLAIN)
    machine.put(f"{UNITS}/machine.slice.d/60-theirs.conf", "[Slice]\n")
    release(on(machine))
    assert machine.text(f"{UNITS}/machine.slice.d/60-theirs.conf") == "[Slice]\n"
    assert not machine.exists(MACHINE_SLICE)


def test_a_link_is_not_written_through(machine: FakeMachine) -> None:
    target = machine.root / "elsewhere"
    target.write_text("theirs")
    link = machine.root / MACHINE_SLICE[1:]
    link.parent.mkdir()
    link.symlink_to(target)
    with pytest.raises(WrongState, match="symbolic link"):
        contain(on(machine), ContainRequest(discard_edits=True))
    assert target.read_text() == "theirs"


@pytest.mark.parametrize(
    ("enabled", "active", "commands"),
    [
        ("enabled", "active", [("restart",)]),
        ("enabled", "inactive", [("stop",)]),
        ("disabled", "inactive", [("disable",), ("stop",)]),
        ("disabled", "active", [("disable",), ("restart",)]),
    ],
)
def test_earlyoom_is_left_as_it_was_found(
    machine: FakeMachine, enabled: str, active: str, commands: list[tuple[str]]
) -> None:
    machine.systemd.units["earlyoom.service"] |= {"UnitFileState": enabled, "ActiveState": active}
    contain(on(machine), PLAIN)
    contain(on(machine), PLAIN)
    state = machine.systemd.units["earlyoom.service"]
    assert (state["UnitFileState"], state["ActiveState"]) == ("enabled", "active")
    machine.ran.clear()
    release(on(machine))
    assert (state["UnitFileState"], state["ActiveState"]) == (enabled, active)
    assert [run[1:2] for run in machine.ran if run[-1] == "earlyoom.service"] == commands


def test_earlyoom_is_installed_when_asked_and_only_then_removed(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    before = machine.tree()
    plan = contain(on(machine), PLAIN)
    assert machine.find_program("earlyoom") is None
    assert "--install-earlyoom" in " ".join(plan.notes)
    contain(on(machine), ContainRequest(install_earlyoom=True))
    assert machine.find_program("earlyoom") == "/usr/bin/earlyoom"
    assert machine.systemd.units["earlyoom.service"]["ActiveState"] == "active"
    # Asked for again, it is there already, and is still the one that was installed.
    contain(on(machine), ContainRequest(install_earlyoom=True))
    release(on(machine))
    assert machine.tree() == before


def test_what_earlyoom_spared_before_it_spares_still(machine: FakeMachine) -> None:
    machine.put("/etc/default/earlyoom", """EARLYOOM_ARGS="-r 60 --avoid '(^|/)(init|Xorg)$' --prefer 'node'"\n""")
    contain(on(machine), PLAIN)
    text = machine.text(f"{UNITS}/earlyoom.service.d/50-moltfleet.conf")
    assert "$EARLYOOM_ARGS -M 2621440,1310720 -s 100,100 --avoid '((^|/)(init|Xorg)$$)|(^(sshd.*|" in text


def test_a_plan_says_which_file_the_table_would_not_cover(machine: FakeMachine) -> None:
    assert "does not cover" in " ".join(plan_contain(on(machine, network="default"), PLAIN).notes)


def no_systemd(machine: FakeMachine) -> None:
    (machine.root / "run/systemd/system").rmdir()


def old_cgroups(machine: FakeMachine) -> None:
    (machine.root / "sys/fs/cgroup/cgroup.controllers").unlink()


def no_nft(machine: FakeMachine) -> None:
    (machine.root / "usr/sbin/nft").unlink()


def not_root(machine: FakeMachine) -> None:
    machine.root_user = False


def small(machine: FakeMachine) -> None:
    machine.total = Size.of_gib(10)


def full(machine: FakeMachine) -> None:
    machine.put("/sys/fs/cgroup/machine.slice/memory.stat", f"anon {60 << 30}\nfile {1 << 40}\nkernel 1\nshmem 0\n")


def bad_table(machine: FakeMachine) -> None:
    machine.refused.add("nft")


@pytest.mark.parametrize(
    ("spoil", "error", "said"),
    [
        (no_systemd, HostUnavailable, "not run by systemd"),
        (old_cgroups, HostUnavailable, "cgroup v1"),
        (no_nft, ToolFailed, "'nft' is not installed"),
        (not_root, HostUnavailable, "Only root"),
        (small, NoCapacity, "has 10 GiB of memory, and the reserve is 10 GiB"),
        (full, NoCapacity, "hold 60 GiB now, and their limit would be 54 GiB"),
        (bad_table, ToolFailed, "'nft' failed"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_cannot_be_contained_is_said_before_anything_is_written(
    machine: FakeMachine, spoil: Callable[[FakeMachine], None], error: type[MoltfleetError], said: str
) -> None:
    spoil(machine)
    before = machine.tree()
    with pytest.raises(error, match=said) as caught:
        contain(on(machine), PLAIN)
    assert machine.tree() == before
    assert caught.value.hint or error is ToolFailed


def test_page_cache_of_the_guests_does_not_stand_in_the_way(machine: FakeMachine) -> None:
    machine.put("/sys/fs/cgroup/machine.slice/memory.stat", f"anon {50 << 30}\nfile {60 << 30}\n")
    contain(on(machine), PLAIN)


def test_a_package_cannot_be_installed_without_apt(tmp_path: Path) -> None:
    machine = a_machine(tmp_path)
    (machine.root / "usr/bin/apt-get").unlink()
    with pytest.raises(ToolFailed, match="'apt-get' is not here"):
        contain(on(machine), ContainRequest(install_earlyoom=True))


def test_two_runs_exclude_each_other(machine: FakeMachine) -> None:
    with machine.hold(), pytest.raises(Busy, match="Another run"):
        contain(on(machine), PLAIN)


def test_a_manifest_that_cannot_be_read_stops_both_ways(machine: FakeMachine) -> None:
    contain(on(machine), PLAIN)
    machine.put("/var/lib/moltfleet-host.json", '{"schema": "moltfleet.contained/9"}')
    for act in (lambda: contain(on(machine), PLAIN), lambda: release(on(machine))):
        with pytest.raises(WrongState, match="manifest of the host's containment"):
            act()


def test_units_of_other_distributions_get_the_drop_ins(machine: FakeMachine) -> None:
    machine.systemd.aliases.clear()
    machine.systemd.units["sshd.service"] = machine.systemd.units.pop("ssh.service")
    machine.systemd.units["virtqemud.service"] = machine.systemd.units.pop("libvirtd.service")
    done = acts(contain(on(machine), PLAIN))
    assert {f"{UNITS}/{unit}.service.d/50-moltfleet.conf" for unit in ("sshd", "virtqemud")} <= done.keys()
    assert not any("/ssh.service" in path or "libvirtd" in path for path in done)
