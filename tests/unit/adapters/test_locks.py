from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.lockdirectory import Identity
from moltfleet.adapters.lockholder import Holder, busy, clock_time
from moltfleet.adapters.locks import FileLocks, file_name
from moltfleet.model.errors import Busy, ExitCode, ToolFailed


@pytest.fixture
def locks(tmp_path):
    return FileLocks(
        tmp_path / "locks", SystemClock(), is_shared=True, identity=replace(Identity.current(), group=None)
    )


def test_a_held_lock_is_busy_and_a_released_one_is_free(locks):
    with locks.hold("crab-1", verb="molt"):
        assert locks.is_held("crab-1")
        with pytest.raises(Busy), locks.hold("crab-1", verb="delete"):
            raise AssertionError("held twice")
    assert not locks.is_held("crab-1")
    with locks.hold("crab-1", verb="delete"):
        assert locks.is_held("crab-1")


def test_locks_of_different_names_are_independent(locks):
    with locks.hold("crab-1", verb="molt"), locks.hold("crab-2", verb="molt"):
        assert locks.is_held("crab-2") and not locks.is_held("crab-3")


def test_a_lock_is_released_when_the_act_fails(locks):
    with pytest.raises(KeyError), locks.hold("crab-1", verb="molt"):
        raise KeyError
    assert not locks.is_held("crab-1")


def test_the_refusal_names_the_holder_and_what_it_does(locks):
    with (
        locks.hold("crab-1", verb="molt"),
        pytest.raises(Busy) as caught,
        locks.hold("crab-1", verb="delete"),
    ):
        pass
    assert caught.value.brief.startswith("'crab-1' is being molted by ")
    assert f"(pid {os.getpid()}, since {time.strftime('%H:%M')[:3]}" in caught.value.brief
    assert caught.value.exit_code is ExitCode.WRONG_STATE


def test_a_thread_of_the_same_process_is_excluded_and_can_wait(locks):
    order: list[str] = []

    def second() -> None:
        with locks.hold("crab-1", verb="molt", wait_s=5):
            order.append("second")

    with locks.hold("crab-1", verb="molt"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(0.2)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_waiting_ends_in_time(locks):
    started = time.monotonic()
    with locks.hold("crab-1", verb="molt"), pytest.raises(Busy), locks.hold("crab-1", verb="molt", wait_s=0.3):
        pass
    assert 0.3 <= time.monotonic() - started < 0.6


def test_all_held_locks_of_a_kind_are_listed_with_their_notes(locks):
    with locks.hold("room.b", verb="start", note="two"), locks.hold("room.a", verb="start", note="one"):
        with locks.hold("crab-1", verb="molt", note="other"):
            assert [(held.note, held.verb, held.pid) for held in locks.held("room.")] == [
                ("one", "start", os.getpid()),
                ("two", "start", os.getpid()),
            ]
        assert locks.held("crab-2") == ()
    assert locks.held("room.") == ()


def test_looking_makes_nothing(locks, tmp_path):
    assert not locks.is_held("crab-1")
    assert locks.held("") == ()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_is_not_inherited_by_programs(locks, tmp_path):
    with locks.hold("crab-1", verb="molt"):
        path = tmp_path / "locks/crab-1.lock"
        held = [int(entry.name) for entry in Path("/proc/self/fd").iterdir() if _target(entry) == path]
        assert held and not any(os.get_inheritable(fd) for fd in held)


def _target(entry: Path) -> Path | None:
    try:
        return entry.readlink()
    except FileNotFoundError:
        return None


def test_a_lock_file_that_is_a_symlink_is_refused(locks, tmp_path):
    (tmp_path / "locks").mkdir(mode=0o700)
    (tmp_path / "locks/crab-1.lock").symlink_to(tmp_path / "victim")
    with pytest.raises(ToolFailed), locks.hold("crab-1", verb="molt"):
        pass
    assert not (tmp_path / "victim").exists()


@pytest.mark.parametrize("name", ["../../etc/passwd", "..", "a/b", "", "x" * 300, "new\nline", "image.0123.qcow2"])
def test_any_name_is_a_harmless_file_name(name):
    made = file_name(name)
    assert "/" not in made and made not in (".", "..") and made.isprintable() and len(made) < 120


def test_different_names_are_different_files():
    names = ["a/b", "a%2Fb", "a_b", "x" * 300, "x" * 301]
    assert len({file_name(name) for name in names}) == len(names)


NOON = time.mktime((2026, 3, 4, 12, 1, 0, 0, 0, -1))
ALICE = Holder(123, "alice", "molt", NOON)


def test_the_message_fits_what_is_locked():
    assert busy("crab-1", ALICE, NOON + 60).brief == "'crab-1' is being molted by alice (pid 123, since 12:01)"
    assert (
        busy("pool", replace(ALICE, verb="delete"), NOON).brief
        == "The storage pool is in use for delete by alice (pid 123, since 12:01)"
    )
    assert busy("crab-1", None, NOON).brief == "'crab-1' is in use by another process"


def test_a_moment_of_another_day_has_a_date():
    assert clock_time(NOON, NOON + 86400) == "2026-03-04 12:01"
    assert clock_time(1e300, NOON) == "an unknown time"


def test_what_another_user_wrote_into_a_lock_cannot_reach_the_terminal():
    evil = Holder.from_bytes(replace(ALICE, user="\x1b[2Jroot", verb="\x07x").to_bytes())
    assert busy("crab-1", evil, NOON).brief.isprintable()


@pytest.mark.parametrize("content", [b"", b"{}", b"[1]", b"\xff", b'{"pid": "x"}', b"[" * 4000])
def test_a_lock_without_a_readable_holder_has_none(content):
    assert Holder.from_bytes(content) is None
