"""Output of guests: whole lines, prefixes, nothing that drives a terminal, and raw bytes in a pipe."""

from __future__ import annotations

import io
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.cli.streams import Collected, Streams
from moltfleet.model.results import ActResult


def streams(*, prefixed: bool = True, raw: bool = False) -> tuple[Streams, io.BytesIO, io.BytesIO]:
    stdout, stderr = io.BytesIO(), io.BytesIO()
    return Streams(stdout, stderr, prefixed=prefixed, raw=raw), stdout, stderr


def test_lines_begin_with_the_clones_name_and_are_written_whole() -> None:
    both, stdout, stderr = streams()
    both.write("a", False, b"one\ntw")
    both.write("b", False, b"other\n")
    both.write("a", True, b"oops\n")
    both.write("a", False, b"o\n")
    assert stdout.getvalue() == b"a: one\nb: other\na: two\n"
    assert stderr.getvalue() == b"a: oops\n"


def test_a_line_that_never_ended_is_written_at_the_end() -> None:
    both, stdout, _ = streams(prefixed=False)
    both.write("a", False, b"no newline")
    assert stdout.getvalue() == b""
    both.close()
    both.close()
    assert stdout.getvalue() == b"no newline\n"


def test_an_endless_line_does_not_fill_memory() -> None:
    both, stdout, _ = streams()
    for _ in range(100):
        both.write("a", False, b"x" * 4096)
    assert len(stdout.getvalue()) > 300_000


@pytest.mark.parametrize("hostile", [b"\x1b]0;title\x07", b"\x1b[2J", b"\xc2\x9b31m", b"\rfake: line"])
def test_control_sequences_do_not_reach_the_terminal(hostile: bytes) -> None:
    both, stdout, _ = streams()
    both.write("a", False, b"x" + hostile + b"\n")
    written = stdout.getvalue().decode()
    assert all(character.isprintable() or character == "\n" for character in written)


@given(st.lists(st.binary(max_size=50), max_size=8))
def test_raw_output_is_byte_for_byte_what_came(chunks: list[bytes]) -> None:
    both, stdout, _ = streams(raw=True)
    for chunk in chunks:
        both.write("a", False, chunk)
    both.close()
    assert stdout.getvalue() == b"".join(chunks)


@given(st.text(st.characters(categories=["L", "N"]), max_size=40), st.integers(1, 7))
def test_how_output_is_cut_into_chunks_does_not_matter(text: str, step: int) -> None:
    content = (text + "\n").encode()
    both, stdout, _ = streams(prefixed=False)
    for start in range(0, len(content), step):
        both.write("a", False, content[start : start + step])
    both.close()
    assert stdout.getvalue() == content


def test_collected_output_is_bounded_and_says_so() -> None:
    collected = Collected()
    for _ in range(20):
        collected.write("a", False, b"x" * 100_000)
    collected.write("b", True, b"small")
    flood, small = collected.of(ActResult("a", "executed", "0")), collected.of(ActResult("b", "executed", "0"))
    assert (len(flood.stdout), flood.truncated) == (2**20, True)
    assert (bytes(small.stderr), small.truncated) == (b"small", False)


def test_lines_of_many_threads_never_mix() -> None:
    both, stdout, _ = streams()

    def talk(name: str) -> None:
        for _ in range(200):
            both.write(name, False, name.encode() * 10)
            both.write(name, False, b"\n")

    threads = [threading.Thread(target=talk, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    lines = stdout.getvalue().decode().splitlines()
    assert sorted(set(lines)) == [f"{name}: {name * 10}" for name in "abcd"]
    assert len(lines) == 800
