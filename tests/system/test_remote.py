"""A fleet on another host: qemu+ssh from one lab into another, and ssh to its guests through that host."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator

import pytest

from .conftest import IMAGES, REPOSITORY, TINY_CONFIG, Lab, Labs, User

_NEAR, _FAR = "10.231.7.1", "10.231.7.2"
_SSHD = """
ListenAddress 10.231.7.2
HostKey /run/far_host_key
AuthorizedKeysFile .ssh/authorized_keys
PidFile none
UsePAM no
PasswordAuthentication no
"""


def pid_of(lab: Lab) -> str:
    argv = [str(REPOSITORY / "scripts/lab"), "status", "--name", lab.name, "--json"]
    told = subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout
    return str(json.loads(told)["labs"][0]["pid"])


def join(near: Lab, far: Lab) -> None:
    """Lay a cable between two labs."""
    cable = ("ip", "link", "add", "cable", "netns", pid_of(near), "type", "veth", "peer", "cable", "netns", pid_of(far))
    subprocess.run(cable, check=True, timeout=60)
    for lab, address in ((near, _NEAR), (far, _FAR)):
        lab.run("ip", "address", "add", f"{address}/30", "dev", "cable")
        lab.run("ip", "link", "set", "cable", "up")


def let_in(near: Lab, far: Lab, name: str) -> None:
    """Run sshd in the far lab, for the user of that name, whose key lies in the near one."""
    near.run("sh", "-c", "mkdir -p -m 700 ~/.ssh && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/id_ed25519", user=name)
    key = near.run("sh", "-c", "cat ~/.ssh/id_ed25519.pub", user=name).stdout
    far.run("sh", "-c", "umask 077; mkdir -p ~/.ssh && cat > ~/.ssh/authorized_keys", user=name, input=key)
    far.run("sh", "-c", "mkdir -p /run/sshd && ssh-keygen -q -t ed25519 -N '' -f /run/far_host_key")
    far.run("sh", "-c", "cat > /run/far_sshd && /usr/sbin/sshd -f /run/far_sshd", input=_SSHD)
    host_key = far.out("cat", "/run/far_host_key.pub")
    near.run("sh", "-c", "cat > ~/.ssh/known_hosts", user=name, input=f"{_FAR} {host_key}\n")


@pytest.fixture(scope="module")
def far(labs: Labs) -> Lab:
    """Another host."""
    return labs.start("far")


@pytest.fixture(scope="module")
def traveller(lab: Lab, far: Lab) -> Iterator[User]:
    """Somebody whose clones are on the other host."""
    user = User(lab, "mf-bob", uri=f"qemu+ssh://mf-bob@{_FAR}/system")
    user.configure(TINY_CONFIG)
    join(lab, far)
    let_in(lab, far, user.name)
    user.run("golden", "build", "tiny", "--image", str(IMAGES / "tiny.qcow2"))
    user.run("create", "tiny", "heron")
    yield user
    user.run("cleanup", "tiny", "--yes")


def test_a_clone_of_another_host_is_ready_and_answers(traveller: User, far: Lab) -> None:
    assert traveller.clone("heron")["state"] == "running"
    assert "heron" in far.domains()
    assert traveller.run("exec", "heron", "--", "hostname").stdout.strip() == "heron"
    assert traveller.shell("heron", "hostname") == "heron"


def test_it_molts_warm_from_here(traveller: User) -> None:
    traveller.shell("heron", "echo work > notes; sync")
    (result,) = traveller.json("molt", "heron", "--yes")["results"]
    assert (result["outcome"], result["mode"]) == ("molted", "warm"), result
    assert traveller.shell("heron", "cat notes 2>/dev/null || echo clean") == "clean"


def test_plain_ssh_jumps_through_the_host(traveller: User) -> None:
    traveller.run("ssh-config", "--install")
    try:
        said = traveller.lab.run("sh", "-c", "cd && ssh -n heron hostname", user=traveller.name).stdout
        assert said.strip() == "heron"
    finally:
        traveller.run("ssh-config", "--remove")


def test_a_file_comes_whole_through_the_host(traveller: User) -> None:
    path = traveller.write("sent", "as it was\n" * 1000)
    traveller.run("copy", path, "heron:there")
    assert traveller.shell("heron", "wc -c < there").strip() == "10000"


def test_the_host_that_is_asked_from_has_no_clone_of_it(traveller: User, alice: User) -> None:
    assert "heron" not in {clone["name"] for clone in alice.json("list")["clones"]}
