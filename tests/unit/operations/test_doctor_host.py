"""The doctor on hosts: each defect is found with what mends it exactly, and a healthy host gives no finding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import World, a_world
from fakes.machine import FakeMachine
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.config import Config
from moltfleet.model.doctor import Diagnosis, Finding
from moltfleet.model.domain import CommandResult, VirtType
from moltfleet.model.errors import HostUnavailable
from moltfleet.model.machine import Entry
from moltfleet.model.records import Attachment
from moltfleet.operations import doctor
from moltfleet.operations.host import Host
from moltfleet.progress import RecordingProgress

PASSWD = "root:x:0:0::/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\nlibvirt-qemu:x:64055:994::/:/bin/false\n"
GROUPS = "root:x:0:\nkvm:x:994:\nlibvirt:x:108:ann,bob\nusers:x:100:\n"
ME = "Name:\tpython3\nUid:\t1000\t1000\t1000\t1000\nGid:\t1000\t1000\t1000\t1000\nGroups:\t{}\n"
BRIDGE = "/sys/class/net/moltfleet0/bridge"


class AccessedMachine(FakeMachine):
    """A machine whose files belong to whom a test says, and whose getfacl tells what a test says."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.entries: dict[str, Entry] = {}
        self.lists: dict[str, str] = {}

    def entry(self, path: str) -> Entry | None:
        return self.entries.get(path)

    def run(
        self, argv: Sequence[str], *, input: bytes = b"", check: bool = True, timeout_s: float = 60.0
    ) -> CommandResult:
        assert argv[:-1] == ["getfacl", "--omit-header", "--absolute-names", "--numeric"]
        return CommandResult(0, self.lists.get(argv[-1], "").encode(), b"")


@pytest.fixture
def machine(tmp_path: Path) -> AccessedMachine:
    """A Debian host with KVM and AppArmor, and the user ann in group libvirt."""
    made = AccessedMachine(tmp_path)
    for path, text in {
        "/etc/passwd": PASSWD,
        "/etc/group": GROUPS,
        "/proc/self/status": ME.format("100 108 1000"),
        "/proc/cpuinfo": "flags : fpu vmx sse\n",
        "/proc/sys/net/ipv4/ip_forward": "1\n",
        "/sys/kernel/security/lsm": "lockdown,capability,yama,apparmor",
        "/proc/8/attr/current": "libvirt-6f3c (enforce)\n",
        f"{BRIDGE}/stp_state": "0\n",
        f"{BRIDGE}/forward_delay": "0\n",
    }.items():
        made.put(path, text)
    made.add_process(8, "qemu-system-x86", cgroup="/machine.slice/machine-qemu\\x2d1.scope")
    made.entries = {path: Entry(0, 0, 0o755) for path in ("/", "/pool")} | {"/dev/kvm": Entry(0, 994, 0o660)}
    return made


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1",))


def diagnose(world: World, machine: FakeMachine, **settings: object) -> Diagnosis:
    config = Config.model_validate({"uri": "qemu:///system", **settings})
    return doctor.diagnose(world.fleet, Host(config, machine, BootstrapFiles(), RecordingProgress()))


def the_finding(world: World, machine: FakeMachine, **settings: object) -> Finding:
    found = diagnose(world, machine, **settings).findings
    assert len(found) == 1, found
    return found[0]


def facts(world: World, **changes: object) -> None:
    world.hypervisor.facts = replace(world.hypervisor.facts, **changes)  # type: ignore[arg-type]


def test_a_healthy_host_gives_no_finding(world: World, machine: AccessedMachine) -> None:
    assert diagnose(world, machine) == Diagnosis(())


def test_looking_changes_nothing(world: World, machine: AccessedMachine) -> None:
    before = machine.tree()
    diagnose(world, machine)
    assert (machine.tree(), machine.changes) == (before, 0)


# KVM


@pytest.mark.parametrize(
    ("flags", "has_device", "way"),
    [
        ("fpu vmx", False, "sudo modprobe kvm_intel."),
        ("fpu svm", False, "sudo modprobe kvm_amd."),
        ("fpu svm", True, "Install QEMU for this processor with KVM, and restart libvirtd."),
        ("fpu", False, "Switch virtualization on in the firmware;"),
    ],
)
def test_emulation_that_nobody_asked_for(
    world: World, machine: AccessedMachine, flags: str, has_device: bool, way: str
) -> None:
    facts(world, virt_type=VirtType.QEMU, virt_reason="libvirt offers no KVM on this host")
    machine.put("/proc/cpuinfo", f"flags : {flags}\n")
    if has_device:
        machine.put("/dev/kvm", "")
    finding = the_finding(world, machine)
    assert (finding.kind, finding.fact) == ("kvm", "guests are emulated: libvirt offers no KVM on this host")
    assert finding.fix.startswith(way)


def test_emulation_that_is_meant(machine: AccessedMachine) -> None:
    world = a_world(clones=("crab-1",), virt_type="qemu")
    facts(world, virt_type=VirtType.QEMU)
    assert diagnose(world, machine).findings == ()


def test_qemu_s_user_may_not_open_kvm(world: World, machine: AccessedMachine) -> None:
    machine.put("/etc/passwd", PASSWD.replace("64055:994", "64055:64055"))
    finding = the_finding(world, machine)
    assert (finding.subject, finding.fact) == ("/dev/kvm", "libvirt-qemu may not open it")
    assert finding.fix == "sudo usermod --append --groups kvm libvirt-qemu, and restart libvirtd"
    machine.put("/etc/libvirt/qemu.conf", '#user = "root"\ngroup = "kvm"\n')
    assert diagnose(world, machine).findings == ()


def test_a_session_s_user_may_not_open_kvm(world: World, machine: AccessedMachine) -> None:
    facts(world, is_session=True)
    finding = the_finding(world, machine, uri="qemu:///session")
    assert finding.fix == "sudo usermod --append --groups kvm ann, and log in anew"
    machine.entries["/dev/kvm"] = Entry(0, 994, 0o666)
    assert diagnose(world, machine, uri="qemu:///session").findings == ()


# Groups


def test_a_login_that_began_before_its_user_joined(world: World, machine: AccessedMachine) -> None:
    machine.put("/proc/self/status", ME.format("100 1000"))
    finding = the_finding(world, machine)
    assert (finding.kind, finding.fix) == ("group", "Log in anew; or for this shell: newgrp libvirt")


def test_who_is_let_in_without_the_group_needs_none(world: World, machine: AccessedMachine) -> None:
    machine.put("/proc/self/status", ME.format("100 1000"))
    machine.put("/etc/group", GROUPS.replace("ann,bob", "bob"))
    assert diagnose(world, machine).findings == ()


def test_who_is_not_let_in_is_told_how_to_join(
    world: World, machine: AccessedMachine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> None:
        raise HostUnavailable("libvirt refuses access", hint="Join.")

    monkeypatch.setattr(world.storage, "find_free_space", refuse)
    machine.put("/proc/self/status", ME.format("100 1000"))
    machine.put("/etc/group", GROUPS.replace("ann,bob", "bob"))
    first, second = diagnose(world, machine).findings
    assert (first.kind, first.fact, first.fix) == ("libvirt", "libvirt refuses access", "Join.")
    assert second.fix == "sudo usermod --append --groups libvirt ann, and log in anew"


# Directories


HOME = "/home/ann"
POOL = f"{HOME}/pool"


@pytest.fixture
def at_home(world: World, machine: AccessedMachine, monkeypatch: pytest.MonkeyPatch) -> AccessedMachine:
    """The pool in a home directory that is its owner's alone."""
    monkeypatch.setattr(world.storage, "path_of", lambda name: f"{POOL if name == 'x' else '/pool'}/{name}")
    machine.entries |= {"/home": Entry(0, 0, 0o755), HOME: Entry(1000, 1000, 0o700), POOL: Entry(1000, 1000, 0o711)}
    return machine


def test_a_directory_that_qemu_s_user_cannot_enter(world: World, at_home: AccessedMachine) -> None:
    finding = the_finding(world, at_home)
    assert (finding.kind, finding.subject, finding.fact) == ("directory", HOME, "libvirt-qemu cannot enter it")
    assert finding.fix == f"sudo chmod o+x {HOME}"
    at_home.install("/usr/bin/setfacl")
    assert the_finding(world, at_home).fix == f"sudo setfacl --modify u:libvirt-qemu:x {HOME}"


@pytest.mark.parametrize(
    ("entry", "acl", "enters"),
    [
        (Entry(1000, 1000, 0o701), "", True),
        (Entry(1000, 994, 0o710), "", True),
        # The first class that fits counts.
        (Entry(1000, 994, 0o701), "", False),
        (Entry(64055, 1000, 0o077), "", False),
        (Entry(1000, 1000, 0o710), "user::rwx\nuser:64055:--x\ngroup::---\nmask::--x\n", True),
        (Entry(1000, 1000, 0o710), "user:1001:--x\n", False),
        (Entry(1000, 1000, 0o700), "user:64055:--x\t\t\t#effective:---\n", False),
        (Entry(1000, 1000, 0o710), "group:994:r-x\n", True),
    ],
)
def test_who_may_enter_is_told_as_the_kernel_tells_it(
    world: World, at_home: AccessedMachine, entry: Entry, acl: str, enters: bool
) -> None:
    at_home.install("/usr/bin/getfacl")
    at_home.entries[HOME], at_home.lists[HOME] = entry, acl
    assert (diagnose(world, at_home).findings == ()) is enters


def test_qemu_that_runs_as_root_enters_everything(world: World, at_home: AccessedMachine) -> None:
    at_home.put("/etc/libvirt/qemu.conf", 'user = "root"\n')
    assert diagnose(world, at_home).findings == ()


# Network, confinement, pool, versions


SHOWN = {
    "stp": (f"{BRIDGE}/stp_state", "1\n", "moltfleet", "moltfleet0 has stp_state set", "stp_state 0 forward_delay 0"),
    "delay": (f"{BRIDGE}/forward_delay", "1500\n", "moltfleet", "moltfleet0 has forward_delay set", "delay='0'"),
    "forwarding": (
        "/proc/sys/net/ipv4/ip_forward", "0\n", "moltfleet", "the kernel forwards no packets", "sysctl -w",
    ),
    "confinement": ("/proc/8/attr/current", "unconfined\n", "apparmor", "QEMU with process id 8 is", "qemu.conf"),
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_what_the_kernel_shows(world: World, machine: AccessedMachine, name: str) -> None:
    path, text, subject, fact, way = SHOWN[name]
    machine.put(path, text)
    finding = the_finding(world, machine)
    assert finding.subject == subject
    assert finding.fact.startswith(fact)
    assert way in finding.fix


def test_a_bridge_that_is_gone_under_running_guests(world: World, machine: AccessedMachine) -> None:
    for name in ("stp_state", "forward_delay"):
        (machine.root / f"{BRIDGE}/{name}"[1:]).unlink()
    (machine.root / BRIDGE[1:]).rmdir()
    assert the_finding(world, machine).fix == "virsh net-start moltfleet, then moltfleet restart crab-1"
    world.hypervisor.destroy("crab-1")
    assert diagnose(world, machine).findings == ()


def test_libvirt_s_own_network_counts_for_clones_on_it(world: World, machine: AccessedMachine) -> None:
    bridge = BRIDGE.replace("moltfleet0", "virbr0")
    machine.put(f"{bridge}/stp_state", "1\n")
    assert diagnose(world, machine).findings == ()
    theirs = Attachment("libvirt", "default", "52:54:00:00:00:01")
    world.hypervisor.write_record("crab-1", replace(world.record("crab-1"), attachment=theirs))
    assert the_finding(world, machine).fact == "virbr0 has stp_state set"


def test_egress_that_is_none_needs_no_forwarding(world: World, machine: AccessedMachine) -> None:
    machine.put("/proc/sys/net/ipv4/ip_forward", "0\n")
    assert diagnose(world, machine, egress="none").findings == ()


def test_a_kernel_without_a_security_module_confines_nobody(world: World, machine: AccessedMachine) -> None:
    machine.put("/sys/kernel/security/lsm", "capability")
    machine.put("/proc/8/attr/current", "unconfined\n")
    assert diagnose(world, machine).findings == ()


def test_a_pool_that_does_not_run(world: World, machine: AccessedMachine) -> None:
    world.storage.has_pool = False
    assert the_finding(world, machine).fix.startswith("virsh pool-start moltfleet")
    assert diagnose(a_world(golden=None), machine).findings == ()


@pytest.mark.parametrize(
    ("version", "fault"),
    [(9_000_000, ""), (9_009_000, "delete"), (10_000_000, "delete"), (10_010_000, "delete"), (11_000_000, ""),
     (11_001_000, ""), (11_002_000, "reverts"), (11_003_000, "reverts"), (11_004_000, "")],
)  # fmt: skip
def test_a_libvirt_with_a_known_fault_is_one_where_there_are_snapshots(
    world: World, machine: AccessedMachine, version: int, fault: str
) -> None:
    facts(world, libvirt_version=version)
    stale = [finding.kind for finding in diagnose(world, machine).findings]
    assert set(stale) <= {"stale"}, "the clean point is of another libvirt, and nothing else is wrong"
    assert len(diagnose(world, machine).notes) == bool(fault)
    world.hypervisor.add_foreign("theirs")
    world.hypervisor.machines["theirs"].snapshots = ("one",)
    found = [finding for finding in diagnose(world, machine).findings if finding.kind == "version"]
    assert len(found) == bool(fault)
    assert all(fault in finding.fact and "theirs has snapshots" in finding.fact for finding in found)


def test_of_another_machine_libvirt_alone_is_asked(world: World) -> None:
    facts(world, is_local=False, virt_type=VirtType.QEMU, virt_reason="libvirt offers no KVM on this host")
    (finding,) = doctor.diagnose(world.fleet).findings
    assert finding.kind == "kvm"
