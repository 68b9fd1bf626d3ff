"""`plan` against a real host: what it measures is what virsh and the kernel say, and it leaves nothing behind."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from moltfleet.model.overhead import footprint
from moltfleet.model.size import Size

from .conftest import Labs, User

FOREIGN = """\
<domain type='qemu'><name>theirs</name><memory unit='MiB'>96</memory><vcpu>2</vcpu>
<os><type arch='x86_64'>hvm</type></os></domain>
"""


@pytest.fixture
def theirs(alice: User) -> Iterator[str]:
    """Somebody else's domain, paused before its first instruction."""
    alice.lab.run("virsh", "-c", "qemu:///system", "define", "/dev/stdin", input=FOREIGN)
    alice.lab.virsh("start", "--paused", "theirs")
    yield "theirs"
    alice.lab.virsh("destroy", "theirs")
    alice.lab.virsh("undefine", "theirs")


def active(user: User) -> tuple[int, float]:
    """How many domains count, and with how many GiB, as the first rule says."""
    detail = user.json("plan")["now"]["rules"][0]["detail"]
    found = re.match(r"(\d+) active domains? (\d+\.\d\d) GiB", detail)
    assert found, detail
    return int(found[1]), float(found[2])


def test_a_plan_of_a_fresh_host_makes_neither_pool_nor_network(labs: Labs) -> None:
    user = User(labs.start("plan"), "mf-alice")
    found = user.json("plan", "--memory", "64M")
    assert [(rule["rule"], rule["measured"]) for rule in found["now"]["rules"]][3] == ("disk", False)
    assert user.lab.virsh("pool-list", "--all", "--name") == ""
    assert "moltfleet" not in user.lab.virsh("net-list", "--all", "--name")
    assert user.lab.run("sh", "-c", "ls -A ~/.local ~/.config ~/.cache", user="mf-alice", check=False).stdout == ""


def test_the_hosts_memory_is_the_kernels(alice: User) -> None:
    found = alice.json("plan")
    total = int(alice.lab.out("awk", "/^MemTotal/ {print $2}", "/proc/meminfo"))
    assert (found["host"]["memory_mib"], found["origins"]["host_memory"]) == (total // 1024, "/proc/meminfo")
    assert found["host"]["cpus"] == int(alice.lab.out("nproc", "--all"))


def test_a_paused_domain_of_somebody_else_counts(alice: User, request: pytest.FixtureRequest) -> None:
    domains, gib = active(alice)
    theirs = request.getfixturevalue("theirs")
    assert alice.lab.virsh("domstate", theirs) == "paused"
    more, more_gib = active(alice)
    assert more == domains + 1
    expected = footprint(Size.of_mib(96), vcpus=2, emulated=True).bytes / 2**30
    assert more_gib - gib == pytest.approx(expected, abs=0.02)


def test_a_guest_that_has_touched_all_its_memory_takes_no_more_than_it_was_counted_with(alice: User, crab: str) -> None:
    before = resident(alice, crab)
    alice.shell(crab, "sudo sh -c 'mkdir -p /fill && mount -t tmpfs -o size=90% tmpfs /fill'")
    alice.shell(crab, "sudo dd if=/dev/zero of=/fill/a bs=1M 2>/dev/null; ls / >/dev/null", check=False)
    full = resident(alice, crab)
    counted = footprint(Size.of_mib(192), vcpus=1, emulated=True)
    assert before + Size.of_mib(60) < full <= counted
    print(f"QEMU takes {full} for a full guest of 192 MiB, counted with {counted}")


def resident(user: User, clone: str) -> Size:
    """QEMU's resident memory as virsh tells it."""
    found = re.search(r"^rss (\d+)$", user.lab.virsh("dommemstat", clone), re.MULTILINE)
    assert found
    return Size(int(found[1]) * 1024)


def test_over_a_connection_that_is_not_local_libvirts_figures_count(alice: User, crab: str) -> None:
    remote = User(alice.lab, alice.name, uri="qemu+unix:///system")
    found = remote.json("plan", "--memory", "64M")
    assert found["origins"]["host_memory"] == "libvirt node memory statistics"
    committed, live, pressure, disk = found["now"]["rules"]
    assert "free, buffers and cache, libvirt node memory statistics" in live["detail"]
    assert (committed["measured"], live["measured"], pressure["measured"], disk["measured"]) == (
        True,
        True,
        False,
        True,
    )
    assert "not measured: the host is remote" in pressure["detail"]
