"""The watchdog in a real guest: agents leak in every manner, each is ended in time, and nobody else notices.

One guest of 4 GiB serves all tests. A slow leak begins high, so that it does not take minutes to matter. How little a
leak goes over its end is measured by `scripts/bench watchdog`. To be run by name, with nothing beside it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from .conftest import IMAGES, Labs
from .leaking_guest import MIB, Leak, LeakingGuest

pytestmark = pytest.mark.full_guest

IMAGE = IMAGES / "debian-bookworm-furnished.qcow2"
# An emulated guest of two processors: a login is worth a second of one, and the leak wants the other.
LOGIN_S = 20.0
AS_FAST_AS_CAN_BE = 100_000


@pytest.fixture(scope="module")
def booted(labs: Labs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeakingGuest]:
    """A guest with the watchdog, and an operator at work in tmux."""
    leaking = LeakingGuest.boot(labs.start("leaks"), tmp_path_factory.mktemp("guest"), IMAGE)
    leaking.settle_in()
    yield leaking
    leaking.guest.virsh("destroy", leaking.guest.name)


@pytest.fixture
def guest(booted: LeakingGuest, record_property: Callable[[str, object], None]) -> Iterator[LeakingGuest]:
    """The guest; whatever the test does, the operator logs in, goes on working, and nothing is swapped."""
    with booted.nobody_else_suffers() as logins:
        yield booted
    record_property("longest_login_s", logins.longest_s)
    assert logins.longest_s < LOGIN_S, logins.took


def was_ended_in_time(found: Leak, *means: str) -> None:
    """By the watchdog alone, with one of these as its last means, and never above what the scope may use."""
    print(f"overshoot {100 * found.overshoot:.1f} %, {found.outcome['MESSAGE']}")
    assert found.outcome["MOLTFLEET_RESULT"] == "ended"
    sent = found.outcome["MOLTFLEET_SIGNALS"].split()
    assert (sent[0], sent[-1] in means) == ("SIGTERM", True), sent
    assert found.kernel_kills == 0
    assert found.peak <= int(found.outcome["MOLTFLEET_MAX"])


@pytest.mark.parametrize(("rate", "most"), [(10, 0.05), (200, 0.05), (AS_FAST_AS_CAN_BE, 0.1)])
def test_a_leak_is_ended_as_soon_as_it_is_one(guest: LeakingGuest, rate: int, most: float) -> None:
    end_mib = guest.limits["scope"]["term"] // MIB
    at_once = max(0, end_mib - 5 * rate)
    found = guest.leak(f"leak-{rate}", "memory", rate, at_once)
    # One that grows as fast as it can may be faster than its own end.
    was_ended_in_time(found, "SIGTERM", *(["SIGKILL"] if rate == AS_FAST_AS_CAN_BE else []))
    assert found.overshoot <= most
    assert "moltfleet: claude was ended: " in guest.window(f"leak-{rate}")


def test_an_agent_that_ignores_sigterm_is_killed_before_its_limit(guest: LeakingGuest) -> None:
    end_mib = guest.limits["scope"]["term"] // MIB
    was_ended_in_time(guest.leak("deaf", "deaf", 20, end_mib - 40), "SIGKILL")


def test_a_leak_that_forks_on_and_on_is_ended_as_a_whole(guest: LeakingGuest) -> None:
    found = guest.leak("forks", "forks", 200)
    was_ended_in_time(found, "cgroup.kill")
    assert guest.root("pgrep --full '[o]pt/agents/leak.py' | wc -l") == "0"


def test_three_hundred_children_of_which_none_is_large_are_ended_together(guest: LeakingGuest) -> None:
    found = guest.leak("children", "children", 100)
    was_ended_in_time(found, "cgroup.kill")
    assert guest.root("pgrep --full '[o]pt/agents/leak.py' | wc -l") == "0"


def test_files_in_memory_are_a_leak_like_any_other(guest: LeakingGuest) -> None:
    size = guest.limits["scope"]["term"] // MIB + 100
    guest.root(f"mount -o remount,size={size}M,nr_inodes=1k /dev/shm")
    try:
        found = guest.leak("shm", "shm", 200, 1000)
        # The files are the person's: they stay, and are told of.
        held = int(guest.root("stat --format=%s /dev/shm/leak-*"))
        told = guest.event("filling", lambda event: event["MOLTFLEET_PATH"] == "/dev/shm")
    finally:
        guest.root("rm -f /dev/shm/leak-*")
    was_ended_in_time(found, "SIGTERM")
    assert held > 0.9 * int(found.outcome["MOLTFLEET_THRESHOLD"])
    assert float(told["MOLTFLEET_SHARE"]) > 0.8


def test_an_agent_that_leaves_its_scope_is_told_and_ended_where_it_is(guest: LeakingGuest) -> None:
    guest.start("leaver", "leave", 200, guest.limits["outside"]["term"] // MIB - 400)
    outcome = guest.outcome("tree:")
    assert outcome["MOLTFLEET_RESULT"] == "ended"
    assert int(outcome["MOLTFLEET_THRESHOLD"]) == guest.limits["outside"]["term"]
    left = [event for event in guest.events("uncontained") if event["MOLTFLEET_PID"] == outcome["MOLTFLEET_PID"]]
    assert left[0]["MESSAGE"].endswith("has left its scope leaver.scope")


def test_a_process_that_only_says_it_is_an_agent_is_left_alone(guest: LeakingGuest) -> None:
    mib = guest.limits["outside"]["term"] // MIB + 60
    words = f"/opt/agents/leak.py hold 0 {mib} claude /opt/agents/claude codex gemini"
    guest.in_window("words", f"exec -a claude /usr/bin/python3 -I -S {words}")
    guest.wait_until("pgrep -x claude")
    pid = guest.root("pgrep -x claude")
    guest.wait_until(f"test $(awk '/^RssAnon/ {{print $2}}' /proc/{pid}/status) -gt {mib * 1024}")
    looked = guest.state()["uptime"]
    guest.wait_until(f"test $(cut -d . -f 1 /proc/uptime) -gt {int(looked) + 25}")
    state = guest.state()
    assert state["uptime"] > looked + 10
    assert state["groups"] == []
    assert guest.root(f"ps -o state= -p {pid}") == "S"
    guest.root(f"kill {pid}")


def test_the_watchdog_has_complained_of_nothing_and_stayed_small(guest: LeakingGuest) -> None:
    assert guest.state()["problems"] == []
    pid, restarts = guest.root("systemctl show --value -p MainPID -p NRestarts moltfleet-watchdog").split()
    assert restarts == "0"
    assert int(guest.root(f"awk '/^VmHWM/ {{print $2}}' /proc/{pid}/status")) < 20 * 1024
