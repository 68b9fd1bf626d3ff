"""Domains as libvirt tells them, and the specification that one is defined from."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model.records import Attachment, BuildRecord, CloneRecord, GoldenRecord, Record
from moltfleet.model.size import Size


class DomainState(StrEnum):
    """libvirt's virDomainState, without the states that QEMU never shows."""

    RUNNING = "running"
    BLOCKED = "blocked"
    PAUSED = "paused"
    SHUTTING_DOWN = "shutting down"
    SHUT_OFF = "shut off"
    CRASHED = "crashed"
    SUSPENDED = "pm-suspended"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Domain:
    """One domain. ``active_disk`` and ``inactive_disk`` are source paths of the first disk, None when there is none.

    ``memory`` is that of its definition, ``active_memory`` that of the QEMU process, None when there is none.

    ``record`` is None for a foreign domain, which is never changed; so it is for one of ours whose record cannot be
    read, whose role ("clone", "golden", "build") is ``unreadable`` then.
    """

    name: str
    uuid: str
    state: DomainState
    memory: Size
    vcpus: int
    record: Record | None
    active_memory: Size | None = None
    active_disk: str | None = None
    inactive_disk: str | None = None
    unreadable: str | None = None

    @property
    def is_active(self) -> bool:
        """Whether a QEMU process stands behind it."""
        return self.state not in (DomainState.SHUT_OFF, DomainState.CRASHED, DomainState.UNKNOWN)

    @property
    def is_clone(self) -> bool:
        """Whether it is a clone of ours that users see."""
        return isinstance(self.record, CloneRecord) and not self.record.probe

    @property
    def is_golden(self) -> bool:
        """Whether it is a golden of ours."""
        return isinstance(self.record, GoldenRecord)

    @property
    def is_scratch(self) -> bool:
        """Whether it exists only while a golden is built."""
        return isinstance(self.record, BuildRecord) or (isinstance(self.record, CloneRecord) and self.record.probe)


class VirtType(StrEnum):
    """libvirt's domain type."""

    KVM = "kvm"
    QEMU = "qemu"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """The hypervisor host. ``memory_origin`` says where the figure is from; versions are libvirt's integers.

    ``name`` is what the host calls itself; empty when it does not. ``memory_note`` says that libvirt tells another
    amount; empty when it does not. ``boot_id`` is of this machine's present boot; empty for another machine.
    """

    uri: str
    is_local: bool
    is_session: bool
    virt_type: VirtType
    virt_reason: str
    libvirt_version: int
    qemu_version: int
    memory: Size
    memory_origin: str
    cpus: int
    name: str = ""
    memory_note: str = ""
    boot_id: str = ""


@dataclass(frozen=True, slots=True)
class DomainSpec:
    """Everything that our domain XML is made from. ``disk`` and ``seed`` are volume names of our pool.

    ``firmware`` is "efi" where the image needs that to boot; libvirt chooses the files, and each domain has its own
    variables.
    """

    name: str
    uuid: str
    title: str
    description: str
    memory: Size
    vcpus: int
    disk: str
    attachment: Attachment
    record: Record
    virt_type: VirtType
    seed: str | None = None
    is_disk_readonly: bool = False
    desktop: bool = False
    firmware: str | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A finished command in a guest. Output is bounded by the caller's limit and still raw bytes."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, for parsing; not safe for a terminal."""
        return self.stdout.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and as whom a guest is logged in to, and the host keys it must show (each "type base64")."""

    name: str
    host: str
    port: int
    user: str
    host_keys: tuple[str, ...]
