"""The exit code of several targets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.model import errors
from moltfleet.model.errors import Busy, ExitCode, MoltfleetError, NotFound, WrongState
from moltfleet.model.results import common_exit_code

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, MoltfleetError)]
failures = st.lists(st.sampled_from(KINDS).map(lambda kind: kind("x")), max_size=5)


@pytest.mark.parametrize(
    ("failed", "targets", "code"),
    [
        ([], 0, ExitCode.OK),
        ([], 3, ExitCode.OK),
        ([NotFound("x")], 1, ExitCode.NOT_FOUND),
        ([NotFound("x")], 2, ExitCode.FAILED),
        ([Busy("x"), WrongState("y")], 2, ExitCode.WRONG_STATE),
        ([Busy("x"), NotFound("y")], 2, ExitCode.FAILED),
    ],
)
def test_the_code_is_the_common_one_else_1(failed: list[MoltfleetError], targets: int, code: ExitCode) -> None:
    assert common_exit_code(failed, targets=targets) == code


@given(failures, st.integers(min_value=0, max_value=5))
def test_it_is_0_exactly_when_nothing_failed(failed: list[MoltfleetError], succeeded: int) -> None:
    code = common_exit_code(failed, targets=len(failed) + succeeded)
    assert (code == ExitCode.OK) is (not failed)


@given(failures, st.integers(min_value=1, max_value=5))
def test_a_single_success_makes_every_failure_a_partial_one(failed: list[MoltfleetError], succeeded: int) -> None:
    code = common_exit_code(failed, targets=len(failed) + succeeded)
    assert code in (ExitCode.OK, ExitCode.FAILED)


@given(failures, st.randoms())
def test_the_order_of_targets_does_not_matter(failed: list[MoltfleetError], random: object) -> None:
    shuffled = sorted(failed, key=lambda _: random.random())  # type: ignore[attr-defined]
    assert common_exit_code(failed, targets=len(failed)) == common_exit_code(shuffled, targets=len(failed))


@given(st.sampled_from(KINDS), st.integers(min_value=1, max_value=5))
def test_a_failure_that_all_share_is_the_code(kind: type[MoltfleetError], targets: int) -> None:
    assert common_exit_code([kind("x")] * targets, targets=targets) == kind.exit_code
