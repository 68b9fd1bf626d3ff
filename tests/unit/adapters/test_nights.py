"""Journals of nights: written whole, read back equal, bounded in number, and never in the way when damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.nights import NightFiles, nights_path
from moltfleet.model.errors import ToolFailed
from moltfleet.model.nightly import CloneNight, HostState, Night, Outcome, Scope, State, Step, StepName, Unexplained

NIGHT = Night("2026-11-20T03:30:00Z", "2026-11-20T07:30:00Z", Scope.LEAKING, "0.1.0")
FULL = replace(
    NIGHT.with_step(Step(StepName.SURVEY, State.DONE, "3 clones", 1.5)).with_clone(
        CloneNight("crab-1", "molt", "leaks", "leaking", State.FAILED, "molt", "rescued", "/r", ("d",), "warm", "k")
    ),
    outcome=Outcome.FAILED,
    ended_at="2026-11-20T04:00:00Z",
    continues="2026-11-19T03:30:00Z",
    host_before=HostState(1, None, 2, None),
    host_after=HostState(1, 1, 2, 0.5),
    unexplained=(Unexplained("x.qcow2", 7),),
    notes=("a note",),
)


@pytest.fixture
def nights(tmp_path: Path) -> NightFiles:
    return NightFiles(tmp_path / "nights", keep=3)


def test_a_night_comes_back_as_it_was_written(nights: NightFiles, tmp_path: Path) -> None:
    assert nights.latest() is None
    nights.write(NIGHT)
    nights.write(FULL)
    assert nights.latest() == FULL
    (file,) = (tmp_path / "nights").iterdir()
    assert (file.name, file.stat().st_mode & 0o777) == ("20261120t033000z.json", 0o600)
    assert (tmp_path / "nights").stat().st_mode & 0o777 == 0o700


def test_a_report_lies_beside_its_journal(nights: NightFiles, tmp_path: Path) -> None:
    nights.write(FULL)
    assert nights.report_path(FULL) is None
    path = nights.file_report(FULL, "# A night\n")
    assert path.endswith("/20261120t033000z.md")
    assert nights.report_path(FULL) == path
    assert (tmp_path / "nights/20261120t033000z.md").read_text() == "# A night\n"
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_one_of_many_marks_a_night_as_the_last_before_a_missed_one(nights: NightFiles) -> None:
    nights.write(NIGHT)
    assert [nights.mark_missed(NIGHT) for _ in range(3)] == [True, False, False]


def test_old_nights_go_with_their_reports_and_other_files_stay(nights: NightFiles, tmp_path: Path) -> None:
    (tmp_path / "nights").mkdir()
    (tmp_path / "nights/mine.json").write_text("{}")
    for day in range(10, 16):
        night = replace(NIGHT, started_at=f"2026-11-{day}T03:30:00Z")
        nights.write(night)
        nights.file_report(night, "x")
    names = sorted(path.name for path in (tmp_path / "nights").iterdir())
    days = [f"202611{day}t033000z" for day in (13, 14, 15)]
    assert names == sorted([*(f"{day}.{end}" for day in days for end in ("json", "md")), "mine.json"])


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\0\xff", b'{"started_at": 3}', b"[" * 100_000])
def test_a_damaged_journal_is_no_night(nights: NightFiles, tmp_path: Path, content: bytes) -> None:
    nights.write(NIGHT)
    (tmp_path / "nights/20261120t033000z.json").write_bytes(content)
    assert nights.latest() is None
    later = replace(NIGHT, started_at="2026-11-21T03:30:00Z")
    nights.write(later)
    assert nights.latest() == later


def test_no_night_leads_out_of_the_directory(nights: NightFiles) -> None:
    with pytest.raises(ToolFailed):
        nights.write(replace(NIGHT, started_at="../../etc/x"))


def test_a_place_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "nights").write_text("a file")
    with pytest.raises(ToolFailed) as caught:
        NightFiles(tmp_path / "nights", keep=3).write(NIGHT)
    assert caught.value.hint == "Without a journal no night begins."


def test_each_libvirt_has_nights_of_its_own(tmp_path: Path) -> None:
    assert nights_path("qemu:///system", tmp_path) != nights_path("qemu:///session", tmp_path)


def test_what_was_under_way_when_it_was_interrupted_is_told_as_that() -> None:
    night = FULL.with_step(Step(StepName.MOLT, State.RUNNING)).with_clone(
        CloneNight("crab-2", "molt", "leaks", "leaking", State.RUNNING, "rescue")
    )
    left = night.interrupted(at="2026-11-21T03:30:00Z")
    assert (left.outcome, left.ended_at) == (Outcome.INTERRUPTED, "2026-11-21T03:30:00Z")
    assert left.step(StepName.SURVEY).state is State.DONE
    assert left.step(StepName.MOLT).state is State.INTERRUPTED
    assert (left.step(StepName.WARM).state, left.step(StepName.WARM).detail) == (
        State.LEFT,
        "the night was interrupted",
    )
    assert [clone.state for clone in left.clones] == [State.FAILED, State.INTERRUPTED]
