from __future__ import annotations

import os
from dataclasses import replace
from typing import BinaryIO

import pytest

from moltfleet.adapters import hostinfo
from moltfleet.adapters.volumelocks import LIFETIME_S, Claim, Machine, NoLocks, VolumeLocks
from moltfleet.model.errors import AlreadyExists, Busy, NotFound, ToolFailed
from moltfleet.model.size import Size
from moltfleet.model.volumes import Volume

HERE = Machine("here", "key-1", "boot-1")
THERE = Machine("there", "key-2", "boot-2")
LOCK = "crab-1.lock"


class FakeClock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def monotonic(self) -> float:
        return self.time

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


class MemoryStorage:
    """What the locks need of the Storage port, in a dictionary."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.content: dict[str, bytes] = {}
        self.made: dict[str, float] = {}
        self.fails_upload = False
        self.has_pool = True

    def find_free_space(self) -> Size | None:
        return Size.of_gib(1) if self.has_pool else None

    def create_empty(self, name: str, *, capacity: Size, format: str, private: bool = False) -> Volume:
        if name in self.content:
            raise AlreadyExists(name)
        self.content[name], self.made[name] = b"\0" * capacity.bytes, self.clock.now()
        return self.get(name)

    def upload(self, name: str, source: BinaryIO, *, length: int, on_bytes: object = None) -> None:
        if self.fails_upload:
            raise ToolFailed("upload failed")
        assert len(self.content[name]) >= length
        self.content[name] = source.read(length)

    def read(self, name: str, *, limit: int) -> bytes:
        if name not in self.content:
            raise NotFound(name)
        return self.content[name][:limit]

    def find(self, name: str) -> Volume | None:
        return self.get(name) if name in self.content else None

    def volumes(self) -> tuple[Volume, ...]:
        return tuple(self.get(name) for name in self.content)

    def get(self, name: str) -> Volume:
        if name not in self.content:
            raise NotFound(name)
        return Volume(
            name=name,
            path=f"/pool/{name}",
            format="raw",
            capacity=Size(4096),
            allocation=Size(4096),
            length=Size(4096),
            backing=None,
            mtime=f"{self.made[name]:.9f}",
        )

    def delete(self, name: str, *, owner: str | None = None) -> bool:
        return self.content.pop(name, None) is not None


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def storage(clock):
    return MemoryStorage(clock)


@pytest.fixture
def locks(storage, clock):
    return VolumeLocks(storage, clock, machine=HERE)


@pytest.fixture
def elsewhere(storage, clock):
    return VolumeLocks(storage, clock, machine=THERE)


def leave_behind(locks: VolumeLocks, storage: MemoryStorage, **changes: object) -> Claim:
    """Leave a lock as a killed holder does, with some of its claim changed."""
    with locks.hold("crab-1", verb="molt"):
        claim = replace(Claim.from_bytes(storage.content[LOCK]), **changes)
    storage.content[LOCK], storage.made[LOCK] = claim.to_bytes(), storage.clock.now()
    return claim


def test_a_lock_excludes_another_machine_and_is_removed_when_released(locks, elsewhere, storage):
    with locks.hold("crab-1", verb="molt"):
        assert elsewhere.is_held("crab-1") and locks.is_held("crab-1")
        with pytest.raises(Busy) as caught, elsewhere.hold("crab-1", verb="delete"):
            pass
    assert storage.content == {}
    assert caught.value.brief.startswith("'crab-1' is being molted by ")
    assert f" on here (pid {os.getpid()}, since " in caught.value.brief
    assert not locks.is_held("crab-1")


def test_a_lock_excludes_the_same_process(locks):
    with locks.hold("crab-1", verb="molt"), pytest.raises(Busy), locks.hold("crab-1", verb="molt"):
        pass


def test_no_pool_is_made_to_find_out_that_nothing_is_held(locks, storage, monkeypatch):
    storage.has_pool = False
    monkeypatch.setattr(storage, "volumes", lambda: pytest.fail("this would make the pool"))
    assert locks.held("room.") == ()


def test_locks_that_are_held_anywhere_are_listed_with_their_notes(locks, elsewhere, storage):
    storage.content["room.qcow2"] = b""
    storage.made["room.qcow2"] = 0.0
    with locks.hold("room.b", verb="start", note="two"), elsewhere.hold("room.a", verb="start", note="one"):
        assert [(held.note, held.user.rpartition(" on ")[2]) for held in locks.held("room.")] == [
            ("one", "there"),
            ("two", "here"),
        ]
    assert locks.held("room.") == ()


def test_a_stale_lock_is_not_listed(locks, storage):
    leave_behind(locks, storage, pid=2**22 + 5)
    assert locks.held("crab") == ()


def test_waiting_gives_the_holder_time(locks, elsewhere, clock):
    started = clock.now()
    with locks.hold("crab-1", verb="molt"), pytest.raises(Busy), elsewhere.hold("crab-1", verb="molt", wait_s=10):
        pass
    assert 10 <= clock.now() - started < 11


def test_a_failed_act_releases_the_lock(locks, storage):
    with pytest.raises(KeyError), locks.hold("crab-1", verb="molt"):
        raise KeyError
    assert storage.content == {}


def test_a_lock_that_could_not_be_written_is_not_left_behind(locks, storage):
    storage.fails_upload = True
    with pytest.raises(ToolFailed), locks.hold("crab-1", verb="molt"):
        pass
    assert storage.content == {}


@pytest.mark.parametrize(
    "changes",
    [{"pid": 2**22 + 5}, {"started": 1}, {"boot": "an earlier boot"}, {"expires": 1_000_000.0}],
    ids=["process gone", "process id reused", "rebooted", "time over"],
)
def test_a_stale_lock_of_this_machine_is_taken_over(locks, storage, changes):
    leave_behind(locks, storage, **changes)
    assert not locks.is_held("crab-1")
    with locks.hold("crab-1", verb="delete"):
        assert Claim.from_bytes(storage.content[LOCK]).verb == "delete"
    assert storage.content == {}


def test_a_lock_of_another_machine_is_believed_until_its_time_is_over(elsewhere, locks, storage, clock):
    leave_behind(elsewhere, storage, pid=2**22 + 5, boot="whatever")
    with pytest.raises(Busy), locks.hold("crab-1", verb="delete"):
        pass
    clock.time += LIFETIME_S
    with locks.hold("crab-1", verb="delete"):
        assert locks.is_held("crab-1")


def test_a_machine_of_the_same_name_is_another_machine(storage, clock, locks):
    namesake = VolumeLocks(storage, clock, machine=replace(HERE, key="other", boot="other"))
    leave_behind(namesake, storage)
    assert locks.is_held("crab-1")


def test_a_lock_without_content_is_believed_while_it_may_be_being_written(locks, storage, clock):
    storage.create_empty(LOCK, capacity=Size(4096), format="raw")
    with pytest.raises(Busy) as caught, locks.hold("crab-1", verb="molt"):
        pass
    assert caught.value.brief == "'crab-1' is in use by another process"
    clock.time += 60
    with locks.hold("crab-1", verb="molt"):
        assert locks.is_held("crab-1")


def test_of_two_that_break_a_stale_lock_one_gets_it(locks, storage, clock):
    """The rival takes the lock over while this one has just seen it stale."""
    stale = leave_behind(locks, storage, pid=2**22 + 5)
    rival = VolumeLocks(storage, clock, machine=HERE)
    with rival.hold("crab-1", verb="delete"):
        locks._break(LOCK, stale)
        assert Claim.from_bytes(storage.content[LOCK]).verb == "delete"
        with pytest.raises(Busy), locks.hold("crab-1", verb="molt"):
            pass
    assert storage.content == {}


def test_a_breaker_that_was_killed_does_not_block_for_ever(locks, storage, clock):
    leave_behind(locks, storage, pid=2**22 + 5)
    storage.create_empty(f"{LOCK}.break", capacity=Size(4096), format="raw")
    clock.time += 60
    with locks.hold("crab-1", verb="molt"):
        assert locks.is_held("crab-1")
    assert storage.content == {}


def test_a_holder_whose_time_is_over_does_not_release_the_next_one_s_lock(locks, elsewhere, storage, clock):
    with locks.hold("crab-1", verb="molt"):
        clock.time += LIFETIME_S + 1
        taken = elsewhere.hold("crab-1", verb="delete")
        taken.__enter__()
    assert Claim.from_bytes(storage.content[LOCK]).verb == "delete"
    taken.__exit__(None, None, None)
    assert storage.content == {}


def test_the_claim_survives_its_volume():
    claim = Claim(1, 2, "alice", "molt", 3.5, 4.5, "here", "key", "boot", "a note")
    assert Claim.from_bytes(claim.to_bytes()) == claim
    assert len(claim.to_bytes()) == 4096


def test_this_machine_knows_its_own_process():
    assert hostinfo.process_started_at(os.getpid()) == hostinfo.process_started_at(os.getpid()) > 0
    assert Machine.this() == Machine.this()


def test_no_locks_lock_nothing():
    with NoLocks().hold("pool", verb="create"), NoLocks().hold("pool", verb="create"):
        assert not NoLocks().is_held("pool")
