"""What two generations differ in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model.lineage import Change, changes

VERSIONS = st.dictionaries(st.sampled_from("abcdef"), st.sampled_from(["1", "2"]))


def test_what_is_new_gone_or_renewed_is_told_by_name() -> None:
    found = changes({"curl": "1", "jq": "1.6", "vim": "9"}, {"jq": "1.7", "tmux": "3", "vim": "9"})
    assert found == (Change("curl", "1", None), Change("jq", "1.6", "1.7"), Change("tmux", None, "3"))


@given(VERSIONS, VERSIONS)
def test_the_changes_lead_from_one_to_the_other(before: dict[str, str], after: dict[str, str]) -> None:
    led = dict(before)
    for change in changes(before, after):
        assert led.pop(change.name, None) == change.before
        if change.after is not None:
            led[change.name] = change.after
    assert led == after
