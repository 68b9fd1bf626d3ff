"""The file of samples: bounded, private, gone on without when it is of no use; never made by looking."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from contract.samples import SamplesContract, a_sample, told
from fakes import FakeClock
from moltfleet.adapters.samples import SqliteSamples, samples_path
from moltfleet.model.errors import ExitCode, ToolFailed


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return samples_path("qemu:///system", tmp_path / "state/moltfleet")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def samples(path: Path, clock: FakeClock) -> SqliteSamples:
    return SqliteSamples(path, clock, boot="boot-1")


class TestSqliteSamples(SamplesContract):
    """The file keeps the contract."""


def test_the_clones_of_each_libvirt_have_a_file_of_their_own(tmp_path: Path) -> None:
    paths = {samples_path(uri, tmp_path) for uri in ("qemu:///system", "qemu:///session", "qemu+ssh://a/system")}
    assert len(paths) == 3


def test_looking_makes_no_file(samples: SqliteSamples, path: Path) -> None:
    assert told(samples) == {}
    assert not path.parent.exists()


def test_the_directory_is_the_users_own(samples: SqliteSamples, path: Path) -> None:
    samples.add([a_sample()])
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_another_boot_has_another_clock_and_its_samples_are_not_told(
    samples: SqliteSamples, path: Path, clock: FakeClock
) -> None:
    samples.add([a_sample()])
    assert told(SqliteSamples(path, clock, boot="boot-2")) == {}


def test_what_is_too_old_goes_and_so_does_what_is_of_the_future(path: Path, clock: FakeClock) -> None:
    samples = SqliteSamples(path, clock, boot="boot-1", kept_s=1000.0)
    samples.add([a_sample(time_s=1.0)])
    clock.sleep(600.0)
    samples.add([a_sample(time_s=2.0)])
    clock.sleep(600.0)
    samples.add([a_sample(time_s=3.0)])
    assert [sample.time_s for sample in told(samples)["crab-1"]] == [2.0, 3.0]
    # The clock was a day ahead all the time.
    SqliteSamples(path, FakeClock(), boot="boot-1", kept_s=100.0).add([a_sample(time_s=4.0)])
    assert [sample.time_s for sample in told(samples)["crab-1"]] == [4.0]


def test_there_are_never_more_than_the_bound_and_the_file_stops_growing(path: Path, clock: FakeClock) -> None:
    samples = SqliteSamples(path, clock, boot="boot-1", most=200)
    sizes = []
    for turn in range(30):
        samples.add([a_sample(f"crab-{number}", float(turn)) for number in range(20)])
        sizes.append(path.stat().st_size)
    kept = told(samples)
    assert sum(len(found) for found in kept.values()) == 200
    assert [sample.time_s for sample in kept["crab-7"]] == [float(turn) for turn in range(20, 30)]
    assert sizes[-1] < 2 * sizes[10]


@pytest.mark.parametrize(
    "content", [b"not a database at all, whatever its name says\n" * 100, b"SQLite format 3\0" * 500]
)
def test_a_damaged_file_is_put_aside_and_begun_anew(samples: SqliteSamples, path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(ToolFailed, match="cannot be used"):
        told(samples)
    assert path.read_bytes() == content, "looking changes nothing"
    samples.add([a_sample()])
    assert told(samples) == {"crab-1": (a_sample(),)}
    assert path.with_suffix(".damaged").read_bytes() == content


def test_a_file_that_was_cut_short_is_put_aside_too(samples: SqliteSamples, path: Path) -> None:
    samples.add([a_sample(f"crab-{number}") for number in range(2000)])
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    os.truncate(path, path.stat().st_size // 2)
    samples.add([a_sample()])
    assert a_sample() in told(samples)["crab-1"]


def test_what_another_version_wrote_is_not_read_and_not_mixed(samples: SqliteSamples, path: Path) -> None:
    samples.add([a_sample()])
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version = 99")
    assert told(samples) == {}
    samples.add([a_sample()._replace(time_s=7.0)])
    assert [sample.time_s for sample in told(samples)["crab-1"]] == [7.0]


def test_a_file_that_somebody_locks_for_good_is_said_and_left(
    samples: SqliteSamples, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("moltfleet.adapters.samples._PATIENCE_S", 0.1)
    samples.add([a_sample()])
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ToolFailed, match="locked") as caught:
        samples.add([a_sample(time_s=200.0)])
    assert caught.value.exit_code == ExitCode.TOOL_FAILED
    # Readers wait for nobody: that is what WAL is for.
    assert told(samples) == {"crab-1": (a_sample(),)}
    holder.execute("ROLLBACK")
    holder.close()
    samples.add([a_sample(time_s=200.0)])
    assert len(told(samples)["crab-1"]) == 2


@pytest.mark.parametrize("what", ["directory", "no place"])
def test_where_there_can_be_no_file_it_is_said_in_one_line(tmp_path: Path, clock: FakeClock, what: str) -> None:
    place = tmp_path / "state"
    if what == "directory":
        (place / "samples").mkdir(parents=True)
    else:
        place.write_text("in the way")
    with pytest.raises(ToolFailed) as caught:
        SqliteSamples(place / "samples", clock, boot="b").add([a_sample()])
    assert "\n" not in caught.value.brief and "cannot be used" in caught.value.brief
