"""What people type for a time."""

from __future__ import annotations

import datetime
import time

import pytest

from moltfleet.model.errors import InvalidInput
from moltfleet.model.holding import parse_until

# 10:00 UTC on a Friday; 11:00 in Berlin.
NOW = 1_795_168_800.0


@pytest.fixture(autouse=True)
def berlin(monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def said(text: str) -> str:
    return datetime.datetime.fromtimestamp(parse_until(text, NOW)).strftime("%m-%d %H:%M")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90m", "11-20 12:30"),
        ("1.5h", "11-20 12:30"),
        ("2d", "11-22 11:00"),
        ("18:00", "11-20 18:00"),
        ("09:30", "11-21 09:30"),
        ("11:00", "11-21 11:00"),
        ("2026-11-21", "11-22 00:00"),
        ("2026-11-21T08:15", "11-21 08:15"),
        ("2026-11-21 08:15", "11-21 08:15"),
        ("2026-11-21T08:15:00+00:00", "11-21 09:15"),
    ],
)
def test_a_length_a_clock_and_a_date_are_understood(text: str, expected: str) -> None:
    assert said(text) == expected


@pytest.mark.parametrize(
    "text", ["", "soon", "-1h", "1w", "25:00", "2026-13-01", "0m", "2026-11-20T10:59", "91d", "9" * 99]
)
def test_what_is_none_past_or_far_away_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        parse_until(text, NOW)
    assert caught.value.hint is not None and "8h" in caught.value.hint
