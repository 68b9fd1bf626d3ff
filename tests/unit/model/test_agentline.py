"""Who works in a guest, read from its records; and a clone found by a part of its name."""

from __future__ import annotations

import pytest

from moltfleet.model.agentline import AgentProgram, read_line
from moltfleet.model.errors import GuestFailed, InvalidInput, NotFound
from moltfleet.model.names import match_part

WHOLE = b"cli\tclaude\t2.0.14\tyes\ncli\tcodex\t?\tno\ncli\tgemini\t-\tabsent\ngh\tyes\tann\ngit\tAnn <a@x>\tssh\n"


def test_every_record_is_read() -> None:
    line = read_line(WHOLE)
    assert line.programs == (
        AgentProgram("claude", "2.0.14", installed=True, logged_in=True),
        AgentProgram("codex", "", installed=True, logged_in=False),
        AgentProgram("gemini", "", installed=False, logged_in=False),
    )
    assert line.github == AgentProgram("gh", "", installed=True, logged_in=True)
    assert (line.github_user, line.identity, line.signing) == ("ann", "Ann <a@x>", "ssh")


def test_what_a_guest_cannot_have_said_is_left_out() -> None:
    line = read_line(b"noise\ncli\tclaude\t1\tmaybe\ncli\tx\ngit\tAnn\tby hand\ngh\tno\t-\n" + b"\xff\t" * 9 + b"\n")
    assert (line.programs, line.identity, line.signing, line.github_user) == ((), "", "unknown", "")


def test_nothing_of_it_drives_a_terminal_or_is_endless() -> None:
    line = read_line(b"cli\t\x1b[2J" + b"x" * 9000 + b"\t1\tyes\n" + WHOLE * 100)
    assert all(one.name.isprintable() and len(one.name) <= 200 for one in line.programs)
    assert len(line.programs) <= 20


@pytest.mark.parametrize("answer", [b"", b"sh: not found\n", b"\0" * 9000])
def test_no_record_at_all_is_a_failure(answer: bytes) -> None:
    with pytest.raises(GuestFailed, match="does not tell who works in it"):
        read_line(answer)


@pytest.mark.parametrize(
    ("part", "name"), [("crab-1", "crab-1"), ("awn", "prawn-2"), ("crab-12", "crab-12"), ("2-", "crab-2-b")]
)
def test_a_part_that_one_name_has_is_enough(part: str, name: str) -> None:
    assert match_part(part, ["crab-1", "crab-12", "prawn-2", "crab-2-b"], what="clone") == name


def test_a_part_of_several_names_is_refused_with_what_there_is() -> None:
    with pytest.raises(InvalidInput) as caught:
        match_part("crab", ["crab-2", "crab-1", "prawn"], what="clone")
    assert caught.value.brief == "'crab' is a part of several names of a clone"
    assert caught.value.hint == "There are: crab-1, crab-2."


@pytest.mark.parametrize("part", ["", "lobster", "*"])
def test_a_part_of_no_name_is_not_found(part: str) -> None:
    with pytest.raises(NotFound):
        match_part(part, ["crab-1"], what="clone")
