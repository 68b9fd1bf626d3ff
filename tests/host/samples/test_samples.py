"""Several processes write and read one file of samples at once, and are killed in the middle of it."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.samples import SqliteSamples

WRITER = Path(__file__).with_name("writer.py")
WRITERS, TURNS = 4, 6


def a_writer(path: Path, number: int, turns: int) -> subprocess.Popen[str]:
    argv = [sys.executable, str(WRITER), str(path), str(number), str(turns)]
    return subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def told(path: Path) -> dict[str, int]:
    found = SqliteSamples(path, SystemClock(), boot="boot-1").history(since_s=0.0)
    return {subject: len(samples) for subject, samples in found}


def check(path: Path) -> str:
    with sqlite3.connect(path) as database:
        return str(database.execute("PRAGMA integrity_check").fetchone()[0])


def test_nothing_of_several_writers_is_lost_not_even_when_they_make_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state/samples.sqlite3"
    writers = [a_writer(path, number, TURNS) for number in range(WRITERS)]
    ends = [(writer.communicate(timeout=120), writer.returncode) for writer in writers]
    assert [(code, said[1]) for said, code in ends] == [(0, "")] * WRITERS
    assert told(path) == {f"crab-{number}-{n}": TURNS for number in range(WRITERS) for n in range(50)}
    assert check(path) == "ok"


def test_a_writer_that_is_killed_leaves_whole_looks_and_a_file_for_the_next(tmp_path: Path) -> None:
    path = tmp_path / "samples.sqlite3"
    for number in range(3):
        writer = a_writer(path, number, 100_000)
        assert writer.stdout is not None
        for _ in range(5):
            writer.stdout.readline()
        writer.kill()
        writer.communicate(timeout=60)
    kept = told(path)
    for number in range(3):
        turns = {kept[f"crab-{number}-{n}"] for n in range(50)}
        assert len(turns) == 1 and turns.pop() >= 5
    assert check(path) == "ok"
