"""Other people's domains and files in memory: those of the fake hypervisor and pool, and what lies beside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from fakes.guests import ok
from fakes.process import Watched
from fakes.scripts_made import CLONE as CLONE
from fakes.scripts_made import GOLDEN as GOLDEN
from fakes.storage import Disk
from moltfleet.model.domain import DomainState
from moltfleet.model.errors import InvalidInput, NotFound, ToolFailed, WrongState
from moltfleet.model.layerhead import LayerHead
from moltfleet.model.records import Attachment, CloneRecord, GoldenRecord, Origin
from moltfleet.model.takeover import Foreign, ForeignCard, ForeignDisk

if TYPE_CHECKING:
    from fakes.hypervisor import FakeHypervisor
    from fakes.world import World
    from moltfleet.operations.fleet import Fleet

# A key as OpenSSH writes it, of zeros.
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"


@dataclass(slots=True)
class FakeTakeover:
    """The Takeover port. ``links`` say which path is the same file as a volume of the pool; ``others`` are odd heads.

    ``changes`` replace what :meth:`look` tells of a domain, by its name.
    """

    hypervisor: FakeHypervisor
    changes: dict[str, dict[str, object]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    others: dict[str, LayerHead | ToolFailed | str] = field(default_factory=dict)
    far: set[str] = field(default_factory=set)
    hidden: set[str] = field(default_factory=set)

    def look(self, name: str) -> Foreign:
        machine = self.hypervisor.machines.get(name)
        if machine is None:
            raise NotFound(f"No domain is named {name!r}")
        domain = self.hypervisor.get(name)
        told = Foreign(
            name=name,
            uuid=domain.uuid,
            state=domain.state,
            memory=domain.memory.bytes,
            vcpus=domain.vcpus,
            disks=(ForeignDisk("vda", "virtio", "qcow2", machine.disk, machine.spec.is_disk_readonly),),
            card=ForeignCard("52:54:00:aa:bb:cc", "default"),
            snapshots=machine.snapshots,
            has_managed_save=machine.has_managed_save,
        )
        return replace(told, **self.changes.get(name, {}))  # type: ignore[arg-type]

    def head(self, path: str) -> LayerHead | None:
        odd = self.others.get(path)
        if isinstance(odd, ToolFailed):
            raise odd
        if isinstance(odd, str):
            raise InvalidInput(odd)
        if odd is not None:
            return odd
        disk = self.hypervisor.storage.at(self.links.get(path, path))
        if disk is None:
            return None
        return LayerHead(disk.capacity, disk.backing, "qcow2" if disk.backing else None)

    def is_same_file(self, one: str, other: str) -> bool:
        real = [self.links.get(path, path) for path in (one, other)]
        return real[0] == real[1] and self.hypervisor.storage.at(real[0]) is not None

    def is_on_file_system_of(self, path: str, directory: str) -> bool | None:
        return None if path in self.hidden else path not in self.far

    def take(self, name: str, record: CloneRecord | GoldenRecord, *, disk: str) -> None:
        machine = self.hypervisor.machines[name]
        self._require_off(name)
        if machine.record is not None:
            raise WrongState(f"Domain {name!r} is moltfleet's already")
        attachment = record.attachment if isinstance(record, CloneRecord) else machine.spec.attachment
        readonly = bool(record.adopted and record.adopted.readonly)
        machine.spec = replace(machine.spec, record=record, attachment=attachment, is_disk_readonly=readonly)
        machine.record, machine.disk = record, disk

    def give_back(self, name: str, origin: Origin, *, disk: str) -> None:
        machine = self.hypervisor.machines[name]
        self._require_off(name)
        nowhere = Attachment(kind="none", name="", mac="")
        machine.spec = replace(machine.spec, record=None, attachment=nowhere, is_disk_readonly=False)  # type: ignore[arg-type]
        machine.record, machine.disk = None, disk

    def _require_off(self, name: str) -> None:
        if self.hypervisor.get(name).state is not DomainState.SHUT_OFF:
            raise WrongState(f"Domain {name!r} was started meanwhile")


def takeover_of(fleet: Fleet) -> FakeTakeover:
    """The port as the process of ``fleet`` sees it."""
    hypervisor = fleet.hypervisor
    if isinstance(hypervisor, Watched):
        return Watched(FakeTakeover(hypervisor.target), "takeover", hypervisor.process)  # type: ignore[return-value]
    return FakeTakeover(hypervisor)  # type: ignore[arg-type]


def scripts_were_here(world: World, *clones: str, full: bool = False) -> None:
    """What the scripts leave: a golden VM with its snapshot, and clones whose layers name it; all in the pool, off."""
    golden = world.storage.put(Disk(f"{GOLDEN}.qcow2", "qcow2", 10 << 30))
    golden.written |= {"golden": "theirs", "host-key": HOST_KEY, "authorized": "", "machine-id": "aa"}
    world.hypervisor.add_foreign(GOLDEN, disk=golden.path)
    world.hypervisor.machines[GOLDEN].snapshots = ("os-clean", "dev-ready")
    for name in clones:
        layer = world.storage.put(Disk(f"{name}.qcow2", "qcow2", 10 << 30, backing=None if full else golden.path))
        layer.written |= dict(golden.written) if full else {}
        layer.written["work"] = "of a day"
        world.hypervisor.add_foreign(name, disk=layer.path)
        world.hypervisor.behave(name, answers={"ssh_host_ed25519_key.pub": ok(f"{HOST_KEY} root@agent-vm\n")})
