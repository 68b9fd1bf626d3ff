"""The subject of the contracts: three ports on one host, and what other people's hands do there."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass

from moltfleet.model.domain import DomainSpec
from moltfleet.model.ports import Hypervisor, Networks, Storage
from moltfleet.model.records import Attachment, CloneRecord, Phase, Record
from moltfleet.model.size import Size

ALONE = Attachment(kind="none", name="", mac="")


@dataclass(frozen=True, slots=True)
class Host:
    """Ports on one host. Everything that a contract makes is called ``prefix`` and something.

    ``define_foreign`` defines a domain without our metadata; ``make_snapshot`` makes one with libvirt's metadata.
    """

    hypervisor: Hypervisor
    storage: Storage
    networks: Networks
    prefix: str
    define_foreign: Callable[[str], None]
    make_snapshot: Callable[[str, str], None]

    def name(self, stem: str) -> str:
        """A name that is this run's own."""
        return f"{self.prefix}{stem}"

    def disk(self, stem: str, *, backing: str | None = None) -> str:
        """Make a qcow2 volume, on another one if wanted; returns its name."""
        name = self.name(stem)
        if backing is None:
            self.storage.create_empty(name, capacity=Size.of_mib(64), format="qcow2")
        else:
            self.storage.create_overlay(name, backing=backing)
        return name

    def spec(self, stem: str, disk: str, **changes: object) -> DomainSpec:
        """Specify a small domain on a volume."""
        name = self.name(stem)
        values: dict[str, object] = {
            "name": name,
            "uuid": str(uuid.uuid4()),
            "title": f"{name}: clone of base",
            "description": "made by the contract tests",
            "memory": Size.of_mib(64),
            "vcpus": 1,
            "disk": disk,
            "attachment": ALONE,
            "record": a_record(disk),
            "virt_type": self.hypervisor.host().virt_type,
        }
        return DomainSpec(**(values | changes))  # type: ignore[arg-type]

    def domain(self, stem: str, disk: str, **changes: object) -> str:
        """Define a small domain on a volume; returns its name."""
        spec = self.spec(stem, disk, **changes)
        self.hypervisor.define(spec)
        return spec.name


def a_record(top: str, *, golden_volume: str = "", record_of: tuple[str, ...] = ()) -> Record:
    """A clone's record that names ``top``, a golden's volume, and other volumes as trash."""
    return CloneRecord(
        golden="base",
        generation=1,
        golden_volume=golden_volume,
        phase=Phase.READY,
        linked=True,
        user="agent",
        attachment=ALONE,
        instance_id="iid-1",
        host_keys=("ssh-ed25519 AAAA",),
        seed="",
        top=top,
        created_at="2026-11-20T10:00:00Z",
        trash=record_of,
    )
