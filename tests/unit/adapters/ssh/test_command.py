from __future__ import annotations

import pytest

from moltfleet.adapters.ssh.command import Sink, signal_status


@pytest.mark.parametrize(("name", "status"), [("KILL", 137), ("HUP", 129), ("evil\x1b", 255), ("", 255)])
def test_a_signal_s_name_gives_what_a_shell_would_report(name, status):
    assert signal_status(name) == status


def test_a_sink_keeps_the_beginning_and_no_more():
    sink = Sink(5)
    for chunk in (b"abc", b"defg", b"h"):
        sink.take(chunk)
    assert sink.kept == b"abcde"
