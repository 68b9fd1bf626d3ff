"""`host contain` on a host with systemd and cgroup v2, which a full guest plays: limits and earlyoom really fire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import IMAGES, Labs
from .plain_host import PlainHost

pytestmark = pytest.mark.full_guest

IMAGE = IMAGES / "debian-bookworm-cloud.qcow2"
# Of 768 MiB: some 300 for the host's clones, and earlyoom acts when less than 112 are available.
MEMORY_MIB = 768
CONFIG = 'reserve = "448M"\n'
SSHD_MIN = 14 << 20
# There is no libvirt in this guest.
NEVER_OK = {"libvirtd", "free pages"}
MACHINE_MAX = "cat /sys/fs/cgroup/machine.slice/memory.max"


@pytest.fixture(scope="module")
def host(labs: Labs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainHost]:
    """A host with moltfleet and nothing contained yet."""
    lab = labs.start("host")
    lab.repo("add", "nftables", "earlyoom")
    host = PlainHost.boot(lab, tmp_path_factory.mktemp("guest"), IMAGE, memory_mib=MEMORY_MIB)
    host.root("DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends install nftables")
    host.settle_in(tmp_path_factory.mktemp("site"), CONFIG)
    yield host
    host.guest.virsh("destroy", host.guest.name)


@pytest.fixture(scope="module")
def bare(host: PlainHost) -> set[str]:
    """What the host was before it was contained."""
    return host.listing()


@pytest.fixture(scope="module")
def contained(host: PlainHost, bare: set[str]) -> PlainHost:
    """The host, contained."""
    # A guest that runs already comes under the limit as well.
    host.inflate("early", 4, slice_="machine.slice")
    done = host.moltfleet("host", "contain", "--install-earlyoom", "--yes")
    assert {check["name"] for check in done["checks"]} == NEVER_OK
    assert host.listing() != bare
    return host


@pytest.fixture(scope="module")
def booted(contained: PlainHost) -> PlainHost:
    """The contained host after a boot."""
    contained.reboot()
    return contained


def test_a_bare_host_is_looked_at_without_root(host: PlainHost, bare: set[str]) -> None:
    checks = host.checks(sudo=False)
    assert checks["cgroups"]["state"] == checks["pressure"]["state"] == "ok"
    assert checks["machine.slice"]["finding"] == "no limit"
    assert checks["earlyoom"]["finding"] == "not installed"
    assert checks["free pages"]["state"] == "unknown"
    assert host.listing() == bare


def test_containment_is_in_force_at_once_for_what_runs_already(contained: PlainHost) -> None:
    limit = int(contained.root(MACHINE_MAX))
    assert 200 << 20 < limit < 320 << 20
    assert contained.root("systemctl is-active early") == "active"
    assert contained.root("cat /sys/fs/cgroup/system.slice/ssh.service/memory.min") == str(SSHD_MIN)
    assert "169.254.0.0/16" in contained.root("nft list table inet moltfleet_egress")
    assert contained.root("systemctl is-active earlyoom") == "active"


def test_containment_is_in_force_after_a_boot(booted: PlainHost) -> None:
    checks = booted.checks()
    assert {name for name, check in checks.items() if check["state"] != "ok"} == NEVER_OK
    assert booted.root("cat /sys/fs/cgroup/system.slice/ssh.service/memory.min") == str(SSHD_MIN)


def test_the_table_survives_what_begins_with_a_flush_of_everything(booted: PlainHost) -> None:
    # Debian's own firewall is off until somebody starts it.
    for act in ("start", "reload", "restart"):
        booted.root(f"systemctl {act} nftables")
        booted.wait_until("nft list table inet moltfleet_egress | grep -q 169.254.0.0/16")
        assert "filter" in booted.root("nft list tables"), "Debian's own table is there"
    booted.root("systemctl stop nftables")
    assert "moltfleet_egress" not in booted.root("nft list tables")
    assert booted.checks()["egress"]["finding"] == "the table is written and not loaded"
    booted.root("systemctl restart moltfleet-egress && nft list table inet moltfleet_egress")


def test_the_limit_ends_the_one_that_leaks_and_sshd_answers_all_the_time(booted: PlainHost) -> None:
    sshd = booted.root("pgrep -o -x sshd")
    with booted.asked_all_the_time() as heard:
        booted.inflate("quiet", 60, slice_="machine.slice")
        booted.inflate("leak", 100_000, slice_="machine.slice")
        booted.wait_until("! systemctl --quiet is-active leak")
        heard.wait_for_more(2)
    assert booted.root("systemctl show --property=Result --value leak") == "oom-kill"
    assert booted.root("systemctl is-active quiet") == "active"
    assert booted.root("grep -w oom_kill /sys/fs/cgroup/machine.slice/memory.events") == "oom_kill 1"
    killed = booted.root("journalctl --dmesg --boot --output=cat | grep oom-kill:")
    assert "CONSTRAINT_MEMCG" in killed
    assert "oom_memcg=/machine.slice" in killed
    # The last line had nothing to do.
    assert " to process " not in booted.root("journalctl --boot --unit=earlyoom --output=cat")
    assert booted.root("pgrep -o -x sshd") == sshd
    assert set(heard.answers) == {"SSH"}
    booted.root("systemctl stop quiet; systemctl reset-failed")


def test_earlyoom_ends_what_no_limit_holds_and_sshd_answers_all_the_time(booted: PlainHost) -> None:
    sshd = booted.root("pgrep -o -x sshd")
    with booted.asked_all_the_time() as heard:
        booted.inflate("guzzler", 100_000, slice_="system.slice")
        booted.wait_until("! systemctl --quiet is-active guzzler")
        heard.wait_for_more(2)
    said = booted.root("journalctl --boot --unit=earlyoom --output=cat")
    assert said.count("sending SIGTERM to process") == 1
    assert '"python3"' in said
    # Before the kernel had to.
    assert "global_oom" not in booted.root("journalctl --dmesg --boot --output=cat")
    assert booted.root("pgrep -o -x sshd") == sshd
    assert set(heard.answers) == {"SSH"}


def test_a_removal_leaves_byte_for_byte_what_was_there_before(booted: PlainHost, bare: set[str]) -> None:
    booted.moltfleet("host", "contain", "--remove", "--yes")
    assert booted.listing() == bare
    assert "moltfleet_egress" not in booted.root("nft list tables")
    assert booted.root("systemctl show --property=MemoryMax --value machine.slice") == "infinity"
    assert booted.root("cat /sys/fs/cgroup/system.slice/ssh.service/memory.min") == "0"
    assert booted.root("command -v earlyoom || echo none") == "none"
