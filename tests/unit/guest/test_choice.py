"""moltguest.watchdog.choice: tables of who has to go, and the rule that the protected never do."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moltguest.limits import MIB, Levels
from moltguest.watchdog.choice import Reason, Situation, Victim, choose, judge
from moltguest.watchdog.groups import Group, Member, Whole
from moltguest.watchdog.processes import Process

LEVELS = Levels(warn=600 * MIB, term=1000 * MIB, high=1100 * MIB, max=1200 * MIB)


def a_group(key: str, used: int, *, grown: int = 0, term: int = 1000, slice: str = "/agents.slice") -> Group:
    group = Group(key, key, replace(LEVELS, term=term * MIB), path=f"{slice}/{key}", slice=slice)
    group.growth.add(0, (used - grown) * MIB)
    group.growth.add(10, used * MIB)
    group.used = used * MIB
    return group


def a_situation(*groups: Group, whole: int = 0, available: int = 3000, cooling: bool = False) -> Situation:
    wholes = (Whole("/agents.slice", replace(LEVELS, term=2000 * MIB), used=whole * MIB),)
    return Situation(groups, wholes, available * MIB, 300 * MIB, frozenset(), is_cooling=cooling)


@pytest.mark.parametrize(
    ("situation", "reason", "key"),
    [
        (a_situation(), None, None),
        (a_situation(a_group("a", 999)), None, None),
        (a_situation(a_group("a", 1000)), Reason.OWN, "a"),
        (a_situation(a_group("a", 1500), a_group("b", 1100, grown=900)), Reason.OWN, "b"),
        (a_situation(a_group("a", 1500), a_group("b", 1100)), Reason.OWN, "a"),
        (a_situation(a_group("a", 1500), cooling=True), Reason.OWN, "a"),
        (a_situation(a_group("a", 900), a_group("b", 900, grown=300), whole=2100), Reason.AGENTS, "b"),
        (a_situation(a_group("a", 900), whole=2100, cooling=True), None, None),
        (a_situation(a_group("a", 63), whole=2100), None, None),
        (a_situation(a_group("a", 900, slice="/other"), whole=2100), None, None),
        (a_situation(a_group("a", 900), available=299), Reason.GUEST, "a"),
        (a_situation(a_group("a", 299), available=299), None, None),
        (a_situation(a_group("a", 900), available=299, cooling=True), None, None),
    ],
)
def test_which_group_has_to_shrink(situation: Situation, reason: Reason | None, key: str | None) -> None:
    verdict = judge(situation)

    assert (verdict and verdict.reason, verdict and verdict.group.key) == (reason, key)


def test_a_group_that_was_just_dealt_with_is_passed_over() -> None:
    situation = a_situation(a_group("a", 1500), a_group("b", 1200))
    verdict = judge(replace(situation, cooling=frozenset({"a"})))
    assert verdict is not None and verdict.group.key == "b"


def a_member(pid: int, memory: int, *, agent: str | None = None, protected: str | None = None) -> Member:
    return Member(Process(pid, pid, 1, 0, "S", "x"), f"/opt/{pid}", agent, memory * MIB, 1000, protected)


@pytest.mark.parametrize(
    ("members", "victim"),
    [
        ([], None),
        ([a_member(1, 900, protected="x")], None),
        ([a_member(1, 100, agent="claude"), a_member(2, 900)], (2, False)),
        ([a_member(1, 100, agent="claude"), a_member(2, 400)], (1, True)),
        ([a_member(1, 900, agent="claude"), a_member(2, 50)], (1, True)),
        ([a_member(1, 5), a_member(2, 10, agent="claude"), a_member(3, 300)], (2, True)),
        # An agent started by an agent is no mere child: the first one has to answer for it.
        ([a_member(1, 100, agent="claude"), a_member(2, 900, agent="codex")], (1, True)),
        ([a_member(1, 10), a_member(2, 900)], (2, False)),
        ([a_member(1, 900), a_member(2, 10)], (1, True)),
        ([a_member(1, 5, protected="x"), a_member(2, 900), a_member(3, 5)], (2, True)),
    ],
)
def test_who_of_a_group_is_to_blame(members: list[Member], victim: tuple[int, bool] | None) -> None:
    found = choose(a_group("a", 1000), members)

    assert (found and (found.member.process.pid, found.whole)) == victim


def test_the_whole_group_can_be_wanted() -> None:
    found = choose(a_group("a", 1000), [a_member(1, 100, agent="claude"), a_member(2, 900)], whole=True)
    assert found == Victim(a_member(1, 100, agent="claude"), whole=True)


members = st.builds(
    a_member,
    st.integers(2, 9999),
    st.integers(0, 5000),
    agent=st.sampled_from([None, "claude", "codex"]),
    protected=st.sampled_from([None, "it is protected"]),
)


@settings(deadline=None)
@given(found=st.lists(members, max_size=12), used=st.integers(0, 9000), whole=st.booleans())
def test_the_protected_are_never_chosen(found: list[Member], used: int, whole: bool) -> None:
    victim = choose(a_group("a", used), found, whole=whole)

    assert victim is None or victim.member.protected is None
    assert (victim is None) == all(member.protected for member in found)
