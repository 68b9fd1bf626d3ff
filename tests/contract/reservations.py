"""What reservations do, whatever keeps them: two processes on one libvirt see each other's, and what ends is free."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from moltfleet.model.errors import NoCapacity
from moltfleet.model.load import Reservation, Wanted
from moltfleet.model.ports import Reservations
from moltfleet.model.size import Size

GIB = Size.of_gib(1)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two processes' views of the reservations of one libvirt."""

    mine: Reservations
    theirs: Reservations


def names(kept: tuple[Reservation, ...]) -> list[str]:
    return sorted(reservation.name for reservation in kept)


def grant(_: tuple[Reservation, ...]) -> None:
    """A check that lets everything pass."""


def at_most(limit: int):
    """A check that lets so many GiB pass, the caller's own included."""

    def check(kept: tuple[Reservation, ...]) -> None:
        if sum(reservation.amount.bytes for reservation in kept) + GIB.bytes > limit * GIB.bytes:
            raise NoCapacity("full")

    return check


class ReservationContract:
    """A module that subclasses this provides the fixture ``pair``."""

    def test_at_first_nothing_is_kept(self, pair: Pair) -> None:
        assert pair.mine.current() == ()
        assert not pair.mine.is_mine("crab-1")

    def test_what_one_keeps_the_other_sees_until_it_ends(self, pair: Pair) -> None:
        with pair.mine.hold(Wanted("crab-1", GIB, Size.of_mib(5)), check=grant):
            (seen,) = pair.theirs.current()
            assert (seen.name, seen.amount, seen.disk) == ("crab-1", GIB, Size.of_mib(5))
            assert seen.owner and seen.pid > 0 and seen.since > 0
            assert pair.mine.current() == (seen,)
            assert pair.mine.is_mine("crab-1") and not pair.theirs.is_mine("crab-1")
        assert pair.theirs.current() == ()
        assert not pair.mine.is_mine("crab-1")

    def test_a_check_is_given_what_everybody_keeps(self, pair: Pair) -> None:
        seen: list[list[str]] = []
        with (
            pair.mine.hold(Wanted("crab-1", GIB), check=lambda kept: seen.append(names(kept))),
            pair.theirs.hold(Wanted("crab-2", GIB), check=lambda kept: seen.append(names(kept))),
            pair.mine.hold(Wanted("crab-3", GIB), check=lambda kept: seen.append(names(kept))),
        ):
            assert names(pair.theirs.current()) == ["crab-1", "crab-2", "crab-3"]
        assert seen == [[], ["crab-1"], ["crab-1", "crab-2"]]

    def test_a_check_that_refuses_keeps_nothing(self, pair: Pair) -> None:
        with pytest.raises(NoCapacity), pair.mine.hold(Wanted("crab-1", GIB), check=at_most(0)):
            raise AssertionError("held")
        assert pair.theirs.current() == ()
        assert not pair.mine.is_mine("crab-1")

    def test_an_act_that_fails_keeps_nothing(self, pair: Pair) -> None:
        with pytest.raises(KeyError), pair.mine.hold(Wanted("crab-1", GIB), check=grant):
            raise KeyError
        assert pair.theirs.current() == ()
        assert not pair.mine.is_mine("crab-1")

    def test_any_domain_s_name_can_be_kept_room_for(self, pair: Pair) -> None:
        for name in ("a/b", "build.base", "ü", "x" * 200):
            with pair.mine.hold(Wanted(name, GIB), check=grant):
                assert names(pair.theirs.current()) == [name]

    def test_of_many_at_once_exactly_as_many_pass_as_fit(self, pair: Pair) -> None:
        everybody_is_through, granted, refused = threading.Barrier(8), [], []

        def start(number: int) -> None:
            who = pair.mine if number % 2 else pair.theirs
            try:
                with who.hold(Wanted(f"crab-{number}", GIB), check=at_most(3)):
                    granted.append(number)
                    everybody_is_through.wait(30)
            except NoCapacity:
                refused.append(number)
                everybody_is_through.wait(30)

        threads = [threading.Thread(target=start, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert (len(granted), len(refused)) == (3, 5)
        assert pair.mine.current() == ()
