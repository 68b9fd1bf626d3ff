"""To be run by name. `moltfleet health` and the check itself in a real guest: well, leaking, full, lying, silent."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .ailing_guest import LIAR, AilingGuest
from .conftest import FULL_CONFIG, User

pytestmark = pytest.mark.full_guest

CLONE = "perch"
MIB = 1 << 20


@pytest.fixture(scope="module")
def perch(owner: User, river: str) -> Iterator[AilingGuest]:
    """A clone with the guest tools."""
    owner.run("create", river, CLONE, "--no-warm")
    yield AilingGuest(owner, CLONE)
    owner.run("delete", CLONE, "--yes")


def test_a_clone_that_is_well_tells_what_is_true(owner: User, perch: AilingGuest) -> None:
    well = perch.look()
    health = well["health"]
    assert (well["error"], well["level"] in ("ok", "note")) == (None, True), health["findings"]
    assert health["host"] == CLONE
    assert health["version"] == perch.root("cat /usr/local/lib/moltfleet/version")
    assert health["boot_id"] == perch.root("cat /proc/sys/kernel/random/boot_id")
    assert health["memory"]["total"] == int(perch.root("awk '/^MemTotal/ {print $2}' /proc/meminfo")) * 1024
    assert (health["watchdog"]["state"], health["containment"]["cgroup_version"]) == ("watching", 2)
    assert {"/", "/dev/shm"} <= {place["path"] for place in health["places"]}
    assert all(health["pressure"].values())
    assert (health["agents"], health["kills"]["total"], health["unseen"]) == ([], 0, [])


def test_the_check_in_the_guest_is_for_people_in_80_columns(perch: AilingGuest) -> None:
    text = perch.owner.shell(CLONE, "sudo vm-health-check --trend", check=False)
    assert text.startswith(f"{CLONE}: ")
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text
    mine = perch.owner.shell(CLONE, "vm-health-check", check=False)
    assert "not root: other users' executables" in mine


def test_a_leak_is_told_before_anything_is_ended(owner: User, perch: AilingGuest) -> None:
    perch.leak(mib_per_s=4)
    leaking = perch.wait_for("leaking", "critical")
    shown = owner.run("health", CLONE, "--trend", "--strict", code=4).stdout
    perch.root("pkill -x claude || true")
    (agent,) = leaking["health"]["agents"]
    assert (agent["name"], agent["scope"]) == ("claude", "")
    assert leaking["health"]["watchdog"]["kills"] == 0
    (trend,) = [trend for trend in leaking["health"]["trends"] if trend["name"] == "claude"]
    assert 2 * MIB < trend["rate"] < 6 * MIB
    assert trend["seconds"] < trend["bound_s"]
    assert "Agent claude takes" in shown
    assert "of warning were possible" in shown


def test_what_is_full_is_named(perch: AilingGuest) -> None:
    assert "shm-full" not in perch.codes()
    perch.root("head -c $(df --output=avail -B1 /dev/shm | tail -1) /dev/zero > /dev/shm/heap")
    full = perch.codes()
    perch.root("rm /dev/shm/heap")
    assert full["shm-full"] == "critical"
    assert "disk-full" not in full


def test_a_guest_that_talks_nonsense_is_not_believed(owner: User, perch: AilingGuest) -> None:
    perch.replace_the_health_check(LIAR)
    lied = owner.run("health", CLONE, code=7)
    assert f"Health check of '{CLONE}' has failed" in lied.stderr
    assert "\x1b" not in lied.stdout + lied.stderr
    assert "owned" not in lied.stdout + lied.stderr


def test_a_guest_that_says_nothing_is_given_up(owner: User, perch: AilingGuest) -> None:
    # An emulated guest is given four times as long.
    hasty = owner.write("hasty.toml", f"{FULL_CONFIG}[timeouts]\nlogin = 5\n")
    perch.replace_the_health_check("#!/bin/sh\nexec sleep 10000\n")
    began = time.monotonic()
    late = owner.run("--config", hasty, "health", CLONE, code=6)
    assert 5 <= time.monotonic() - began < 60
    assert late.stdout.splitlines()[1].split()[:3] == [CLONE, "unknown", "unknown"]
