"""The full Debian guest: real cloud-init, systemd and sshd; a golden built, proven, cloned three times, and molted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from .conftest import IMAGES, POOL, REPOSITORY, Lab, Labs, User
from .playing_host import PlayingHost

pytestmark = pytest.mark.full_guest

PACKAGES = """
    nftables fail2ban unattended-upgrades tmux git curl ca-certificates python3-systemd
    qemu-guest-agent sudo python3 tree earlyoom
"""
CONFIG = """\
jobs = 1
reserve = "1G"
[defaults]
memory = "768M"
vcpus = 2
disk = "8G"
profile = "minimal"
"""
APT = """\
#cloud-config
apt:
  preserve_sources_list: false
  sources_list: |
    {line}
"""
IMAGE = str(IMAGES / "debian-bookworm-cloud.qcow2")
# With most packages of the profile inside; fail2ban and what it needs are installed in the guest.
FURNISHED = str(IMAGES / "debian-bookworm-furnished.qcow2")
NAMES = ("otter-1", "otter-2", "otter-3")
# The guest that plays a host has 768 MiB: 300 for its own clones, and earlyoom acts when less than 112 are available.
HOST_CONFIG = 'reserve = "448M"\n'
# Facts that differ between two boots by design.
VOLATILE = {"boot-id", "random-seed"}


@pytest.fixture(scope="module")
def full_lab(labs: Labs) -> Lab:
    """A lab whose apt repository has what the profile needs."""
    lab = labs.start("full")
    lab.repo("add", *PACKAGES.split())
    return lab


@pytest.fixture(scope="module")
def owner(full_lab: Lab) -> User:
    """The user who builds."""
    user = User(full_lab, "mf-alice")
    user.configure(CONFIG)
    return user


@pytest.fixture(scope="module")
def apt(owner: User) -> str:
    """User-data that points the guest's apt at the lab."""
    return owner.write("apt.yaml", APT.format(line=owner.lab.repo("line").strip()))


@pytest.fixture(scope="module")
def golden(owner: User, apt: str) -> str:
    """A golden with the minimal profile."""
    owner.run("golden", "build", "river", "--image", FURNISHED, "--user-data", apt)
    return "river"


@pytest.fixture(scope="module")
def otters(owner: User, golden: str) -> Iterator[tuple[str, ...]]:
    """Three ready clones."""
    owner.run("create", golden, "otter", "-n", "3")
    yield NAMES
    owner.run("delete", "otter-*", "--yes")


def identity(user: User, clone: str) -> dict[str, set[str]]:
    """What tells a guest from others."""
    script = (REPOSITORY / "bootstrap/identity.sh").read_text()
    facts: dict[str, set[str]] = {}
    for line in user.shell(clone, f"sudo sh -c {shlex.quote(script)}").splitlines():
        name, _, value = line.partition(" ")
        facts.setdefault(name, set()).add(value)
    return facts


def test_the_manifest_says_what_the_golden_is_made_of(owner: User, golden: str) -> None:
    document = owner.json("golden", "show", golden)
    manifest = document["manifest"]
    assert document["golden"]["generation"] == 1
    assert manifest["source"] == FURNISHED
    assert {"fail2ban", "cloud-init", "openssh-server"} <= manifest["packages"].keys()
    assert manifest["cloud_init"]
    assert 50 * 2**20 < manifest["idle_memory_bytes"] < 600 * 2**20


def test_the_published_image_holds_no_identity(owner: User, golden: str) -> None:
    raw = "/run/golden.raw"
    owner.lab.run("qemu-img", "convert", "-U", "-O", "raw", f"{POOL}/{golden}.g1.qcow2", raw)
    try:
        assert debugfs(owner.lab, raw, "cat /etc/machine-id") in ("", "uninitialized")
        assert "ssh_host_" not in debugfs(owner.lab, raw, "ls -p /etc/ssh")
        assert "instance" not in debugfs(owner.lab, raw, "ls -p /var/lib/cloud").replace("instances/0", "")
        assert "authorized_keys" not in debugfs(owner.lab, raw, "ls -p /home/agent/.ssh")
        assert "random-seed" not in debugfs(owner.lab, raw, "ls -p /var/lib/systemd")
    finally:
        owner.lab.run("rm", raw)


def debugfs(lab: Lab, image: str, request: str) -> str:
    """Ask debugfs about a file system image."""
    return lab.run("debugfs", "-R", request, image).stdout.strip()


def test_three_clones_differ_in_everything_that_tells_guests_apart(owner: User, otters: tuple[str, ...]) -> None:
    facts = {name: identity(owner, name) for name in otters}
    for fact in ("machine-id", "hostname", "boot-id", "host-key", "instance-id", "mac"):
        values = [facts[name][fact] for name in otters]
        assert all(values), fact
        assert len(set.union(*values)) == sum(len(value) for value in values), fact
    addresses = {owner.clone(name)["ip"] for name in otters}
    assert len(addresses) == 3


def test_identities_survive_warm_and_cold_molts(owner: User, otters: tuple[str, ...]) -> None:
    name = otters[0]
    before = identity(owner, name)
    address = owner.clone(name)["ip"]
    for options in ((), ("--cold",)):
        owner.run("molt", name, *options, "--yes")
        after = identity(owner, name)
        for fact in before.keys() - VOLATILE:
            assert after[fact] == before[fact], fact
        assert owner.clone(name)["ip"] == address


def test_a_warm_molt_takes_away_files_processes_and_packages(owner: User, otters: tuple[str, ...]) -> None:
    name = otters[1]
    owner.shell(
        name,
        "sudo systemd-run --unit=leak sleep 10000 && sudo apt-get -qq update && "
        "sudo apt-get -qq install -y tree && tree --version",
    )
    result = owner.json("molt", name, "--yes")["results"][0]
    assert (result["outcome"], result["mode"]) == ("molted", "warm")
    assert owner.shell(name, "command -v tree || systemctl is-active leak", check=False) == "inactive"
    assert owner.shell(name, "systemctl is-system-running", check=False) == "running"


def test_the_firewall_ssh_and_updates_are_as_the_profile_says(owner: User, otters: tuple[str, ...]) -> None:
    name = otters[2]
    sshd = owner.shell(name, "sudo sshd -T")
    assert "passwordauthentication no" in sshd
    assert "permitrootlogin no" in sshd or "permitrootlogin prohibit-password" in sshd or "without-password" in sshd
    assert "hook input" in owner.shell(name, "sudo nft list ruleset")
    assert owner.shell(name, "systemctl is-active fail2ban unattended-upgrades") == "active\nactive"
    assert "SystemMaxUse" in owner.shell(name, "cat /etc/systemd/journald.conf.d/*.conf")
    assert owner.shell(name, "sudo cat /etc/shadow | grep ^agent: | cut -d: -f2 | head -c 1") in ("!", "*")


def test_fail2ban_cannot_ban_the_host(owner: User, otters: tuple[str, ...]) -> None:
    name = otters[2]
    address = owner.clone(name)["ip"]
    attempt = "ssh -o BatchMode=yes -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null nobody@" + address
    tried = owner.lab.run("sh", "-c", f"for i in 1 2 3 4 5 6 7 8; do {attempt} true; done", check=False)
    assert tried.stderr.count("Permission denied") == 8
    assert owner.shell(name, "sudo fail2ban-client get sshd banip") == ""
    assert owner.shell(name, "hostname") == name


def test_a_failing_cloud_init_is_named_with_the_end_of_its_log(owner: User, apt: str) -> None:
    broken = owner.write("broken.yaml", "#cloud-config\npackages: [no-such-package-anywhere]\n")
    before = owner.lab.volumes(), owner.lab.domains()
    arguments = ("golden", "build", "broken", "--profile", "none", "--image", IMAGE)
    done = owner.run(*arguments, "--user-data", apt, "--user-data", broken, code=7)
    assert "cloud-init of 'broken.build' failed" in done.stderr
    assert "no-such-package-anywhere" in done.stderr
    assert (owner.lab.volumes(), owner.lab.domains()) == before


def test_a_second_generation_reuses_the_first_stage_and_leaves_clones_alone(
    owner: User, golden: str, apt: str, otters: tuple[str, ...]
) -> None:
    script = owner.write("extra.sh", "#!/bin/sh\necho made by a script > /etc/extra\n")
    before = owner.lab.digest(f"{golden}.g1.qcow2")
    arguments = ("golden", "build", golden, "--image", FURNISHED, "--user-data", apt, "--script", script)
    done = owner.run(*arguments, "--package", "tree")
    assert "first stage: " in done.stderr
    assert "Building the first stage" not in done.stderr
    document = owner.json("golden", "show", golden)
    assert document["golden"]["generation"] == 2
    assert "tree" in document["manifest"]["packages"]
    assert owner.lab.digest(f"{golden}.g1.qcow2") == before
    assert owner.clone(otters[0])["generation"] == 1
    assert owner.json("molt", otters[0], "--yes")["results"][0]["mode"] == "warm"


@pytest.fixture(scope="module")
def host(owner: User, otters: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> PlayingHost:
    """A clone that plays the host, with moltfleet and nothing contained yet."""
    host = PlayingHost(owner, otters[2])
    host.settle_in(tmp_path_factory.mktemp("site"), HOST_CONFIG)
    return host


@pytest.fixture(scope="module")
def bare(host: PlayingHost) -> set[str]:
    """What the host was before it was contained."""
    return host.listing()


@pytest.fixture(scope="module")
def contained(host: PlayingHost, bare: set[str]) -> PlayingHost:
    """The host, contained, and booted once since."""
    host.moltfleet("host", "contain", "--install-earlyoom", "--yes")
    assert host.listing() != bare
    host.owner.run("restart", host.name)
    return host


def test_a_bare_host_is_looked_at_without_root(host: PlayingHost, bare: set[str]) -> None:
    checks = host.checks(sudo=False)
    assert checks["cgroups"]["state"] == checks["pressure"]["state"] == "ok"
    assert checks["machine.slice"]["finding"] == "no limit"
    assert checks["earlyoom"]["finding"] == "not installed"
    assert checks["free pages"]["state"] == "unknown"
    assert host.listing() == bare


def test_containment_is_in_force_after_a_boot(contained: PlayingHost) -> None:
    checks = contained.checks()
    wrong = {name for name, check in checks.items() if check["state"] != "ok"}
    # There is no libvirt in this guest.
    assert wrong == {"libvirtd", "free pages"}
    assert contained.root("cat /sys/fs/cgroup/system.slice/ssh.service/memory.min") == str(14 << 20)
    # What begins with a flush of everything, loads the table again.
    for act in ("restart", "reload"):
        contained.root(f"systemctl {act} nftables")
        assert "169.254.0.0/16" in contained.root("nft list table inet moltfleet_egress")
    contained.root("systemctl stop nftables && systemctl restart moltfleet-firewall moltfleet-egress")


def test_the_limit_ends_the_one_that_leaks_and_sshd_answers_all_the_time(contained: PlayingHost) -> None:
    sshd = contained.root("pgrep -o -x sshd")
    with contained.tried_all_the_time() as logins:
        contained.inflate("quiet", 60, slice_="machine.slice")
        contained.inflate("leak", 100_000, slice_="machine.slice")
        contained.wait_until("! systemctl --quiet is-active leak")
    assert contained.root("systemctl show --property=Result --value leak") == "oom-kill"
    assert contained.root("systemctl is-active quiet") == "active"
    assert contained.root("grep -w oom_kill /sys/fs/cgroup/machine.slice/memory.events") == "oom_kill 1"
    killed = contained.root("journalctl --dmesg --boot --output=cat | grep oom-kill:")
    assert "CONSTRAINT_MEMCG" in killed
    assert "oom_memcg=/machine.slice" in killed
    # The last line had nothing to do.
    assert "sending SIG" not in contained.root("journalctl --boot --unit=earlyoom --output=cat")
    assert contained.root("pgrep -o -x sshd") == sshd
    assert logins.failed == []
    assert logins.answered >= 3
    contained.root("systemctl stop quiet; systemctl reset-failed")


def test_earlyoom_ends_what_no_limit_holds_and_sshd_answers_all_the_time(contained: PlayingHost) -> None:
    sshd = contained.root("pgrep -o -x sshd")
    with contained.tried_all_the_time() as logins:
        contained.inflate("guzzler", 100_000, slice_="system.slice")
        contained.wait_until("! systemctl --quiet is-active guzzler")
    said = contained.root("journalctl --boot --unit=earlyoom --output=cat")
    assert said.count("sending SIGTERM to process") == 1
    assert '"python3"' in said
    # Before the kernel had to.
    assert "global_oom" not in contained.root("journalctl --dmesg --boot --output=cat")
    assert contained.root("pgrep -o -x sshd") == sshd
    assert logins.failed == []
    assert logins.answered >= 3


def test_a_removal_leaves_byte_for_byte_what_was_there_before(contained: PlayingHost, bare: set[str]) -> None:
    contained.moltfleet("host", "contain", "--remove", "--yes")
    assert contained.listing() == bare
    assert "moltfleet_egress" not in contained.root("nft list tables")
    assert contained.checks()["machine.slice"]["finding"] == "no limit"
    assert contained.root("command -v earlyoom || echo none") == "none"
