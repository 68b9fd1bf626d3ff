"""Volume names: numbers are never used twice, and names of different clones never meet."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model import volumes
from moltfleet.model.volumes import next_overlay_number, overlay_volume

names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True)


@given(names, st.sets(st.integers(0, 50)), st.integers(1, 60))
def test_the_next_overlay_has_a_number_above_all_that_are_there(clone: str, used: set[int], at_least: int) -> None:
    there = [overlay_volume(clone, number) for number in used]
    number = next_overlay_number(clone, there, at_least=at_least)
    assert number >= at_least and number > max(used, default=0)
    assert overlay_volume(clone, number) not in there


@given(names, names, st.integers(1, 100), st.integers(1, 100))
def test_volumes_of_different_clones_never_share_a_name(one: str, other: str, m: int, n: int) -> None:
    def own(name: str, number: int) -> set[str]:
        return {
            volumes.clean_volume(name),
            volumes.overlay_volume(name, number),
            volumes.ram_volume(name, number),
            volumes.seed_volume(name),
        }

    if one != other:
        assert own(one, m).isdisjoint(own(other, n))


@given(names, names)
def test_numbers_of_another_clone_do_not_count(one: str, other: str) -> None:
    if one != other:
        assert next_overlay_number(one, [overlay_volume(other, 9)], at_least=1) == 1
