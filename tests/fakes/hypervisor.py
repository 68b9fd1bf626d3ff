"""libvirt in memory, as it was seen to behave: what is kept where, what is refused, and what it lets happen."""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from fakes.clock import FakeClock
from fakes.guests import Behaviour, FakeGuest, Memory
from fakes.storage import Disk, FakeStorage
from moltfleet.model.domain import (
    CommandResult,
    Domain,
    DomainSpec,
    DomainState,
    Endpoint,
    HostFacts,
    VirtType,
)
from moltfleet.model.errors import (
    AlreadyExists,
    AlreadyRunning,
    DeadlinePassed,
    GuestUnreachable,
    NotFound,
    ToolFailed,
    WrongState,
)
from moltfleet.model.load import DomainUse
from moltfleet.model.records import CloneRecord, Record
from moltfleet.model.size import Size
from moltfleet.model.vitals import Balloon, Reason, Vitals

# An address that a foreign network's DHCP server gave.
LEASED = "10.0.0.5"


@dataclass(slots=True)
class Running:
    """A QEMU process: its layers, top first, the guest's RAM, its size, and the live copy of the metadata."""

    chain: tuple[str, ...]
    memory: Memory
    record: Record | None
    size: Size
    off_at: float | None = None
    is_paused: bool = False
    why_paused: Reason = Reason.BY_HAND


@dataclass(slots=True)
class Machine:
    """A defined domain. ``record`` and ``disk`` (a path) stand in the persistent configuration.

    ``is_newer`` says that the record was written by a version that this one does not know.
    """

    name: str
    spec: DomainSpec
    record: Record | None
    disk: str
    running: Running | None = None
    why_off: Reason = Reason.OTHER
    has_managed_save: bool = False
    snapshots: tuple[str, ...] = ()
    is_newer: bool = False


@dataclass(frozen=True, slots=True)
class SaveImage:
    """A file that saving wrote: RAM, the live metadata of that moment, and what the disk held then."""

    memory: Memory
    size: Size
    record: Record | None
    disk_content: dict[str, str]


@dataclass(slots=True)
class FakeHypervisor:
    """The Hypervisor port. ``violations`` collects what real libvirt allows and a fleet must never do.

    ``resident`` is what QEMU takes for a domain, by name; libvirt does not tell it of any other. So it is with
    ``balloons``, ``used_cpu_s`` and ``grown``, the top layers; ``hangs`` is a QEMU that keeps statistics waiting.
    """

    storage: FakeStorage
    clock: FakeClock
    machines: dict[str, Machine] = field(default_factory=dict)
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    images: dict[str, SaveImage] = field(default_factory=dict)
    commands: list[tuple[str, str]] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    resident: dict[str, Size] = field(default_factory=dict)
    balloons: dict[str, Balloon] = field(default_factory=dict)
    used_cpu_s: dict[str, float] = field(default_factory=dict)
    grown: dict[str, Size] = field(default_factory=dict)
    hangs: bool = False
    skips_a_layer: set[str] = field(default_factory=set)
    facts: HostFacts = field(
        default_factory=lambda: HostFacts(
            uri="test:///fake",
            is_local=True,
            is_session=False,
            virt_type=VirtType.KVM,
            virt_reason="libvirt offers KVM",
            libvirt_version=9_000_000,
            qemu_version=7_002_000,
            memory=Size.of_gib(64),
            memory_origin="/proc/meminfo",
            cpus=8,
            boot_id="first-boot",
        )
    )
    kernel: str = "6.1.0-host"

    def __post_init__(self) -> None:
        self.storage.users = self._user_of

    # What tests look at and do behind everybody's back

    def behave(self, name: str, **changes: object) -> None:
        """Script a guest by its domain's name, now and for all its later boots."""
        self.behaviours[name] = replace(self.behaviour(name), **changes)  # type: ignore[arg-type]

    def behaviour(self, name: str) -> Behaviour:
        """How the guest of a domain behaves."""
        return self.behaviours.get(name, Behaviour())

    def guest(self, name: str) -> FakeGuest:
        """The running guest of a domain."""
        return FakeGuest(self, self._machine(name), self.behaviour(name), self.clock)

    def guest_at(self, endpoint: Endpoint) -> FakeGuest | None:
        """The running guest that listens at an address and port."""
        for machine in list(self.machines.values()):
            attachment = machine.spec.attachment
            hosts = {attachment.address, LEASED if attachment.kind == "libvirt" else None}
            hosts |= {"127.0.0.1"} if attachment.kind == "user" else set()
            if machine.running and (endpoint.host, endpoint.port) in {(h, attachment.ssh_port) for h in hosts}:
                return self.guest(machine.name)
        return None

    def add_foreign(self, name: str, *, disk: str = "/elsewhere/theirs.qcow2") -> None:
        """Define somebody else's domain."""
        from moltfleet.model.records import Attachment

        nowhere = Attachment(kind="none", name="", mac="")
        spec = DomainSpec(
            name=name,
            uuid=str(uuid.uuid4()),
            title="",
            description="",
            memory=Size.of_gib(1),
            vcpus=1,
            disk="",
            attachment=nowhere,
            record=None,  # type: ignore[arg-type]
            virt_type=VirtType.KVM,
        )
        self.machines[name] = Machine(name, spec, None, disk)

    # Looking

    def host(self) -> HostFacts:
        return self.facts

    def domains(self) -> tuple[Domain, ...]:
        return tuple(replace(found, active_memory=None, active_disk=None) for found in self._all())

    def _all(self) -> list[Domain]:
        return [self._domain(machine) for machine in list(self.machines.values())]

    def memory_use(self) -> tuple[DomainUse, ...]:
        active = [domain for domain in self._all() if domain.is_active]
        emulated = self.facts.virt_type is VirtType.QEMU
        return tuple(
            DomainUse(d.name, d.state, d.active_memory or d.memory, d.vcpus, self.resident.get(d.name), emulated)
            for d in active
        )

    def vitals(self, *, timeout_s: float) -> tuple[Vitals, ...]:
        if self.hangs:
            self.clock.sleep(timeout_s)
            raise DeadlinePassed(f"libvirt did not answer within {timeout_s:.0f} s: look at all domains")
        return tuple(self._vitals(domain) for domain in self._all())

    def _vitals(self, domain: Domain) -> Vitals:
        name, machine = domain.name, self.machines[domain.name]
        running = machine.running
        if running is None:
            return Vitals(name, domain.state, machine.why_off)
        return Vitals(
            name=name,
            state=domain.state,
            reason=running.why_paused if running.is_paused else Reason.OTHER,
            life=f"{running.memory.boot_id} {running.chain[0]}",
            balloon=self.balloons.get(name),
            resident=self.resident.get(name),
            cpu_s=self.used_cpu_s.get(name),
            disk=self.grown.get(name),
        )

    def find(self, name: str) -> Domain | None:
        return self.get(name) if name in self.machines else None

    def get(self, name: str) -> Domain:
        if self._machine(name).is_newer:
            raise WrongState(f"Metadata of domain {name!r} was written by a newer moltfleet")
        return self._domain(self._machine(name))

    def _machine(self, name: str) -> Machine:
        if name not in self.machines:
            raise NotFound(f"No domain is named {name!r}")
        machine = self.machines[name]
        running = machine.running
        if running and running.off_at is not None and self.clock.now() >= running.off_at:
            machine.running = None
        return machine

    def _domain(self, machine: Machine) -> Domain:
        running = self._machine(machine.name).running
        paused = running is not None and running.is_paused
        state = DomainState.PAUSED if paused else DomainState.RUNNING if running else DomainState.SHUT_OFF
        return Domain(
            name=machine.name,
            uuid=machine.spec.uuid,
            state=state,
            memory=machine.spec.memory,
            vcpus=machine.spec.vcpus,
            record=None if machine.is_newer else machine.record,
            active_memory=running.size if running else None,
            active_disk=running.chain[0] if running else None,
            inactive_disk=machine.disk,
            unreadable="clone" if machine.is_newer else None,
        )

    def live_chain(self, name: str) -> tuple[str, ...]:
        machine = self._machine(name)
        return machine.running.chain if machine.running else (machine.disk,)

    def fingerprint(self, name: str) -> str:
        spec = self._machine(name).spec
        parts = {
            "libvirt": self.facts.libvirt_version,
            "qemu": self.facts.qemu_version,
            "kernel": self.kernel,
            "definition": f"{name} {spec.memory.bytes}/{spec.vcpus}",
        }
        return json.dumps(parts, sort_keys=True)

    def fingerprints(self, names: Collection[str]) -> Mapping[str, str]:
        return {name: self.fingerprint(name) for name in names if name in self.machines}

    def snapshot_names(self, name: str) -> tuple[str, ...]:
        return self._machine(name).snapshots

    def _user_of(self, path: str, name: str, owner: str | None) -> str | None:
        for machine in list(self.machines.values()):
            if machine.running and path in machine.running.chain:
                return f"domain {machine.name!r}"
            if machine.name == owner:
                continue
            named = machine.record is not None and name in machine.record.volumes()
            based = isinstance(machine.record, CloneRecord) and machine.record.golden_volume == name
            if named or based or machine.disk == path:
                return f"domain {machine.name!r}"
        return None

    # Defining

    def define(self, spec: DomainSpec) -> None:
        if spec.name in self.machines:
            raise AlreadyExists(f"libvirt failed to define {spec.name}: domain already exists")
        self.machines[spec.name] = Machine(spec.name, spec, spec.record, self.storage.path_of(spec.disk))

    def write_record(self, name: str, record: Record) -> None:
        # In the configuration only: the live copy stays what it was.
        self._machine(name).record = record

    def set_disk(self, name: str, volume: str) -> None:
        # libvirt takes any path; a missing one shows at the next start.
        self._machine(name).disk = self.storage.path_of(volume)

    def undefine(self, name: str) -> None:
        machine = self.machines.get(name)
        if machine is None:
            return
        if self._machine(name).running:
            self.violations.append(f"{name} was undefined while it ran, and is transient now")
        del self.machines[name]

    def discard_snapshots(self, name: str) -> None:
        self._machine(name).snapshots = ()

    # Running

    def start(self, name: str) -> None:
        machine = self._startable(name)
        machine.has_managed_save = False
        chain = self._open(machine, machine.disk)
        memory = Memory(boot_id=str(uuid.uuid4()), booted_at=self.clock.now())
        off_at = self.clock.now() + 1.0 if self.behaviour(name).powers_off_at_boot else None
        machine.running = Running(chain, memory, machine.record, machine.spec.memory, off_at)
        if machine.spec.record is not None and not machine.spec.is_disk_readonly:
            self.guest(name).first_boot()

    def _startable(self, name: str) -> Machine:
        machine = self._machine(name)
        if machine.running:
            raise AlreadyRunning(f"libvirt failed to start {name}: domain is already active")
        return machine

    def _open(self, machine: Machine, top: str) -> tuple[str, ...]:
        """Open the layers as QEMU does: locked against a second writer, the rest believed."""
        if machine.spec.record is None:
            return (top,)  # somebody else's, on a disk of their own
        chain = self.storage.chain(top)
        for other in list(self.machines.values()):
            if other is not machine and other.running and top in other.running.chain:
                raise ToolFailed(f'libvirt failed to start {machine.name}: Failed to get "write" lock')
        if any(self.storage.children(top)) and not machine.spec.is_disk_readonly:
            self.violations.append(f"{machine.name} ran on {top}, which is frozen under another layer")
        if machine.name in self.skips_a_layer:
            self.skips_a_layer.discard(machine.name)
            return (chain[0], *chain[2:])
        return chain

    def destroy(self, name: str) -> None:
        machine = self._machine(name)
        machine.running, machine.why_off = None, Reason.CUT

    def suspend(self, name: str) -> None:
        running = self._machine(name).running
        if running is None or running.is_paused:
            raise WrongState(f"libvirt failed to pause {name}: domain is not running")
        running.is_paused, running.why_paused = True, Reason.BY_HAND

    def resume(self, name: str) -> None:
        running = self._machine(name).running
        if running is None or not running.is_paused:
            raise WrongState(f"libvirt failed to resume {name}: domain is not paused")
        running.is_paused = False

    def request_shutdown(self, name: str) -> str:
        machine = self._machine(name)
        if machine.running is None:
            raise WrongState(f"libvirt failed to shut down {name}: domain is not running")
        behaviour = self.behaviour(name)
        # A press on the power button of a paused guest succeeds, and nobody hears it.
        if behaviour.hears_shutdown and machine.running.off_at is None and not machine.running.is_paused:
            machine.running.off_at = self.clock.now() + behaviour.shutdown_s
        return "agent" if behaviour.has_agent else "acpi"

    def save(self, name: str, ram: str) -> None:
        machine = self._machine(name)
        if machine.running is None:
            raise WrongState(f"libvirt failed to save {name}: domain is not running")
        # Without room the guest resumes by itself.
        self.storage.require_space(1 << 20)
        if ram in self.storage.disks:
            self.violations.append(f"RAM image {ram} was overwritten in place")
        image = Disk(ram, "raw", 1 << 20, is_private=True, is_known=False, data=b"LibvirtQemudSave")
        self.images[self.storage.put(image).path] = SaveImage(
            memory=machine.running.memory,
            size=machine.running.size,
            record=machine.running.record,
            disk_content=self.storage.view(machine.running.chain),
        )
        machine.running = None

    def restore(self, name: str, ram: str, *, disk: str, record: Record) -> None:
        machine = self._startable(name)
        machine.has_managed_save = False
        path = self.storage.path_of(ram)
        image = self.images.get(path)
        if image is None or self.storage.at(path) is None:
            raise ToolFailed(f"libvirt failed to restore {name}: cannot read domain image '{path}'")
        chain = self._open(machine, self.storage.path_of(disk))
        if self.storage.view(chain) != image.disk_content:
            self.violations.append(f"RAM of {name} was restored on a disk that holds something else")
        machine.running = Running(chain, replace(image.memory), record, image.size)

    def freeze_disk(self, name: str, overlay: str) -> None:
        machine = self._machine(name)
        self._require_agent(name)
        top = self.storage.path_of(overlay)
        if machine.running is None or self.storage.at(top) is None:
            raise ToolFailed(f"libvirt failed to freeze the disk of {name}: no such file or directory")
        machine.running.chain = (top, *machine.running.chain)
        machine.disk = top

    # Guests

    def _require_agent(self, name: str) -> FakeGuest:
        if self._machine(name).running is None or not self.behaviour(name).has_agent or not self.guest(name).is_up:
            raise GuestUnreachable(f"QEMU guest agent of {name!r} is not connected")
        return self.guest(name)

    def addresses(self, name: str) -> tuple[str, ...]:
        machine = self._machine(name)
        if machine.running is None or not self.behaviour(name).has_address or not self.guest(name).is_up:
            return ()
        return (machine.spec.attachment.address or LEASED,)

    def agent_answers(self, name: str) -> bool:
        machine = self._machine(name)
        return machine.running is not None and self.behaviour(name).has_agent and self.guest(name).is_up

    def agent_run(
        self, name: str, argv: Sequence[str], *, input: bytes = b"", timeout_s: float, limit: int = 65536
    ) -> CommandResult:
        guest = self._require_agent(name)
        if guest.behaviour.hangs:
            self.clock.sleep(timeout_s)
            raise DeadlinePassed(f"Program {argv[0]!r} did not end in the guest within {timeout_s:.0f} s")
        result = guest.run(" ".join(argv), input)
        return CommandResult(result.exit_code, result.stdout[:limit], result.stderr[:limit])

    def agent_clock(self, name: str) -> float:
        return self._require_agent(name).clock

    def authorize_key(self, name: str, user: str, public_key: str) -> None:
        guest = self._require_agent(name)
        guest.write("authorized", f"{guest.read('authorized')}\n{public_key}")
        self.behave(name, refuses_key=False)
