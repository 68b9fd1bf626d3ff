"""Ports that are made at their first use."""

from __future__ import annotations

import threading

import pytest

from moltfleet.cli.late import late


class Port:
    made = 0

    def __init__(self) -> None:
        Port.made += 1

    def ask(self, what: str) -> str:
        return f"{what}?"


def test_nothing_is_made_before_something_is_asked() -> None:
    Port.made = 0
    port = late(Port)
    assert Port.made == 0
    assert [port.ask("who"), port.ask("what")] == ["who?", "what?"]
    assert Port.made == 1


def test_what_cannot_be_made_is_told_at_each_use() -> None:
    def fail() -> Port:
        raise OSError("no")

    port = late(fail)
    for _ in range(2):
        with pytest.raises(OSError, match="no"):
            port.ask("who")


def test_threads_that_ask_at_once_get_one_and_the_same() -> None:
    Port.made = 0
    port = late(Port)
    begin = threading.Barrier(8)

    def ask() -> None:
        begin.wait()
        port.ask("who")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Port.made == 1
