"""The report of a real host: what QEMU takes, what guests have written, and a foreign domain with a hostile name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import POOL, User

CRAB = "reported"
NAME = "<img src=x onerror=alert(1)>|`$x^2$"
FOREIGN = """\
<domain type='qemu'><name>&lt;img src=x onerror=alert(1)&gt;|`$x^2$</name><memory unit='MiB'>64</memory>
<os><type arch='x86_64'>hvm</type></os></domain>
"""
WRITTEN = 8 * 2**20


@pytest.fixture(scope="module")
def host(alice: User, tiny: str) -> Iterator[User]:
    """A user of a host with one clone, which has written something, and with somebody else's domain, which runs."""
    alice.run("create", tiny, CRAB)
    alice.shell(CRAB, f"head -c {WRITTEN} /dev/urandom > ~/work && sync")
    alice.lab.run("virsh", "-q", "-c", "qemu:///system", "create", "/dev/stdin", input=FOREIGN)
    yield alice
    alice.lab.virsh("destroy", NAME)
    alice.run("delete", CRAB, "--yes")


def clone_of(report: dict[str, Any]) -> dict[str, Any]:
    (clone,) = (clone for clone in report["clones"] if clone["name"] == CRAB)
    return clone


def test_the_report_tells_what_the_host_and_the_guests_are_seen_to_take(host: User) -> None:
    report = host.json("report")
    clone, (other,) = clone_of(report), report["others"]
    # The witness is the kernel's own word about the QEMU process.
    status = host.lab.out("sh", "-c", f"grep -E 'VmRSS|VmHWM' /proc/$(pgrep -f '[g]uest={CRAB},')/status")
    (_, peak, _), (_, resident, _) = (line.split() for line in status.splitlines())
    assert clone["resident_mib"] == pytest.approx(int(resident) / 1024, abs=16)
    assert clone["peak_mib"] == pytest.approx(int(peak) / 1024, abs=16)
    blocks = host.lab.out("stat", "-c", "%b", f"{POOL}/{CRAB}.clean.1.ram")
    assert clone["disk"]["ram_image_bytes"] == int(blocks) * 512
    assert clone["disk"]["written_bytes"] >= WRITTEN
    assert (other["name"], other["memory_mib"]) == (NAME, 64)
    assert other["resident_mib"] > 0
    used = report["memory"]["used_mib"]
    known = used["clones"] + used["others"] + used["rest"] + report["host"]["available_mib"]
    assert known == pytest.approx(report["host"]["memory_mib"], abs=4)


def test_the_report_and_the_plan_agree(host: User) -> None:
    plan, report = host.json("plan"), host.json("report")
    row = next(row for row in report["headroom"] if row["default"])
    assert (row["hosts"][0]["max_clones"], row["hosts"][0]["safe_clones"]) == (plan["max_clones"], plan["safe_clones"])
    assert report["memory"]["limit_mib"] == plan["host"]["available_mib"]
    # Memory that is available changes between two looks.
    assert row["more_now"] == pytest.approx(plan["now"]["clones"], abs=2)


def test_the_page_is_one_file_in_which_a_hostile_name_is_text(host: User) -> None:
    path = host.write("fleet.html", "an older one")
    assert host.run("report", "--output", path).stdout == ""
    page = host.lab.run("cat", path, user=host.name).stdout
    assert page.startswith("<!DOCTYPE html>")
    assert page.count("<svg") == 4
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;|`$x^2$" in page
    quoted = "``" + NAME.replace("|", "\\|") + "``"
    assert quoted in host.run("report").stdout


def test_a_molt_turns_what_was_written_into_what_is_shed(host: User) -> None:
    host.run("molt", CRAB, "--yes")
    disk = clone_of(host.json("report"))["disk"]
    assert disk["shed_bytes"] >= WRITTEN > disk["written_bytes"]
