"""Domains that somebody else made, as they are looked at before they become ours, and the port that changes hands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from moltfleet.model.domain import DomainState
    from moltfleet.model.layerhead import LayerHead
    from moltfleet.model.records import CloneRecord, GoldenRecord, Origin


@dataclass(frozen=True, slots=True)
class ForeignDisk:
    """A hard disk of a domain's definition; ``path`` is None when it is no plain file."""

    target: str
    bus: str
    format: str
    path: str | None
    is_readonly: bool = False


@dataclass(frozen=True, slots=True)
class ForeignCard:
    """The first network card; ``network`` is a libvirt network's or a bridge's name, empty for anything else."""

    mac: str
    network: str


@dataclass(frozen=True, slots=True)
class Foreign:
    """What a domain that is not ours is made of. ``disks`` are hard disks only, in their order."""

    name: str
    uuid: str
    state: DomainState
    memory: int
    vcpus: int
    disks: tuple[ForeignDisk, ...]
    card: ForeignCard | None
    snapshots: tuple[str, ...] = ()
    is_persistent: bool = True
    has_managed_save: bool = False
    has_agent: bool = False
    has_graphics: bool = False
    is_uefi: bool = False
    has_tpm: bool = False


class Takeover(Protocol):
    """Other people's domains and files: looked at, taken in, given back. Nothing is ever copied or deleted."""

    def look(self, name: str) -> Foreign:
        """Describe a domain. Raises: NotFound."""

    def head(self, path: str) -> LayerHead | None:
        """The head of a file that some active pool of libvirt has; None where none has it.

        Raises: InvalidInput when it is no qcow2.
        """

    def is_same_file(self, one: str, other: str) -> bool:
        """Whether two paths are one file of this machine; False where that cannot be seen."""

    def is_on_file_system_of(self, path: str, directory: str) -> bool | None:
        """Whether a file could be hard-linked below a directory; None where that cannot be seen."""

    def take(self, name: str, record: CloneRecord | GoldenRecord, *, disk: str) -> None:
        """Make a stopped domain ours in one step: the record, the first disk at ``disk``, what its origin says.

        Raises: WrongState when it runs, or is somebody's of ours already.
        """

    def give_back(self, name: str, origin: Origin, *, disk: str) -> None:
        """Make a stopped domain of ours foreign again in one step, with its first disk at ``disk``."""
