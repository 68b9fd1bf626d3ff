"""The table of `host contain` that says what clones may reach, loaded in the lab: two clones try everything."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.operations.host_files import EGRESS_TABLE, egress_values, render

from .conftest import Lab, User

# Another network behind the host, with a private address, a cloud's metadata service, and one that stands for the
# internet (RFC 5737); each has a web server. Redirects would spoil the detour from clone to clone.
FAR = """
set -e
sysctl -qw net.ipv4.conf.all.send_redirects=0 net.ipv4.conf.moltfleet0.send_redirects=0
unshare --net sleep 900 >/dev/null 2>&1 </dev/null & far=$!
while [ "$(readlink /proc/$far/ns/net)" = "$(readlink /proc/self/ns/net)" ]; do sleep 0.05; done
ip link add far0 type veth peer name far1 netns $far
ip addr add 10.99.0.1/24 dev far0
ip link set far0 up
nsenter -t $far -n sh -c 'ip link set lo up; ip addr add 10.99.0.9/24 dev far1; ip link set far1 up
    ip addr add 203.0.113.9/32 dev lo; ip addr add 169.254.169.254/32 dev lo'
ip route add 203.0.113.0/24 via 10.99.0.9
ip route add 169.254.169.254/32 via 10.99.0.9
nsenter -t $far -n python3 -m http.server 80 --directory /mnt >/dev/null 2>&1 </dev/null &
echo $far $!
"""
GATEWAY = "192.168.150.1"
PLACES = {
    "host": (GATEWAY, 8099),
    "host by another address": ("10.99.0.1", 8099),
    "names": (GATEWAY, 53),
    "private": ("10.99.0.9", 80),
    "metadata": ("169.254.169.254", 80),
    "internet": ("203.0.113.9", 80),
}
ALLOWED = {
    "internet": {"names", "internet"},
    "lan": {"names", "internet", "private"},
    "none": set[str](),
}


@pytest.fixture
def far(lab: Lab, alice: User, crab: str) -> Iterator[None]:
    """The network behind the host; the network of the clones is there already."""
    numbers = lab.out("sh", "-c", FAR).split()
    yield
    lab.run("nft", "delete", "table", "inet", EGRESS_TABLE, check=False)
    lab.run("kill", *numbers)
    lab.run("ip", "link", "del", "far0", check=False)


def load(lab: Lab, egress: str) -> None:
    """Load the very table that `host contain` would install."""
    lab.run("nft", "-f", "-", input=render(BootstrapFiles(), "egress.nft", egress_values(egress)).decode())


def reached(user: User, clone: str, places: dict[str, tuple[str, int]]) -> set[str]:
    """Names of the places that a clone can open a connection to."""
    probes = (
        f"nc -w 3 {address} {port} </dev/null >/dev/null 2>&1 && echo '{name}'"
        for name, (address, port) in places.items()
    )
    return set(user.shell(clone, "; ".join((*probes, "true"))).splitlines())


def test_clones_reach_what_the_table_says_and_not_each_other(
    alice: User, tiny: str, crab: str, far: None, remove: Callable[[str], str]
) -> None:
    alice.run("create", tiny, remove("prey"))
    here, there = alice.clone(crab)["ip"], alice.clone("prey")["ip"]
    alice.shell(crab, f"sudo ip route add {there} via {GATEWAY}")
    alice.shell("prey", f"sudo ip route add {here} via {GATEWAY}")
    places = {**PLACES, "clone": (there, 22)}
    # Every probe works where there is no table: what fails later, fails because of it.
    assert reached(alice, crab, places) == set(places)
    for egress, allowed in ALLOWED.items():
        load(alice.lab, egress)
        assert reached(alice, crab, places) == allowed, egress
    # The strictest one leaves a clone its address, and the host its clones; a restart of libvirt changes nothing.
    alice.lab.control("restart-libvirtd")
    assert reached(alice, crab, places) == set()
    alice.shell(crab, "sudo udhcpc -n -q -t 5 -T 2 -i $(ip -o link | grep -o ': e[^:]*' | tr -d ': ') -s /bin/true")
    assert alice.shell("prey", "hostname") == "prey"
