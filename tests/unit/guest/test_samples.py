"""The file of samples: what is kept of what is offered, and what a reader makes of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.guesttree import GuestTree, Scene
from moltguest import samples
from moltguest.samples import MOST_LINES, PATH, Load, Record, SampleLog, is_due, of_guest, of_load, read

GIB = 1 << 30
MIB = 1 << 20


def offer(log: SampleLog, now: float, available: int = 3 * GIB, **more: tuple[Load, ...]) -> None:
    assert log.offer(now, available, 4 * GIB, **more) == ""


def test_what_is_offered_is_read_back(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    loads = (Load("/agents.slice/a.scope", 200 * MIB, GIB), Load("tree:7:99", 300 * MIB, 2 * GIB))
    offer(log, 100.04, loads=loads)
    assert read(str(tmp_path)) == (Record(100.0, 3 * GIB, 4 * GIB, (loads[1], loads[0])),)


def test_the_watchdog_writes_it_with_its_largest_agents(tree: GuestTree, scene: Scene) -> None:
    for number in range(6):
        scope = tree.scope(f"run-{number}.scope", 100 + number, most=2000)
        tree.process(100 + number, "/usr/local/bin/claude", memory=100, cgroup=scope)
    scene.run(31)

    records = read(str(tree.root))
    assert 3 <= len(records) <= 4
    assert records[-1].total == 4096 * MIB
    assert [(load.key, load.used) for load in records[-1].loads] == [
        (f"/agents.slice/run-{number}.scope", (100 + number) * MIB) for number in (5, 4, 3, 2)
    ]


def test_a_dry_run_of_the_watchdog_leaves_no_samples(tree: GuestTree) -> None:
    Scene(tree, dry=True).run(31)
    assert read(str(tree.root)) == ()


def test_a_guest_at_rest_is_recorded_every_ten_seconds(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    for second in range(0, 61):
        offer(log, float(second))
    assert [record.time_s for record in read(str(tmp_path))] == [0, 10, 20, 30, 40, 50, 60]


def test_memory_that_moves_is_recorded_at_once_but_not_oftener_than_each_second(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    for tenth in range(0, 31):
        offer(log, tenth / 10, 3 * GIB - tenth * 100 * MIB)
    assert [record.time_s for record in read(str(tmp_path))] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("record", "due"),
    [
        (Record(101.0, 3 * GIB, 4 * GIB), False),
        (Record(110.0, 3 * GIB, 4 * GIB), True),
        (Record(101.0, 2 * GIB, 4 * GIB), True),
        (Record(100.5, 2 * GIB, 4 * GIB), False),
        (Record(99.0, 3 * GIB, 4 * GIB), True),
        (Record(100.5, 3 * GIB, 8 * GIB), True),
    ],
    ids=["too soon", "time", "moved", "moved too soon", "the clock went back", "memory was plugged in"],
)
def test_when_a_record_is_due(record: Record, due: bool) -> None:
    assert is_due(Record(100.0, 3 * GIB, 4 * GIB), record) is due


def test_an_agent_that_moves_is_recorded_however_much_memory_the_guest_has(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    for second in range(0, 10):
        # 10 MiB a second: nothing beside 64 GiB, and 1 % of what the agent may use.
        loads = (Load("a", (100 + 10 * second) * MIB, 1000 * MIB), Load("still", 50 * MIB, 1000 * MIB))
        assert log.offer(float(second), 60 * GIB - 10 * second * MIB, 64 * GIB, loads) == ""
    assert [record.time_s for record in read(str(tmp_path))] == [0, 2, 4, 6, 8]


def test_an_agent_that_comes_is_recorded_not_oftener_than_each_second(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    offer(log, 0.0)
    offer(log, 0.5, loads=(Load("a", 100 * MIB, GIB),))
    offer(log, 1.0, loads=(Load("a", 100 * MIB, GIB),))
    offer(log, 2.0, loads=(Load("a", 100 * MIB, GIB), Load("small", MIB, GIB)))
    assert [record.time_s for record in read(str(tmp_path))] == [0, 1]


def test_a_writer_that_is_started_anew_continues(tmp_path: Path) -> None:
    offer(SampleLog(str(tmp_path)), 10.0)
    again = SampleLog(str(tmp_path))
    offer(again, 15.0)
    offer(again, 20.0)
    assert [record.time_s for record in read(str(tmp_path))] == [10, 20]


def test_the_file_is_bounded_and_keeps_what_the_longest_window_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = SampleLog(str(tmp_path))
    monkeypatch.setattr(samples, "MOST_LINES", 100)
    monkeypatch.setattr(samples, "KEPT_S", 500.0)
    for number in range(0, 300):
        offer(log, number * 10.0)
        assert len(read(str(tmp_path))) <= 100
    kept = [record.time_s for record in read(str(tmp_path))]
    assert kept[-1] == 2990
    assert kept[0] <= 2490
    assert sorted(kept) == kept


def test_only_the_largest_agents_are_recorded(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    offer(log, 1.0, loads=tuple(Load(f"a{number}", number * MIB, GIB) for number in range(9)))
    assert [load.key for load in read(str(tmp_path))[0].loads] == ["a8", "a7", "a6", "a5"]


def test_a_key_is_one_printable_word_whatever_the_group_is_called(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    offer(log, 1.0, loads=(Load("/agents.slice/x y\n\x1b[31m\u202eé.scope", MIB, GIB),))
    (record,) = read(str(tmp_path))
    assert record.loads[0].key == "/agents.slice/x?y??[31m??.scope"


def test_a_file_that_cannot_be_written_is_said_and_not_tried_at_every_look(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("in the way")
    log = SampleLog(str(tmp_path))
    assert "run/moltfleet/watchdog/samples: " in log.offer(0.0, GIB, 4 * GIB)
    assert log.offer(1.0, GIB, 4 * GIB) == ""


@pytest.mark.parametrize(
    "line",
    ["", "1", "1 2", "a 1 2", "nan 1 2", "inf 1 2", "-1 1 2", "1 -1 2", "1 1 2 key", "1 1 2 key 3", "1 1 2 key x 3",
     "1 99999999999999 2", "\x00\xff", "1e9 1 2"],
)  # fmt: skip
def test_a_line_that_is_no_record_is_passed_over(tmp_path: Path, line: str) -> None:
    path = tmp_path / PATH
    path.parent.mkdir(parents=True)
    path.write_bytes(line.encode("latin-1") + b"\n5.0 1024 4096\n")
    assert read(str(tmp_path)) == (Record(5.0, MIB, 4 * MIB),)


def test_no_file_is_no_samples(tmp_path: Path) -> None:
    assert read(str(tmp_path)) == ()


def test_samples_of_the_guest_end_where_something_is_ended() -> None:
    records = (Record(1.0, 3 * GIB, 4 * GIB), Record(2.0, GIB // 2, 4 * GIB))
    (first, second) = of_guest(records, left=GIB)
    assert (first.available, first.total, first.used) == (2 * GIB, 3 * GIB, GIB)
    assert second.used == second.total


def test_samples_of_an_agent_are_told_apart_by_its_key() -> None:
    records = (Record(1.0, GIB, 4 * GIB, (Load("a", MIB, GIB), Load("b", 5, 9))), Record(2.0, GIB, 4 * GIB))
    (only,) = of_load(records, "a")
    assert (only.time_s, only.used, only.total) == (1.0, MIB, GIB)


def test_even_the_longest_lines_are_read_whole(tmp_path: Path) -> None:
    log = SampleLog(str(tmp_path))
    most = (1 << 43) - 1
    assert log.offer(9e9, most << 10, most << 10, [Load("x" * 200, most << 10, most << 10)] * 9) == ""
    assert len((tmp_path / PATH).read_bytes()) <= samples._LARGEST / MOST_LINES
    assert len(read(str(tmp_path))[0].loads) == 4
