"""Times of a schedule, and how units and crontabs say them."""

from __future__ import annotations

import datetime

import pytest

from moltfleet.model.errors import InvalidInput
from moltfleet.model.schedule import (
    BLOCK_BEGIN,
    BLOCK_END,
    MARK,
    At,
    Every,
    Kind,
    Schedule,
    block_lines,
    cron_block,
    exec_line,
    next_run,
    unit_files,
    with_block,
    without_block,
)

PROGRAM = ("/opt/m f/moltfleet", "--connect", "qemu:///system")


def a_schedule(kind: Kind = Kind.CRON, every: str = "10m", **options: str) -> Schedule:
    return Schedule(kind, At(3, 30), Every.parse(every), PROGRAM, 4, **options)


@pytest.mark.parametrize(("text", "said"), [("3:05", "03:05"), ("23:59", "23:59"), ("00:00", "00:00")])
def test_a_time_of_the_day_is_read(text: str, said: str) -> None:
    assert str(At.parse(text)) == said


@pytest.mark.parametrize("text", ["24:00", "3", "3:5", "03:60", "", "3:05 pm", "\x1b[2J"])
def test_what_is_no_time_of_the_day_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        At.parse(text)
    assert "\x1b" not in caught.value.brief


@pytest.mark.parametrize(
    ("text", "said", "minutes"),
    [("10m", "10m", 10), ("15", "15m", 15), ("2h", "2h", 120), ("60m", "1h", 60), ("never", "never", 0)],
)
def test_a_distance_is_read(text: str, said: str, minutes: int) -> None:
    assert (str(Every.parse(text)), Every.parse(text).minutes) == (said, minutes)


@pytest.mark.parametrize("text", ["7m", "45m", "5h", "-10m", "24h", "10s", "ten"])
def test_a_distance_that_does_not_divide_is_refused_with_those_that_do(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        Every.parse(text)
    assert (
        caught.value.hint
        == "Minutes: 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30; hours: 1h, 2h, 3h, 4h, 6h, 8h, 12h; or never."
    )


def test_words_of_a_unit_reach_the_program_as_they_are() -> None:
    assert exec_line(("/bin/a", "x y", 'q"\\', "100%", "$HOME")) == '/bin/a "x y" "q\\"\\\\" "100%%" "$$HOME"'


@pytest.mark.parametrize("word", ["a\nb", "a\0b", "\x1b[2J"])
def test_words_that_no_line_can_hold_are_refused(word: str) -> None:
    with pytest.raises(InvalidInput):
        exec_line((word,))
    with pytest.raises(InvalidInput):
        cron_block(Schedule(Kind.CRON, At(3, 0), Every(0), (word,), 4))


def test_units_of_the_system_run_as_somebody_and_end_by_themselves() -> None:
    files = {file.name: file.content for file in unit_files(a_schedule(Kind.SYSTEM, run_as="ann"))}
    assert set(files) == {f"moltfleet-{name}.{kind}" for name in ("nightly", "survey") for kind in ("service", "timer")}
    assert all(content.startswith(MARK) for content in files.values())
    night = files["moltfleet-nightly.service"].splitlines()
    assert 'ExecStart="/opt/m f/moltfleet" --connect qemu:///system nightly --yes --quiet' in night
    assert {"User=ann", "TimeoutStartSec=16200", "KillSignal=SIGINT"} <= set(night)
    timer = files["moltfleet-nightly.timer"].splitlines()
    assert {"OnCalendar=*-*-* 03:30:00", "Persistent=true", "WantedBy=timers.target"} <= set(timer)
    # A survey that was missed is of no use any more.
    assert "Persistent=true" not in files["moltfleet-survey.timer"]


def test_units_of_a_user_name_nobody() -> None:
    assert not any("User=" in file.content for file in unit_files(a_schedule(Kind.USER)))


def test_metrics_come_after_a_survey_and_without_surveys_there_are_none() -> None:
    (_, _, survey, _) = unit_files(a_schedule(Kind.USER, textfile="/var/x.prom"))
    commands = [line for line in survey.content.splitlines() if line.startswith("ExecStart=")]
    assert [line.rpartition("qemu:///system ")[2] for line in commands] == [
        "survey --record --ask suspects --protect --quiet",
        "metrics --textfile /var/x.prom",
    ]
    assert len(unit_files(a_schedule(Kind.USER, every="never", textfile="/var/x.prom"))) == 2


def test_a_block_of_a_crontab_has_full_paths_and_mails_only_errors() -> None:
    assert cron_block(a_schedule(textfile="/var/100%.prom")) == (
        f"{BLOCK_BEGIN}\n"
        "30 3 * * * '/opt/m f/moltfleet' --connect qemu:///system nightly --yes --quiet >/dev/null\n"
        "*/10 * * * * '/opt/m f/moltfleet' --connect qemu:///system"
        " survey --record --ask suspects --protect --quiet >/dev/null; "
        "'/opt/m f/moltfleet' --connect qemu:///system metrics --textfile /var/100\\%.prom >/dev/null\n"
        f"{BLOCK_END}\n"
    )


@pytest.mark.parametrize("others", ["", "# mine\n\n0 0 * * * true\n", "0 0 * * * no end of line", "a\r\nb\r\n"])
def test_lines_of_others_come_back_as_they_were(others: str) -> None:
    block = cron_block(a_schedule())
    once = with_block(others, block)
    assert once.endswith(block)
    assert with_block(once, block) == once
    missing = "" if not others or others.endswith("\n") else "\n"
    assert without_block(once) == others + missing
    assert len(block_lines(once)) == 2


def test_a_block_without_its_end_swallows_nothing() -> None:
    with pytest.raises(InvalidInput):
        without_block(f"{BLOCK_BEGIN}\n30 3 * * * x\n0 0 * * * theirs\n")


def test_lines_that_only_look_like_marks_stay() -> None:
    text = f"# about {BLOCK_BEGIN}\n{BLOCK_END}\n"
    assert without_block(text) == text


@pytest.mark.parametrize(
    ("times", "then"),
    [
        ("30 3 * * *", (22, 3, 30)),
        ("5 10 * * *", (21, 10, 5)),
        ("0 10 * * *", (22, 10, 0)),
        ("*/10 * * * *", (21, 10, 10)),
        ("0 */4 * * *", (21, 12, 0)),
        ("0 */12 * * *", (21, 12, 0)),
        ("30 3 * * 1", None),
        ("30 3-5 * * *", None),
    ],
)
def test_the_next_run_of_a_line(times: str, then: tuple[int, int, int] | None) -> None:
    found = next_run(times, datetime.datetime(2026, 11, 21, 10, 0, 5))
    assert (found and (found.day, found.hour, found.minute)) == then
