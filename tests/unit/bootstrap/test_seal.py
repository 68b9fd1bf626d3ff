"""bootstrap/seal.sh on made-up trees: what goes, what stays, and that it can be repeated."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")

# What may not survive, with a content that would show.
TRACES = (
    "etc/ssh/ssh_host_ed25519_key",
    "etc/ssh/ssh_host_ed25519_key.pub",
    "etc/cloud/cloud-init.disabled",
    "etc/netplan/50-cloud-init.yaml",
    "etc/network/interfaces.d/50-cloud-init",
    "etc/apt/apt.conf.d/95moltfleet-build",
    "etc/docker/key.json",
    "var/lib/systemd/random-seed",
    "var/lib/systemd/credential.secret",
    "var/lib/dhcp/dhclient.ens3.leases",
    "var/lib/cloud/instances/iid-1/user-data.txt",
    "var/lib/cloud/data/instance-id",
    "var/lib/fail2ban/fail2ban.sqlite3",
    "var/lib/sudo/ts/agent",
    "var/lib/moltfleet/watchdog/kill-20261120T080000-77.jsonl",
    "var/lib/apt/lists/deb.debian.org_Packages",
    "var/cache/apt/archives/tmux.deb",
    "var/log/cloud-init.log",
    "var/log/journal/0123/system.journal",
    "var/log/moltfleet/steps.log",
    "var/log/syslog.1",
    "tmp/left over",
    "var/tmp/.hidden/file",
    "root/.ssh/authorized_keys",
    "root/.bash_history",
    "root/.npm/_cacache/x",
    "home/agent/.ssh/authorized_keys",
    "home/agent/.ssh/known_hosts",
    "home/agent/.bash_history",
)
KEPT = (
    "etc/ssh/sshd_config",
    "etc/netplan/99-mine.yaml",
    "etc/cloud/cloud.cfg",
    "etc/apt/apt.conf.d/52moltfleet-updates",
    "home/agent/work/repos/project/README",
    "home/agent/.ssh/config",
    "home/agent/.bashrc",
    "var/lib/dpkg/status",
)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "a root"
    for name in (*TRACES, *KEPT, "etc/machine-id", "var/log/syslog", "var/lib/dbus/machine-id"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("secret\n")
    (root / "etc/systemd").mkdir()
    (root / "etc/dhcp").mkdir()
    (root / "etc/dhcp/dhclient.conf").write_text("request subnet-mask;\n")
    return root


@pytest.fixture(params=["dash", "busybox sh"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    return str(request.param).split()


def seal(shell: list[str], bootstrap: Path, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    argv = [*shell, str(bootstrap / "seal.sh"), "--root", str(root), *options]
    return subprocess.run(argv, capture_output=True, text=True)


def snapshot(root: Path) -> dict[str, str]:
    return {str(p.relative_to(root)): p.read_text() for p in sorted(root.rglob("*")) if p.is_file()}


def test_every_trace_is_gone(shell: list[str], bootstrap: Path, tree: Path) -> None:
    done = seal(shell, bootstrap, tree)

    assert (done.returncode, done.stderr) == (0, "")
    assert [name for name in TRACES if (tree / name).exists()] == []


def test_what_belongs_to_the_golden_stays(shell: list[str], bootstrap: Path, tree: Path) -> None:
    seal(shell, bootstrap, tree)

    assert [name for name in KEPT if not (tree / name).exists()] == []
    assert (tree / "var/log/syslog").read_text() == ""
    assert (tree / "var/cache/apt/archives/partial").is_dir()


def test_the_machine_id_is_an_empty_file_that_dbus_follows(shell: list[str], bootstrap: Path, tree: Path) -> None:
    seal(shell, bootstrap, tree)

    assert (tree / "etc/machine-id").read_bytes() == b""
    assert (tree / "var/lib/dbus/machine-id").readlink() == Path("/etc/machine-id")


def test_the_dhcp_identifier_follows_the_mac(shell: list[str], bootstrap: Path, tree: Path) -> None:
    seal(shell, bootstrap, tree)

    assert "DUIDType=link-layer" in (tree / "etc/systemd/networkd.conf.d/moltfleet.conf").read_text()
    assert "send dhcp-client-identifier = hardware;" in (tree / "etc/dhcp/dhclient.conf").read_text()


def test_a_second_seal_changes_nothing(shell: list[str], bootstrap: Path, tree: Path) -> None:
    seal(shell, bootstrap, tree)
    first = snapshot(tree)

    assert seal(shell, bootstrap, tree).returncode == 0
    assert snapshot(tree) == first


def test_package_lists_stay_when_asked(shell: list[str], bootstrap: Path, tree: Path) -> None:
    seal(shell, bootstrap, tree, "--keep-lists")

    assert (tree / "var/lib/apt/lists/deb.debian.org_Packages").exists()


def test_the_check_names_what_is_not_sealed(shell: list[str], bootstrap: Path, tree: Path) -> None:
    before = snapshot(tree)

    done = seal(shell, bootstrap, tree, "--check")

    assert done.returncode == 1
    said = set(done.stderr.splitlines())
    assert {
        "seal: /etc/machine-id is not empty",
        "seal: /etc/ssh/ssh_host_* is there",
        "seal: /home/*/.ssh/authorized_keys is there",
        "seal: /var/lib/dbus/machine-id is a file of its own",
        "seal: /var/lib/systemd/random-seed is there",
    } <= said
    assert snapshot(tree) == before


def test_the_check_passes_a_sealed_tree(shell: list[str], bootstrap: Path, tree: Path) -> None:
    seal(shell, bootstrap, tree)

    done = seal(shell, bootstrap, tree, "--check")

    assert (done.returncode, done.stderr) == (0, "")


def test_a_part_that_fails_is_named_and_the_others_are_done(shell: list[str], bootstrap: Path, tree: Path) -> None:
    # A directory where the empty machine-id should go.
    (tree / "etc/machine-id").unlink()
    (tree / "etc/machine-id").mkdir()

    done = seal(shell, bootstrap, tree)

    assert done.returncode == 1
    assert "seal: machine_id failed\n" in done.stderr
    assert not (tree / "var/lib/systemd/random-seed").exists()


@pytest.mark.parametrize("options", [("--what",), ("--root", "/no/such/directory"), ("--root",)])
def test_a_call_that_makes_no_sense_is_refused(bootstrap: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    # A harmless root first: a mistake here must not seal this machine.
    argv = ["dash", str(bootstrap / "seal.sh"), "--root", str(tmp_path), *options]

    assert subprocess.run(argv, capture_output=True).returncode == 2


def test_a_machine_that_is_no_guest_is_not_sealed(bootstrap: Path) -> None:
    # In a root of its own that holds the programs only: a mistake must not seal this machine.
    text = (bootstrap / "seal.sh").read_text()

    guard = text.index("if is_live && [")

    assert "exit 2" in text[guard:]
    assert text.rindex('"$act"\n') > guard
