"""Networks: our own with its isolation, somebody else's, user mode, and subnets that are taken."""

from __future__ import annotations

from collections.abc import Callable

from .conftest import IMAGES, TINY_CONFIG, Labs, User

FOREIGN = """\
<network><name>theirs</name><forward mode='nat'/><bridge name='theirs0' stp='off' delay='0'/>
<ip address='192.168.201.1' netmask='255.255.255.0'>
<dhcp><range start='192.168.201.50' end='192.168.201.99'/></dhcp></ip>
</network>
"""


def test_one_clone_reaches_neither_port_22_nor_the_address_of_another(
    alice: User, tiny: str, crab: str, remove: Callable[[str], str]
) -> None:
    alice.run("create", tiny, remove("prey"))
    target = alice.clone("prey")["ip"]
    # The probe works where nothing is isolated: towards the gateway, and from the host.
    alice.shell(crab, "sudo ping -c 1 -w 5 192.168.150.1")
    alice.lab.run("timeout", "5", "bash", "-c", f"exec 3<>/dev/tcp/{target}/22")
    assert alice.shell(crab, f"nc -w 5 {target} 22 </dev/null || echo unreachable") == "unreachable"
    alice.shell(crab, f"sudo ping -c 2 -w 3 {target}", check=False)
    neighbour = alice.shell(crab, f"ip neigh show {target}")
    assert "lladdr" not in neighbour
    assert "FAILED" in neighbour or "INCOMPLETE" in neighbour


def test_a_clone_on_another_libvirt_network_is_found_by_its_lease(
    alice: User, tiny: str, remove: Callable[[str], str]
) -> None:
    alice.lab.run("virsh", "net-define", "/dev/stdin", input=FOREIGN)
    alice.lab.virsh("net-start", "theirs")
    try:
        alice.run("create", tiny, remove("guest"), "--network", "theirs")
        assert alice.shell("guest", "hostname") == "guest"
        assert "192.168.201." in alice.shell("guest", "ip -4 -o addr show")
        alice.shell("guest", "echo dirt > ~/dirt && sync")
        assert alice.json("molt", "guest", "--yes")["results"][0]["mode"] == "warm"
        assert alice.shell("guest", "test ! -e ~/dirt && echo clean") == "clean"
        alice.run("delete", "guest", "--yes")
        assert "theirs" in alice.lab.virsh("net-list")
    finally:
        alice.lab.virsh("net-destroy", "theirs")
        alice.lab.virsh("net-undefine", "theirs")


SILENT = """\
<network><name>silent</name><bridge name='silent0' stp='off' delay='0'/>
<ip address='192.168.202.1' netmask='255.255.255.0'/></network>
"""


def test_a_guest_that_never_gets_an_address_is_taken_away_with_a_clear_error(alice: User, tiny: str) -> None:
    alice.lab.run("virsh", "net-define", "/dev/stdin", input=SILENT)
    alice.lab.virsh("net-start", "silent")
    config = alice.write("hasty.toml", TINY_CONFIG + "[timeouts]\naddress = 3\n")
    before = alice.lab.volumes(), alice.lab.domains()
    try:
        done = alice.run("--config", config, "create", tiny, "lost", "--network", "silent", code=6)
        assert "Guest 'lost' has no address after 12 s" in done.stderr
        assert "DHCP" in done.stderr
        assert (alice.lab.volumes(), alice.lab.domains()) == before
    finally:
        alice.lab.virsh("net-destroy", "silent")
        alice.lab.virsh("net-undefine", "silent")


def test_user_mode_works_on_the_system_libvirt_as_well(alice: User, tiny: str, remove: Callable[[str], str]) -> None:
    alice.run("create", tiny, remove("slim"), "--network", "user")
    assert alice.clone("slim")["ssh"]["host"] == "127.0.0.1"
    assert alice.json("molt", "slim", "--yes")["results"][0]["mode"] == "warm"
    assert alice.shell("slim", "hostname") == "slim"


def test_a_network_that_does_not_exist_is_refused_and_leaves_nothing(alice: User, tiny: str) -> None:
    before = alice.lab.volumes(), alice.lab.domains()
    done = alice.run("create", tiny, "nowhere", "--network", "atlantis", code=3)
    assert "Network 'atlantis' does not exist" in done.stderr
    assert (alice.lab.volumes(), alice.lab.domains()) == before


def test_the_next_subnet_is_taken_when_one_is_in_use(labs: Labs) -> None:
    lab = labs.start("subnets")
    lab.run(
        "sh", "-c", "ip link add busy0 type bridge && ip addr add 192.168.150.9/24 dev busy0 && ip link set busy0 up"
    )
    user = User(lab, "mf-alice")
    user.configure('subnets = ["192.168.150.0/24"]\n' + TINY_CONFIG)
    done = user.run("golden", "build", "g", "--image", str(IMAGES / "tiny.qcow2"), code=5)
    assert "No subnet is free" in done.stderr
    assert lab.virsh("net-list", "--all", "--name").split() == ["default"]
    assert lab.domains() == set()
    user.configure('subnets = ["192.168.150.0/24", "192.168.151.0/24"]\n' + TINY_CONFIG)
    user.run("golden", "build", "g", "--image", str(IMAGES / "tiny.qcow2"))
    user.run("create", "g", "c", "--no-start")
    assert user.clone("c")["ip"].startswith("192.168.151.")
