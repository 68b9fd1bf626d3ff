"""Schedules: put there, shown, taken away, by systemd and by cron; nothing of others is touched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes import Killed
from fakes.schedule import FakeAccounts, ScheduleMachine, a_scheduling
from moltfleet.model.errors import HostUnavailable, InvalidInput, MoltfleetError, NotFound, ToolFailed, WrongState
from moltfleet.model.schedule import Account, At, Every, Kind
from moltfleet.operations import schedule
from moltfleet.operations.scheduling import ScheduleRequest, Scheduling

AS_USUAL = ScheduleRequest(At(3, 30), Every(10))
BY_CRON = replace(AS_USUAL, kind=Kind.CRON)
BY_SYSTEM = replace(AS_USUAL, kind=Kind.SYSTEM, run_as="ann")
MINE = "/home/ann/.config/systemd/user"
THEIRS = b"# Ann's own\nMAILTO=ann\n0 0 * * * caf\xe9\n"
NEVER = Every(0)


@pytest.fixture
def machine(tmp_path: Path) -> ScheduleMachine:
    machine = ScheduleMachine(tmp_path)
    machine.root_user = False
    return machine


@pytest.fixture
def here(machine: ScheduleMachine) -> Scheduling:
    return a_scheduling(machine)


def names(machine: ScheduleMachine, directory: str) -> list[str]:
    return sorted(path.name for path in (machine.root / directory[1:]).glob("moltfleet-*"))


ALL = [f"moltfleet-{name}.{kind}" for name in ("nightly", "survey") for kind in ("service", "timer")]


# The user's systemd


def test_a_user_gets_timers_of_their_own(here: Scheduling, machine: ScheduleMachine) -> None:
    done = schedule.install(here, AS_USUAL)
    assert names(machine, MINE) == ALL
    assert machine.active == machine.enabled == {"moltfleet-nightly.timer", "moltfleet-survey.timer"}
    night, survey = done.jobs
    assert (night.kind, night.when, night.state, night.next) == (
        Kind.USER,
        "*-*-* 03:30:00",
        "active",
        "2026-11-21T03:30:00Z",
    )
    assert (night.last, night.result, survey.name) == (None, "", "moltfleet-survey")
    assert "User=" not in machine.text(f"{MINE}/moltfleet-nightly.service")


def test_it_is_said_that_timers_stop_with_the_logout_until_lingering_is_on(
    here: Scheduling, machine: ScheduleMachine
) -> None:
    done = schedule.install(here, AS_USUAL)
    assert (done.lingering, "loginctl enable-linger ann" in done.notes[0]) == (False, True)
    assert schedule.is_lingering_wanted(here, AS_USUAL)
    done = schedule.install(here, replace(AS_USUAL, linger=True))
    assert (done.lingering, done.notes) == (True, ())
    assert not schedule.is_lingering_wanted(here, AS_USUAL)


def test_lingering_brings_up_the_manager_that_is_not_there_without_a_login(
    here: Scheduling, machine: ScheduleMachine
) -> None:
    machine.stop_manager()
    with pytest.raises(HostUnavailable) as caught:
        schedule.install(here, AS_USUAL)
    assert "--linger" in (caught.value.hint or "")
    assert names(machine, MINE) == []
    assert schedule.install(here, replace(AS_USUAL, linger=True)).lingering


def test_who_may_not_let_a_systemd_linger_is_told_who_may(here: Scheduling, machine: ScheduleMachine) -> None:
    machine.refused.add("loginctl")
    with pytest.raises(ToolFailed) as caught:
        schedule.install(here, replace(AS_USUAL, linger=True))
    assert caught.value.hint == "As root: sudo loginctl enable-linger ann. Then the same again."
    assert names(machine, MINE) == []


def test_installing_again_replaces_the_times_and_takes_away_what_is_not_wanted_any_more(
    here: Scheduling, machine: ScheduleMachine
) -> None:
    schedule.install(here, AS_USUAL)
    done = schedule.install(here, ScheduleRequest(At(23, 0), NEVER))
    assert [job.when for job in done.jobs] == ["*-*-* 23:00:00"]
    assert names(machine, MINE) == ALL[:2]
    assert machine.enabled == machine.active == {"moltfleet-nightly.timer"}


def test_a_timer_that_is_moved_does_not_make_up_for_a_run_that_was_never_due(
    here: Scheduling, machine: ScheduleMachine
) -> None:
    schedule.install(here, AS_USUAL)
    verbs = [words[4] for words in machine.ran if words[0] == "env" and words[1] != "TZ=UTC"]
    assert verbs == ["daemon-reload", "enable", "stop", "clean", "start"]


def test_a_unit_of_other_hands_is_neither_overwritten_nor_removed(here: Scheduling, machine: ScheduleMachine) -> None:
    machine.put(f"{MINE}/moltfleet-nightly.timer", "[Timer]\nOnCalendar=weekly\n")
    for act in (schedule.install, schedule.plan_install):
        with pytest.raises(WrongState):
            act(here, AS_USUAL)
    schedule.remove(here)
    assert machine.text(f"{MINE}/moltfleet-nightly.timer").startswith("[Timer]")


def test_somebody_outside_of_libvirts_group_is_told(here: Scheduling) -> None:
    here.accounts.members.clear()  # type: ignore[attr-defined]
    assert "not in group 'libvirt'" in schedule.install(here, AS_USUAL).notes[-1]


# The system's systemd


def test_root_gives_the_system_a_timer_that_runs_as_a_user(machine: ScheduleMachine) -> None:
    machine.root_user = True
    here = a_scheduling(machine, environment={"SUDO_USER": "ann"})
    done = schedule.install(here, AS_USUAL)
    assert {job.kind for job in done.jobs} == {Kind.SYSTEM}
    assert "\nUser=ann\n" in machine.text("/etc/systemd/system/moltfleet-nightly.service")
    assert "\nUser=ann\n" in machine.text("/etc/systemd/system/moltfleet-survey.service")


@pytest.mark.parametrize(
    ("request_", "environment", "expected", "said"),
    [
        (replace(BY_SYSTEM, run_as=None), {}, InvalidInput, "Nobody is named"),
        (replace(BY_SYSTEM, run_as=None), {"SUDO_USER": "root"}, InvalidInput, "Nobody is named"),
        (replace(BY_SYSTEM, run_as="eve"), {}, NotFound, "'eve' does not exist"),
        (replace(BY_SYSTEM, run_as="bob"), {}, InvalidInput, "not in group 'libvirt'"),
        (replace(AS_USUAL, kind=Kind.USER, run_as="ann"), {}, InvalidInput, "Only the system's timers"),
        (replace(BY_SYSTEM, textfile="x.prom"), {}, InvalidInput, "not absolute"),
    ],
)
def test_what_the_system_must_not_run_is_refused(
    machine: ScheduleMachine,
    request_: ScheduleRequest,
    environment: dict[str, str],
    expected: type[MoltfleetError],
    said: str,
) -> None:
    machine.root_user = True
    with pytest.raises(expected) as caught:
        schedule.install(a_scheduling(machine, environment=environment), request_)
    assert said in caught.value.brief
    assert names(machine, "/etc/systemd/system") == []


def test_the_system_runs_no_program_that_others_can_replace(machine: ScheduleMachine) -> None:
    machine.root_user = True
    here = a_scheduling(machine)
    here.accounts.weak["/opt/moltfleet/lib"] = "/opt"  # type: ignore[attr-defined]
    for act in (schedule.install, schedule.plan_install):
        with pytest.raises(InvalidInput) as caught:
            act(here, BY_SYSTEM)
        assert "can write /opt," in caught.value.brief


@pytest.mark.parametrize(
    ("closed", "said"),
    [
        ("/opt/moltfleet/bin/moltfleet", "cannot run /opt/moltfleet/bin/moltfleet"),
        ("/root/m.toml", "cannot read /root/m.toml"),
    ],
)
def test_the_user_whom_it_runs_as_must_be_able_to_run_it(machine: ScheduleMachine, closed: str, said: str) -> None:
    machine.root_user = True
    here = a_scheduling(machine)
    here = replace(here, program=(*here.program, "--config", "/root/m.toml"))
    # The file stands in both trials, and only the second one reads it.
    machine.closed.add("-r" if closed.endswith(".toml") else closed)
    with pytest.raises(InvalidInput) as caught:
        schedule.install(here, BY_SYSTEM)
    assert said in caught.value.brief
    assert names(machine, "/etc/systemd/system") == []


def test_the_system_does_not_reach_a_users_own_libvirt(machine: ScheduleMachine) -> None:
    machine.root_user = True
    with pytest.raises(InvalidInput):
        schedule.install(a_scheduling(machine, uri="qemu:///session"), BY_SYSTEM)


def test_only_root_changes_the_systems_timers(machine: ScheduleMachine) -> None:
    here = a_scheduling(machine)
    assert any("User=ann" in line for line in schedule.plan_install(here, BY_SYSTEM))
    with pytest.raises(HostUnavailable):
        schedule.install(here, BY_SYSTEM)
    machine.root_user = True
    schedule.install(here, BY_SYSTEM)
    machine.root_user = False
    assert len(schedule.show(here).jobs) == 2
    with pytest.raises(HostUnavailable):
        schedule.remove(here)
    assert names(machine, "/etc/systemd/system") == ALL


# Cron


def test_without_systemd_it_is_the_crontab(here: Scheduling, machine: ScheduleMachine) -> None:
    (machine.root / "run/systemd/system").rmdir()
    machine.crontab = THEIRS
    done = schedule.install(here, AS_USUAL)
    assert machine.crontab.startswith(THEIRS)
    assert b"30 3 * * * /opt/moltfleet/bin/moltfleet nightly --yes --quiet >/dev/null\n" in machine.crontab
    assert [(job.kind, job.name, job.state) for job in done.jobs] == [
        (Kind.CRON, "moltfleet-nightly", "active"),
        (Kind.CRON, "moltfleet-survey", "active"),
    ]
    assert all(job.next for job in done.jobs)
    with pytest.raises(HostUnavailable):
        schedule.install(here, BY_SYSTEM)


@pytest.mark.parametrize("before", [THEIRS, None])
def test_a_crontab_comes_back_byte_by_byte(here: Scheduling, machine: ScheduleMachine, before: bytes | None) -> None:
    machine.crontab = before
    schedule.install(here, BY_CRON)
    schedule.install(here, replace(BY_CRON, at=At(4, 0)))
    assert machine.crontab and machine.crontab.count(b"nightly") == 1
    schedule.remove(here)
    assert machine.crontab == before


def test_it_is_said_when_no_cron_runs(here: Scheduling, machine: ScheduleMachine) -> None:
    machine.put("/proc/77/comm", "init\n")
    done = schedule.install(here, BY_CRON)
    assert (done.jobs[0].state, "No cron runs" in done.notes[0]) == ("no cron", True)


def test_a_machine_without_cron_says_so(here: Scheduling, machine: ScheduleMachine) -> None:
    (machine.root / "usr/bin/crontab").unlink()
    with pytest.raises(HostUnavailable) as caught:
        schedule.install(here, BY_CRON)
    assert "crontab" in caught.value.brief
    assert schedule.show(here).jobs == ()


# Both


def test_nothing_is_scheduled_twice(here: Scheduling, machine: ScheduleMachine) -> None:
    schedule.install(here, BY_CRON)
    with pytest.raises(WrongState) as caught:
        schedule.install(here, AS_USUAL)
    assert caught.value.hint == "Take that away first: moltfleet schedule remove"
    assert names(machine, MINE) == []


@pytest.mark.parametrize("request_", [AS_USUAL, BY_CRON], ids=["user", "cron"])
def test_a_dry_run_shows_everything_and_changes_nothing(
    here: Scheduling, machine: ScheduleMachine, request_: ScheduleRequest
) -> None:
    machine.crontab = THEIRS
    before = machine.tree()
    lines = schedule.plan_install(here, request_)
    assert any("nightly --yes" in line for line in lines)
    schedule.install(here, request_)
    installed = machine.tree()
    assert any("moltfleet" in line for line in schedule.plan_remove(here))
    assert machine.tree() == installed
    schedule.remove(here)
    left = {name: entry for name, entry in machine.tree().items() if entry[0] != "directory"}
    assert left == {name: entry for name, entry in before.items() if entry[0] != "directory"}
    assert machine.crontab == THEIRS
    assert schedule.plan_remove(here) == ()


def test_removing_nothing_changes_nothing(here: Scheduling, machine: ScheduleMachine) -> None:
    assert schedule.remove(here) == ()
    assert all(words[0] == "crontab" for words in machine.ran)


@pytest.mark.parametrize("kill_after", range(1, 10))
def test_killed_anywhere_the_next_install_or_remove_completes_it(
    here: Scheduling, machine: ScheduleMachine, kill_after: int
) -> None:
    machine.kill_after = kill_after
    with pytest.raises(Killed):
        schedule.install(here, AS_USUAL)
    machine.kill_after = 0
    schedule.install(here, AS_USUAL)
    assert names(machine, MINE) == ALL
    machine.kill_after = machine.changes + kill_after
    with pytest.raises(Killed):
        schedule.remove(here)
    machine.kill_after = 0
    schedule.remove(here)
    assert (names(machine, MINE), machine.active) == ([], set())


def test_a_systemd_that_does_not_answer_is_no_reason_to_show_nothing(
    here: Scheduling, machine: ScheduleMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule.install(here, AS_USUAL)

    def mute(*_: object, **__: object) -> object:
        raise HostUnavailable("Failed to connect to bus")

    monkeypatch.setattr(machine, "run", mute)
    monkeypatch.setattr(machine, "find_program", lambda name: None)
    assert [job.state for job in schedule.show(here).jobs] == ["unknown", "unknown"]


def test_root_of_no_sudo_is_not_taken_for_a_user(machine: ScheduleMachine) -> None:
    machine.root_user = True
    here = replace(a_scheduling(machine), accounts=FakeAccounts(Account("root", 0, "/root", "/root/.config")))
    with pytest.raises(InvalidInput):
        schedule.install(here, AS_USUAL)


def test_a_systemd_that_was_just_let_linger_is_waited_for(
    here: Scheduling, machine: ScheduleMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.stop_manager()
    monkeypatch.setattr(machine, "start_manager", lambda: None)
    sleep, before = here.clock.sleep, here.clock.monotonic()

    def sleep_and_come_up(seconds: float) -> None:
        sleep(seconds)
        if here.clock.monotonic() - before > 2:
            machine.put("/run/user/1000/systemd/private", "")

    monkeypatch.setattr(here.clock, "sleep", sleep_and_come_up)
    assert schedule.install(here, replace(AS_USUAL, linger=True)).lingering
    assert 2 < here.clock.monotonic() - before < 3
