"""Commands in a real sshd: statuses, signals, limits, deadlines, lost connections."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from moltfleet.model.errors import DeadlinePassed, GuestUnreachable


def test_output_streams_and_status_are_kept_apart(session):
    result = session.run("echo out; echo err >&2; exit 7")
    assert (result.exit_code, result.stdout, result.stderr) == (7, b"out\n", b"err\n")


@pytest.mark.parametrize(("name", "status"), [("KILL", 137), ("TERM", 143), ("SEGV", 139)])
def test_a_signal_gives_128_and_its_number(session, name, status):
    assert session.run(f"kill -{name} $$").exit_code == status


def test_input_reaches_the_command_and_ends(session):
    content = bytes(range(256)) * 40_000
    result = session.run("md5sum; cat >/dev/null", input=content)
    assert result.text.split()[0] == hashlib.md5(content).hexdigest()


def test_input_and_output_larger_than_every_window_do_not_block_each_other(session):
    content = b"y" * (6 << 20)
    assert session.run("cat", input=content, limit=8 << 20).stdout == content


def test_a_command_that_ignores_its_input_is_no_error(session):
    assert session.run("exit 3", input=b"x" * (4 << 20)).exit_code == 3


def test_without_input_standard_input_is_at_its_end(session):
    assert session.run("cat; echo done", timeout_s=10).text == "done\n"


def test_output_is_cut_at_the_limit_and_the_status_still_arrives(session):
    result = session.run("head -c 5000000 /dev/zero | tr '\\0' a; head -c 3000 /dev/zero >&2; exit 4", limit=1000)
    assert (result.exit_code, result.stdout, len(result.stderr)) == (4, b"a" * 1000, 1000)


def test_a_command_that_never_ends_passes_its_deadline_and_leaves_the_session_usable(session):
    started = time.monotonic()
    with pytest.raises(DeadlinePassed) as caught:
        # Long enough for a shell to begin on a machine that has better things to do.
        session.run("echo begun; exec sleep 1000", timeout_s=2.5)
    assert time.monotonic() - started < 4
    assert caught.value.brief == "Command in guest 'crab-1' did not finish within 2.5 s"
    assert "begun" in caught.value.details
    assert session.run("echo alive").text == "alive\n"


def test_a_command_that_never_stops_talking_passes_its_deadline(session):
    started = time.monotonic()
    with pytest.raises(DeadlinePassed):
        session.run("exec yes", timeout_s=0.7)
    assert time.monotonic() - started < 2.5


def test_a_daemon_that_keeps_the_pipes_open_does_not_hold_up_the_result(session):
    started = time.monotonic()
    result = session.run("sleep 30 & echo started", timeout_s=20)
    assert (result.exit_code, result.stdout) == (0, b"started\n")
    assert time.monotonic() - started < 5


def test_terminal_control_sequences_in_a_timeout_are_made_harmless(session):
    with pytest.raises(DeadlinePassed) as caught:
        session.run(r"printf '\033]0;evil\007'; sleep 100", timeout_s=2.5)
    assert "\x1b" not in caught.value.details


def test_a_stream_hands_output_on_while_the_command_runs(session):
    arrived: list[tuple[float, bytes]] = []
    status = session.stream(
        "echo one; sleep 0.5; echo two; echo err >&2; exit 9",
        on_stdout=lambda chunk: arrived.append((time.monotonic(), chunk)),
        on_stderr=lambda chunk: arrived.append((time.monotonic(), b"!" + chunk)),
    )
    assert status == 9
    assert arrived[0][1] == b"one\n"
    assert b"!err\n" in [chunk for _, chunk in arrived]
    assert arrived[-1][0] - arrived[0][0] > 0.3


def test_a_stream_passes_signals_through(session):
    assert session.stream("kill -INT $$", on_stdout=lambda _: None, on_stderr=lambda _: None) == 130


def test_a_stream_that_outlives_its_deadline_ends(session):
    arrived: list[bytes] = []
    started = time.monotonic()
    with pytest.raises(DeadlinePassed):
        session.stream(
            "while :; do echo again; done", on_stdout=arrived.append, on_stderr=arrived.append, timeout_s=2.5
        )
    assert time.monotonic() - started < 8
    assert arrived[0].startswith(b"again\n")


def test_a_stream_with_a_deadline_does_not_wait_for_a_daemon_that_keeps_its_output(session):
    started = time.monotonic()
    arrived: list[bytes] = []
    status = session.stream(
        "sleep 60 & echo done; exit 3", on_stdout=arrived.append, on_stderr=arrived.append, timeout_s=30
    )
    assert (status, b"".join(arrived)) == (3, b"done\n")
    assert time.monotonic() - started < 10


def test_an_error_of_the_reader_is_not_taken_for_the_guest_s(session):
    def closed_pipe(_: bytes) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        session.stream("echo x; sleep 1", on_stdout=closed_pipe, on_stderr=closed_pipe)
    assert session.run("echo alive").text == "alive\n"


def test_a_connection_that_drops_in_mid_command_is_unreachable(session):
    started = time.monotonic()
    with pytest.raises(GuestUnreachable) as caught:
        session.run("kill -9 $PPID; sleep 60", timeout_s=30)
    assert time.monotonic() - started < 10
    assert caught.value.brief == "Guest 'crab-1' closed the SSH connection"
    with pytest.raises(GuestUnreachable):
        session.run("true")


def test_a_connection_that_drops_in_mid_stream_is_unreachable(session):
    with pytest.raises(GuestUnreachable):
        session.stream("kill -9 $PPID; sleep 60", on_stdout=lambda _: None, on_stderr=lambda _: None)


def test_a_guest_that_stops_answering_passes_the_deadline(server, frozen):
    """The server side of the connection is stopped, as in a paused guest."""
    with server.guests().login(server.endpoint, timeout_s=20) as session:
        frozen(session)
        started = time.monotonic()
        with pytest.raises(DeadlinePassed):
            session.run("true", timeout_s=1)
        assert time.monotonic() - started < 4


def test_several_commands_share_one_session(session):
    results: dict[int, str] = {}

    def work(number: int) -> None:
        results[number] = session.run(f"sleep 0.2; echo {number}").text.strip()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == {number: str(number) for number in range(6)}
