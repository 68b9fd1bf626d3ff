from __future__ import annotations

import json
from dataclasses import replace

import pytest

from contract.reservations import GIB, Pair, ReservationContract, grant
from fakes import FakeClock, FakeLocks, FakeStorage
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.lockdirectory import Identity
from moltfleet.adapters.locks import FileLocks
from moltfleet.adapters.reservations import LockReservations
from moltfleet.adapters.volumelocks import Machine, VolumeLocks
from moltfleet.model.errors import Busy
from moltfleet.model.load import Wanted
from moltfleet.model.size import Size


class TestInFakeLocks(ReservationContract):
    """Over the locks that stand in for real ones."""

    @pytest.fixture
    def pair(self):
        clock = FakeClock()
        locks = FakeLocks(clock)
        return Pair(LockReservations(locks, clock), LockReservations(locks, clock))


class TestInLockFiles(ReservationContract):
    """Over the locks of a local libvirt."""

    @pytest.fixture
    def pair(self, tmp_path):
        def view():
            clock = SystemClock()
            identity = replace(Identity.current(), group=None)
            return LockReservations(FileLocks(tmp_path / "locks", clock, is_shared=True, identity=identity), clock)

        return Pair(view(), view())


class TestInLockVolumes(ReservationContract):
    """Over the locks of a remote libvirt, held from two machines."""

    @pytest.fixture
    def pair(self):
        clock = SystemClock()
        storage = FakeStorage(clock)

        def view(machine):
            return LockReservations(VolumeLocks(storage, clock, machine=Machine(machine, machine, "boot")), clock)

        return Pair(view("here"), view("there"))


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def locks(clock):
    return FakeLocks(clock)


@pytest.fixture
def reservations(locks, clock):
    return LockReservations(locks, clock)


def test_a_check_waits_for_the_one_before_it_but_not_for_ever(reservations, locks, clock):
    locks.hold_by_other("check.room", verb="check")
    began = clock.now()
    with pytest.raises(Busy), reservations.hold(Wanted("crab-1", GIB), check=grant):
        pass
    assert clock.now() - began == 60


def test_the_check_s_own_lock_is_not_kept_for_the_act(reservations, locks):
    with reservations.hold(Wanted("crab-1", GIB), check=grant):
        assert not locks.is_held("check.room")
        assert locks.is_held("room.crab-1")


def test_room_that_nobody_can_still_need_is_not_counted(reservations, locks, clock):
    locks.note_by_other("room.crab-9", json.dumps({"name": "crab-9", "memory": 1 << 30, "disk": 0}))
    assert [kept.name for kept in reservations.current()] == ["crab-9"]
    clock.sleep(3600)
    assert reservations.current() == ()


@pytest.mark.parametrize(
    "note",
    ["", "{}", "[1]", "3", "nonsense", "[" * 3000, '{"name": "x", "memory": -1, "disk": 0}', '{"memory": 1}'],
)
def test_a_note_that_cannot_be_read_keeps_nothing(reservations, locks, note):
    locks.note_by_other("room.crab-9", note)
    assert reservations.current() == ()


def test_other_locks_are_no_reservations(reservations, locks):
    locks.note_by_other("crab-9", json.dumps({"name": "crab-9", "memory": 1 << 30, "disk": 0}))
    assert reservations.current() == ()


def test_a_reservation_says_who_keeps_what_since_when(reservations, locks, clock):
    locks.note_by_other("room.crab-9", json.dumps({"name": "crab-9", "memory": 1 << 30, "disk": 7}), user="bob")
    (kept,) = reservations.current()
    assert (kept.owner, kept.pid, kept.since, kept.disk) == ("bob", 4711, clock.now(), Size(7))
