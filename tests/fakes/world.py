"""A host with its libvirt, pool and guests in memory; fleets on it are what processes see of it."""

from __future__ import annotations

import json
import uuid
from typing import Any

from fakes.chronicle import FakeChronicle
from fakes.clock import FakeClock
from fakes.files import FakeBootstrap, FakeImages, FakeKeys, FakeProfiles, FakeSeeds
from fakes.guests import FakeGuest, FakeGuests
from fakes.hypervisor import FakeHypervisor
from fakes.locks import FakeLocks
from fakes.logins import FakeLogins
from fakes.meter import FakeMeter
from fakes.networks import FakeNetworks
from fakes.nights import FakeNights
from fakes.notifier import FakeNotifier
from fakes.process import Process, Watched
from fakes.rescues import FakeRescues
from fakes.samples import FakeSamples
from fakes.storage import Disk, FakeStorage
from moltfleet.adapters.reservations import LockReservations
from moltfleet.config import Config
from moltfleet.model.domain import DomainSpec
from moltfleet.model.records import Attachment, CloneRecord, Generation, GoldenRecord
from moltfleet.model.requests import CreateRequest
from moltfleet.model.size import Size
from moltfleet.model.volumes import Stamp, generation_volume, manifest_volume
from moltfleet.operations import create
from moltfleet.operations.fleet import Fleet
from moltfleet.progress import RecordingProgress


class World:
    """Everything that outlives a process, and a fleet that lives as long as the test."""

    def __init__(self, **config: Any) -> None:
        self.clock = FakeClock()
        self.storage = FakeStorage(self.clock)
        self.hypervisor = FakeHypervisor(self.storage, self.clock)
        self.meter = FakeMeter()
        self.networks = FakeNetworks()
        self.locks = FakeLocks(self.clock)
        self.guests = FakeGuests(self.hypervisor, self.clock)
        self.keys = FakeKeys()
        self.images = FakeImages()
        self.samples = FakeSamples()
        self.notifier = FakeNotifier()
        self.chronicle = FakeChronicle()
        self.nights = FakeNights()
        self.rescues = FakeRescues()
        self.host_logins = FakeLogins(self.clock)
        self.progress = RecordingProgress()
        self.config = Config.model_validate({"uri": "test:///fake", "jobs": 1, **config})
        self.fleet = self.process()

    def process(self, process: Process | None = None) -> Fleet:
        """The fleet as one process sees it, which may be killed."""
        ports: dict[str, Any] = {
            "hypervisor": self.hypervisor,
            "meter": self.meter,
            "storage": self.storage,
            "networks": self.networks,
            "locks": self.locks,
            "reservations": LockReservations(self.locks, self.clock),
            "guests": self.guests,
            "keys": self.keys,
            "seeds": FakeSeeds(),
            "images": self.images,
            "bootstrap": FakeBootstrap(),
            "profiles": FakeProfiles(),
            "samples": self.samples,
            "notifier": self.notifier,
            "chronicle": self.chronicle,
            "nights": self.nights,
            "rescues": self.rescues,
            "host_logins": self.host_logins,
            "clock": self.clock,
            "progress": self.progress,
        }
        if process is not None:
            process.has_room = lambda name: self.locks.is_held(f"room.{name}")
            ports = {name: Watched(port, name, process) for name, port in ports.items()}
        return Fleet(config=self.config, **ports)

    def add_golden(self, name: str = "base") -> None:
        """Put a sealed golden there, as a build leaves it; its clones get 2 GiB, 2 vCPUs and a disk of 10 GiB."""
        memory, disk = Size.of_gib(2), Size.of_gib(10)
        image = self.storage.put(Disk(generation_volume(name, 1), "qcow2", Size.of_gib(3).bytes))
        image.written["golden"] = f"{name} g1"
        manifest = json.dumps({"schema": "moltfleet.manifest/1"}).encode()
        self.storage.put(Disk(manifest_volume(name, 1), "raw", len(manifest), data=manifest))
        seen = self.storage.get(image.name)
        stamp = Stamp(image.name, seen.mtime, seen.length.bytes)
        generation = Generation(
            number=1,
            volume=image.name,
            manifest=manifest_volume(name, 1),
            built_at="2026-11-20T09:00:00Z",
            capacity=image.capacity,
            idle_memory=1 << 27,
            stamp=stamp,
        )
        golden = GoldenRecord("minimal", "debian-12", "agent", memory.bytes, 2, disk.bytes, (generation,))
        spec = DomainSpec(
            name=name,
            uuid=str(uuid.uuid4()),
            title=f"{name}: golden",
            description="",
            memory=memory,
            vcpus=2,
            disk=image.name,
            attachment=Attachment(kind="none", name="", mac=""),
            record=golden,
            virt_type=self.hypervisor.facts.virt_type,
            is_disk_readonly=True,
        )
        self.hypervisor.define(spec)

    def add_clone(self, name: str = "crab-1", *, golden: str = "base", **options: Any) -> CloneRecord:
        """Create a clone as a user does; it must succeed."""
        (result,) = create.create(self.fleet, CreateRequest(golden, name=name, **options))
        if result.error is not None:
            raise result.error
        return self.record(name)

    def record(self, name: str) -> CloneRecord:
        """The record of a clone."""
        record = self.hypervisor.get(name).record
        if not isinstance(record, CloneRecord):
            raise AssertionError(f"{name} is no clone")
        return record

    def guest(self, name: str) -> FakeGuest:
        """The running guest of a domain."""
        return self.hypervisor.guest(name)


def a_world(*, golden: str | None = "base", clones: tuple[str, ...] = (), **config: Any) -> World:
    """Make a host, with one golden and clones of it that are ready and warm."""
    world = World(**config)
    if golden is not None:
        world.add_golden(golden)
    for name in clones:
        world.add_clone(name, golden=golden or "base")
    return world


def a_fleet(*, golden: str | None = "base", clones: tuple[str, ...] = (), **config: Any) -> Fleet:
    """Make a fleet for a test that looks at nothing behind it."""
    return a_world(golden=golden, clones=clones, **config).fleet
