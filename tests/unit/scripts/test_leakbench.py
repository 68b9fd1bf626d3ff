"""scripts/bench watchdog: how its table is made; the leaks themselves are the system tests'."""

from __future__ import annotations

import leakbench
import pytest
from leakbench import FAST, MIB, Run, at_once, row


def a_run(peak_mib: int, *logins: str, by_kernel: bool = False) -> Run:
    return Run(peak_mib * MIB, 1000 * MIB, by_kernel, logins)


def test_a_row_tells_the_middle_and_both_ends() -> None:
    runs = [a_run(1300, "900", "2100"), a_run(1010, "800"), a_run(1100, "1000")]
    assert row(200, "earlyoom", runs) == "| 200 | earlyoom | 10.0 (1.0 to 30.0) | 0 of 3 | 2.1 |"


def test_a_row_tells_what_went_wrong() -> None:
    runs = [a_run(1300, "900", by_kernel=True), a_run(990, "failed")]
    assert row(FAST, "poll", runs) == "| all it can | poll | 14.5 (-1.0 to 30.0) | 1 of 2 | failed |"


@pytest.mark.parametrize(("rate", "mib"), [(10, 950), (200, 0), (FAST, 0)])
def test_a_leak_goes_over_its_end_after_five_seconds(rate: int, mib: int) -> None:
    assert at_once(1000 * MIB, rate) == mib


def test_every_way_has_a_name_of_its_own() -> None:
    assert list(leakbench.WAYS)[2] == "poll every 30 s"
    assert len(set(leakbench.WAYS.values())) == 4
