"""moltguest.watchdog.journal: systemd's own protocol, and lines where there is no journal."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from moltguest.watchdog.journal import MESSAGE_IDS, Event, Journal, amount, datagram, label

EVENT = Event("warn", "Agent x uses much", 4, {"used": 5, "rate": 1.5, "agent": "a"})


@pytest.mark.allow("socket")
def test_an_event_is_one_datagram_of_fields(tmp_path: Path) -> None:
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        Journal(path).write(EVENT)
        lines = server.recv(4096).decode().splitlines()

    assert lines == [
        "MESSAGE=Agent x uses much",
        "PRIORITY=4",
        f"MESSAGE_ID={MESSAGE_IDS['warn']}",
        "SYSLOG_IDENTIFIER=moltfleet-watchdog",
        "MOLTFLEET_EVENT=warn",
        "MOLTFLEET_USED=5",
        "MOLTFLEET_RATE=1.5",
        "MOLTFLEET_AGENT=a",
    ]


def test_a_value_of_several_lines_cannot_become_a_field() -> None:
    text = datagram(Event("warn", "x", 4, {"agent": "a\nPRIORITY=0"}))
    assert b"MOLTFLEET_AGENT\n\x0c\x00\x00\x00\x00\x00\x00\x00a\nPRIORITY=0\n" in text


@pytest.mark.allow("socket")
def test_without_a_journal_an_event_is_a_line_of_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    journal = Journal(str(tmp_path / "none"))

    journal.write(EVENT)

    assert not journal.is_reachable()
    assert json.loads(capsys.readouterr().out) == {
        "schema": "moltfleet.event/1",
        "event": "warn",
        "message": "Agent x uses much",
        "used": 5,
        "rate": 1.5,
        "agent": "a",
    }


@pytest.mark.allow("socket")
def test_a_journal_that_takes_nothing_does_not_stop_the_watchdog(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(tmp_path / "journal")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(path)
        journal = Journal(path)
        for _ in range(600):
            journal.write(EVENT)
    assert capsys.readouterr().out.count("\n") > 0


def test_every_kind_of_event_has_an_id_of_its_own() -> None:
    assert len(set(MESSAGE_IDS.values())) == len(MESSAGE_IDS)


@pytest.mark.parametrize(("size", "text"), [(0, "0 MiB"), (1 << 20, "1 MiB"), (13000 << 20, "12.7 GiB")])
def test_an_amount_is_for_people(size: int, text: str) -> None:
    assert amount(size) == text


@pytest.mark.parametrize(
    ("name", "text"), [("a\x1b[0m\n", "a\\x1b[0m\\n"), ("x" * 99, "x" * 61 + "..."), ("", "?"), ("\udcff", "\\udcff")]
)
def test_a_name_from_outside_is_made_harmless(name: str, text: str) -> None:
    assert label(name) == text
