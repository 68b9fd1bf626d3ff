"""Tallies of molts: counted by many at once, bounded, and begun anew when they are damaged."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moltfleet.adapters.chronicle import ChronicleFile, chronicle_path
from moltfleet.model.errors import ToolFailed
from moltfleet.model.results import MoltResult, MoltSeconds

AT = "2026-11-20T10:00:00Z"


def molted(name: str = "crab-1", outcome: str = "molted") -> MoltResult:
    return MoltResult(name, outcome, "warm", seconds=MoltSeconds(1.5, 0.1, 0.2, 0.3, 0.4))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "molts.json"


def test_molts_are_counted_and_the_last_good_one_is_kept(file: Path) -> None:
    chronicle = ChronicleFile(file)
    for outcome in ("molted", "failed", "skipped", "molted", "failed"):
        chronicle.molted(molted(outcome=outcome), at=AT)
    tally = ChronicleFile(file).molts()["crab-1"]
    assert (tally.molts, tally.failures, tally.last_at, tally.mode) == (2, 2, AT, "warm")
    assert tally.seconds == MoltSeconds(1.5, 0.1, 0.2, 0.3, 0.4)
    assert file.stat().st_mode & 0o777 == 0o600


def test_none_is_lost_when_many_count_at_once(file: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: ChronicleFile(file).molted(molted(), at=AT), range(64)))
    assert ChronicleFile(file).molts()["crab-1"].molts == 64


def test_the_oldest_are_forgotten_when_there_are_too_many(file: Path) -> None:
    chronicle = ChronicleFile(file, most=2)
    for day in (20, 22, 21):
        chronicle.molted(molted(f"crab-{day}"), at=f"2026-11-{day}T10:00:00Z")
    assert set(chronicle.molts()) == {"crab-21", "crab-22"}


@pytest.mark.parametrize("content", ["", "[", "[]", "3", '{"a": 3}', '{"a": {"molts": "x"}}', "\0", "[" * 100_000])
def test_what_is_damaged_is_nothing_and_begins_anew(file: Path, content: str) -> None:
    file.parent.mkdir()
    file.write_text(content)
    chronicle = ChronicleFile(file)
    assert chronicle.molts() == {}
    chronicle.molted(molted(), at=AT)
    assert set(json.loads(file.read_text())) == {"crab-1"}


def test_a_place_that_cannot_be_written_is_a_failure_of_a_tool(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(ToolFailed):
        ChronicleFile(tmp_path / "state" / "molts.json").molted(molted(), at=AT)


def test_each_libvirt_has_tallies_of_its_own(tmp_path: Path) -> None:
    assert chronicle_path("qemu:///system", tmp_path) != chronicle_path("qemu:///session", tmp_path)
