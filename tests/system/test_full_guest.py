"""The full Debian guest: real cloud-init, systemd and sshd; a golden built, proven, cloned three times, and molted."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from .conftest import FURNISHED, POOL, REPOSITORY, Lab, User

pytestmark = pytest.mark.full_guest

NAMES = ("otter-1", "otter-2", "otter-3")
# Facts that differ between two boots by design.
VOLATILE = {"boot-id", "random-seed"}


@pytest.fixture(scope="module")
def golden(river: str) -> str:
    """The golden of the session: the minimal profile, with the guest tools."""
    return river


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
    assert manifest["source"] == str(FURNISHED)
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
    arguments = ("golden", "build", "broken", "--profile", "none", "--image", str(FURNISHED))
    done = owner.run(*arguments, "--user-data", apt, "--user-data", broken, code=7)
    assert "cloud-init of 'broken.build' failed" in done.stderr
    assert "no-such-package-anywhere" in done.stderr
    assert (owner.lab.volumes(), owner.lab.domains()) == before


def test_a_second_generation_reuses_the_first_stage_and_leaves_clones_alone(
    owner: User, golden: str, apt: str, otters: tuple[str, ...]
) -> None:
    script = owner.write("extra.sh", "#!/bin/sh\necho made by a script > /etc/extra\n")
    before = owner.lab.digest(f"{golden}.g1.qcow2")
    arguments = ("golden", "build", golden, "--image", str(FURNISHED), "--user-data", apt, "--script", script)
    done = owner.run(*arguments, "--package", "tree")
    assert "first stage: " in done.stderr
    assert "Building the first stage" not in done.stderr
    document = owner.json("golden", "show", golden)
    assert document["golden"]["generation"] == 2
    assert "tree" in document["manifest"]["packages"]
    assert owner.lab.digest(f"{golden}.g1.qcow2") == before
    assert owner.clone(otters[0])["generation"] == 1
    assert owner.json("molt", otters[0], "--yes")["results"][0]["mode"] == "warm"
