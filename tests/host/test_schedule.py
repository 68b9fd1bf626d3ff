"""A schedule in front of the real systemd-analyze and the real crontab, whose spool is one of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.clock import FakeClock
from moltfleet.adapters.accounts import LocalAccounts
from moltfleet.adapters.machine import LocalMachine
from moltfleet.config import Config
from moltfleet.model.schedule import At, Every, Kind, Schedule, unit_files
from moltfleet.operations import schedule
from moltfleet.operations.scheduling import ScheduleRequest, Scheduling
from moltfleet.progress import RecordingProgress

PROGRAM = ("/bin/true", "a b", "50%", "$HOME", 'q"')
EVERY = ("1m", "10m", "30m", "1h", "4h", "12h", "never")
# Bytes of another encoding, and cron's own kind of settings.
THEIRS = b"# theirs\nMAILTO=ann\n@reboot /bin/true caf\xe9\n0 0 * * * /bin/true 100\\%\n"


@pytest.mark.parametrize("every", EVERY)
@pytest.mark.parametrize("kind", [Kind.USER, Kind.SYSTEM])
def test_systemd_finds_no_fault_with_the_units(tmp_path: Path, kind: Kind, every: str) -> None:
    run_as = "root" if kind is Kind.SYSTEM else None
    planned = Schedule(kind, At(3, 30), Every.parse(every), PROGRAM, 4, "/tmp/m.prom", run_as)
    for file in unit_files(planned):
        (tmp_path / file.name).write_text(file.content)
    units = [str(path) for path in sorted(tmp_path.glob("moltfleet-*"))]
    scope = ["--user"] if kind is Kind.USER else []
    environment = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}
    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    said = [line for line in done.stderr.splitlines() if "moltfleet" in line or str(tmp_path) in line]
    assert (done.returncode, said) == (0, [])


@pytest.mark.parametrize("every", EVERY[:-1])
def test_systemd_reads_the_times_as_they_are_meant(every: str) -> None:
    distance = Every.parse(every)
    files = unit_files(Schedule(Kind.USER, At(3, 30), distance, PROGRAM, 4))
    (night, survey) = (calendar(file.content) for file in files if file.name.endswith(".timer"))
    first, second = elapses(night)
    assert first.endswith("03:30:00")
    assert second.endswith("03:30:00")
    first, second = elapses(survey)
    assert (minutes(second) - minutes(first)) % 1440 == distance.minutes % 1440


def calendar(unit: str) -> str:
    (line,) = [line for line in unit.splitlines() if line.startswith("OnCalendar=")]
    return line.removeprefix("OnCalendar=")


def elapses(spec: str) -> list[str]:
    done = subprocess.run(
        ["systemd-analyze", "calendar", "--iterations=2", spec],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "TZ": "UTC", "LC_ALL": "C"},
    )
    lines = [line for line in done.stdout.splitlines() if " UTC" in line and "in UTC" not in line]
    return [line.rpartition(" UTC")[0].strip() for line in lines]


def minutes(moment: str) -> int:
    hour, minute, _ = moment.split()[-1].split(":")
    return int(hour) * 60 + int(minute)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scheduling:
    """This machine with the real crontab, which finds the test's directory in the place of the spool."""
    spool = tmp_path / "spool"
    spool.mkdir()
    real = shutil.which("crontab")
    assert real is not None, "crontab is not installed (package cron)"
    assert os.geteuid() == 0, "the spool is hidden from crontab by root"
    wrapper = tmp_path / "bin/crontab"
    wrapper.parent.mkdir()
    mount = f'mount --bind "{spool}" /var/spool/cron/crontabs && exec {real} "$@"'
    wrapper.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{mount}' crontab \"$@\"\n")
    wrapper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{wrapper.parent}:{os.environ['PATH']}")
    return Scheduling(
        config=Config(),
        machine=LocalMachine(),
        accounts=LocalAccounts({"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path / "config")}),
        clock=FakeClock(),
        progress=RecordingProgress(),
        program=("/bin/true",),
        parts=(),
        environment={},
    )


def spooled(here: Scheduling) -> bytes | None:
    done = here.machine.run(["crontab", "-l"], check=False)
    return done.stdout if done.exit_code == 0 else None


@pytest.mark.parametrize("before", [None, THEIRS, THEIRS.rstrip(b"\n") + b"\n\n"])
def test_the_real_crontab_takes_the_lines_and_gives_all_others_back(here: Scheduling, before: bytes | None) -> None:
    if before is not None:
        here.machine.run(["crontab", "-"], input=before)
        assert spooled(here) == before
    request = ScheduleRequest(At(3, 30), Every(10), kind=Kind.CRON, textfile="/tmp/50%.prom")
    for at in (At(3, 30), At(4, 15)):
        schedule.install(here, replace(request, at=at))
    jobs = schedule.show(here).jobs
    assert [job.name for job in jobs] == ["moltfleet-nightly", "moltfleet-survey"]
    assert jobs[0].when == "15 4 * * *"
    assert (spooled(here) or b"").count(b"nightly") == 1
    schedule.remove(here)
    assert spooled(here) == before


def test_a_path_is_weak_where_others_can_write(tmp_path: Path) -> None:
    accounts = LocalAccounts({})
    assert os.geteuid() == 0, "only root owns what only root owns"
    assert accounts.weak_spot("/usr/bin/env") is None
    # Anybody may put something beside it, as the sticky bit does not keep anybody from that.
    assert accounts.weak_spot(str(tmp_path / "moltfleet")) == "/tmp"
    link = Path("/run") / f"moltfleet-test-{os.getpid()}"
    link.symlink_to(tmp_path)
    try:
        assert accounts.weak_spot(str(link)) == "/tmp"
    finally:
        link.unlink()


def test_users_are_looked_up(tmp_path: Path) -> None:
    accounts = LocalAccounts({"HOME": str(tmp_path)})
    assert accounts.me().config_home == f"{tmp_path}/.config"
    root = accounts.find("root")
    assert root is not None
    assert (root.uid, accounts.is_member("root", "root")) == (0, True)
    assert accounts.find("no-such-user") is None
    assert not accounts.is_member("root", "no-such-group")
