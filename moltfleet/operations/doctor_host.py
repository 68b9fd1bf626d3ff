"""What is wrong with the host under the fleet: KVM, libvirt's user, its security driver, pool, bridge, known faults."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding
from moltfleet.model.domain import HostFacts, VirtType
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.records import CloneRecord
from moltfleet.operations import doctor_access
from moltfleet.operations.host_files import BRIDGE

if TYPE_CHECKING:
    from moltfleet.operations.doctor_scene import Scene
    from moltfleet.operations.host import Host

_WHY_KVM = "An emulated guest is several times slower, and no boundary for what runs in it."
_WHY_POOL = "No clone starts or molts without its disk, and nothing is known of volumes meanwhile."
_WHY_STP = "A new port of such a bridge listens before it forwards: a guest answers seconds later after every molt."
_WHY_BRIDGE = "The guests run, and nobody reaches them; starting it again does not put them back on it."
_WHY_FORWARD = "Clones reach nothing beyond this host, though egress lets them."
_WHY_UNCONFINED = "An emulator that a guest has broken out of may then do whatever its user may."
_WHY_VERSION = "Snapshots were made of domains here; moltfleet itself makes none, and its molts are not concerned."
# libvirt's own network, which clones may be put on.
_BRIDGES = {"moltfleet": BRIDGE, "default": "virbr0"}
_EMULATORS = ("qemu-system-", "qemu-kvm")
# First and last version with a fault, as libvirt numbers them, and the fault (libvirt's NEWS).
_FAULTS = (
    (11_002_000, 11_003_999, "reverts no internal snapshots (11.4.0 does again)"),
    (9_009_000, 10_999_999, "may delete a disk with an external snapshot whose parent is internal (11.0.0 does not)"),
)


def examine(scene: Scene, host: Host | None) -> Iterator[Finding]:
    """Look at the host; ``host`` is None for another machine, of which only libvirt tells."""
    facts = scene.fleet.hypervisor.host()
    yield from _faults(scene, facts)
    if not scene.has_pool and any(domain.record for domain in scene.domains):
        pool = scene.fleet.config.pool
        fix = f"virsh pool-start {pool}, and for the next boot: virsh pool-autostart {pool}"
        yield _finding("pool", pool, "it does not run", _WHY_POOL, fix)
    if facts.virt_type is VirtType.QEMU and scene.fleet.config.virt_type == "auto":
        yield _finding("kvm", "KVM", f"guests are emulated: {facts.virt_reason}", _WHY_KVM, _way_to_kvm(host))
    if host is None:
        return
    yield from doctor_access.examine_groups(host, is_connected=True)
    if facts.virt_type is VirtType.KVM:
        yield from doctor_access.examine_kvm(host, is_session=facts.is_session)
    if not facts.is_session:
        yield from doctor_access.examine_way(host, _directory(scene))
    yield from _network(scene, host)
    yield from _confinement(scene, host)


def examine_unreachable(error: MoltfleetError, host: Host | None) -> Iterator[Finding]:
    """Tell what can be told while libvirt does not answer."""
    why = "Everything that moltfleet does goes through libvirt."
    yield _finding("libvirt", "libvirt", error.brief, why, error.hint or "See its journal: journalctl -u libvirtd")
    if host is not None and not host.config.uri.endswith("/session"):
        yield from doctor_access.examine_groups(host, is_connected=False)


def _finding(kind: str, subject: str, fact: str, why: str, fix: str) -> Finding:
    return Finding(kind, Area.HOST, subject, fact, why, fix)


def _directory(scene: Scene) -> str:
    return scene.fleet.storage.path_of("x").rpartition("/")[0] if scene.has_pool else str(scene.fleet.config.pool_path)


def _way_to_kvm(host: Host | None) -> str:
    meant = "Where that is meant to be so: virt_type = 'qemu' in moltfleet.toml."
    flags = (host.machine.read("/proc/cpuinfo") or b"").split() if host else []
    module = "kvm_intel" if b"vmx" in flags else "kvm_amd" if b"svm" in flags else ""
    if module and host and not host.machine.exists("/dev/kvm"):
        return f"sudo modprobe {module}. {meant}"
    if module:
        return f"Install QEMU for this processor with KVM, and restart libvirtd. {meant}"
    return f"Switch virtualization on in the firmware; in a virtual machine, nested virtualization on its host. {meant}"


def _faults(scene: Scene, facts: HostFacts) -> Iterator[Finding]:
    """Tell known faults of this libvirt's snapshots: a finding where there are any snapshots, else a note."""
    for first, last, fault in _FAULTS:
        if not first <= facts.libvirt_version <= last:
            continue
        version = _version(facts.libvirt_version)
        names = [domain.name for domain in scene.domains if _has_snapshots(scene, domain.name)]
        if not names:
            scene.notes.append(f"libvirt {version} {fault}; there are no snapshots here, and molts make none")
            continue
        fix = "Update libvirt before any of them is reverted to or deleted, or copy the disks first."
        yield _finding(
            "version", f"libvirt {version}", f"it {fault}, and {', '.join(names)} has snapshots", _WHY_VERSION, fix
        )


def _version(number: int) -> str:
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _has_snapshots(scene: Scene, name: str) -> bool:
    try:
        return bool(scene.fleet.hypervisor.snapshot_names(name))
    except MoltfleetError as error:
        scene.note(error)
        return False


def _network(scene: Scene, host: Host) -> Iterator[Finding]:
    """Look at the bridges that running clones are on, as the kernel has them now."""
    for network, bridge in _BRIDGES.items():
        guests = [domain.name for domain in scene.domains if domain.is_active and _is_on(domain.record, network)]
        if not guests:
            continue
        path = f"/sys/class/net/{bridge}/bridge"
        if not host.machine.exists(path):
            fix = f"virsh net-start {network}, then moltfleet restart {' '.join(guests)}"
            yield _finding("network", network, f"its bridge {bridge} is gone", _WHY_BRIDGE, fix)
            continue
        slow = [
            name
            for name in ("stp_state", "forward_delay")
            if (host.machine.read(f"{path}/{name}") or b"0").strip() != b"0"
        ]
        if slow:
            fix = (
                f"sudo ip link set {bridge} type bridge stp_state 0 forward_delay 0; and for good, by virsh net-edit"
                f" {network}: <bridge name='{bridge}' stp='off' delay='0'/>"
            )
            yield _finding("network", network, f"{bridge} has {' and '.join(slow)} set", _WHY_STP, fix)
        if host.config.egress != "none" and host.machine.read("/proc/sys/net/ipv4/ip_forward") == b"0\n":
            fix = "sudo sysctl -w net.ipv4.ip_forward=1, and look what set it to 0 in /etc/sysctl.d"
            yield _finding("network", network, "the kernel forwards no packets (ip_forward is 0)", _WHY_FORWARD, fix)


def _is_on(record: object, network: str) -> bool:
    """Whether a clone is attached to this libvirt network, our own or another."""
    return (
        isinstance(record, CloneRecord)
        and record.attachment.kind in ("moltfleet", "libvirt")
        and record.attachment.name == network
    )


def _confinement(scene: Scene, host: Host) -> Iterator[Finding]:
    """Look whether running emulators are confined, where the kernel could confine them."""
    modules = (host.machine.read("/sys/kernel/security/lsm") or b"").decode("utf-8", "replace").strip().split(",")
    driver = next((name for name in ("apparmor", "selinux") if name in modules), None)
    if driver is None:
        return
    loose = []
    for process in host.machine.processes(*_EMULATORS):
        try:
            label = host.machine.read(f"/proc/{process.pid}/attr/current") or b""
        except MoltfleetError as error:
            scene.note(error)
            continue
        if label.startswith(b"unconfined"):
            loose.append(str(process.pid))
    if loose:
        fix = (
            f"security_driver = \"{driver}\" in /etc/libvirt/qemu.conf (or take 'none' out of it), restart libvirtd,"
            " and restart the guests"
        )
        fact = f"QEMU with process id {', '.join(loose)} is confined by no {driver} profile"
        yield _finding("security-driver", driver, fact, _WHY_UNCONFINED, fix)
