"""What operations need from the world, as Protocols; adapters implement them and fakes stand in for them.

Every method may raise a :class:`~moltfleet.model.errors.MoltfleetError`; none raises a foreign library's error.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from moltfleet.model.events import Notifier as Notifier
from moltfleet.model.guestports import Guests as Guests
from moltfleet.model.guestports import GuestSession as GuestSession
from moltfleet.model.guestports import OnBytes as OnBytes
from moltfleet.model.guestports import OnSkip as OnSkip
from moltfleet.model.recipe import HostKeyPair as HostKeyPair
from moltfleet.model.samples import Samples as Samples

if TYPE_CHECKING:
    from moltfleet.model.domain import CommandResult, Domain, DomainSpec, HostFacts
    from moltfleet.model.load import DomainUse, HostLoad, Reservation, Wanted
    from moltfleet.model.publickeys import KnownKey
    from moltfleet.model.recipe import CloudConfig, GuestIdentity, Profile
    from moltfleet.model.records import Attachment, Record
    from moltfleet.model.size import Size
    from moltfleet.model.vitals import Vitals
    from moltfleet.model.volumes import Volume


class Clock(Protocol):
    """Time, injectable."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def now(self) -> float:
        """Seconds since the epoch."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class Step(Protocol):
    """One visible step of an operation while it runs."""

    def detail(self, text: str) -> None:
        """Say what exactly is being waited for."""

    def advance(self, done: float, total: float) -> None:
        """Say how far it is, in any unit."""


class Progress(Protocol):
    """What a person sees while waiting."""

    def step(self, title: str, *, timeout_s: float | None = None) -> AbstractContextManager[Step]:
        """Show ``title`` until the context ends, with its duration or its deadline."""

    def warn(self, text: str, *, hint: str | None = None) -> None:
        """Say once that something went on despite a flaw."""

    def say(self, text: str) -> None:
        """Say a line that is not a result (what was repaired, what was chosen)."""


class Storage(Protocol):
    """Our storage pool. All names are volume names in it."""

    def volumes(self) -> tuple[Volume, ...]:
        """All volumes, as far as libvirt knows them."""

    def refresh(self) -> None:
        """Make libvirt look at the directory again; retried while a build runs."""

    def find(self, name: str) -> Volume | None:
        """Look one volume up, after a refresh when it is unknown."""

    def get(self, name: str) -> Volume:
        """As :meth:`find`. Raises: NotFound."""

    def path_of(self, name: str) -> str:
        """The path a volume of this name has or would have."""

    def create_overlay(self, name: str, *, backing: str, capacity: Size | None = None) -> Volume:
        """Create a qcow2 overlay (compat 1.1) on ``backing``.

        Raises: AlreadyExists, NoSpace, InvalidInput when it would be smaller.
        """

    def create_empty(self, name: str, *, capacity: Size, format: str, private: bool = False) -> Volume:
        """Create a volume; ``private`` gives mode 0600. Raises: AlreadyExists, NoSpace."""

    def upload(self, name: str, source: BinaryIO, *, length: int, on_bytes: OnBytes | None = None) -> None:
        """Fill a volume through a stream."""

    def read(self, name: str, *, limit: int) -> bytes:
        """Read a small volume's content up to ``limit`` bytes."""

    def copy_flat(
        self, source: str, target: str, *, capacity: Size | None = None, on_bytes: OnBytes | None = None
    ) -> Volume:
        """Copy ``source`` with its whole backing chain into one standalone qcow2 volume, enlarged to ``capacity``."""

    def delete(self, name: str, *, owner: str | None = None) -> bool:
        """Delete a volume that nothing stands on; False when it was already gone.

        The one deletion guard (DESIGN D1): refuses while a volume stands on it, or a domain names it on a running
        disk, in its definition or in its record. What domain ``owner`` merely defines or records does not count.
        Raises: InUse.
        """

    def find_free_space(self) -> Size | None:
        """What the pool's file system has for QEMU now; None where there is no running pool, and none is made."""

    def find_size(self) -> Size | None:
        """What the pool's file system holds in all; None where there is no running pool."""


class Hypervisor(Protocol):
    """Domains, host facts and save images."""

    def host(self) -> HostFacts:
        """What the host is."""

    def domains(self) -> tuple[Domain, ...]:
        """All domains, ours and foreign, without waiting behind a running job; as defined, whatever runs.

        ``active_memory`` and ``active_disk`` are None: :meth:`get` tells them of one domain.
        """

    def memory_use(self) -> tuple[DomainUse, ...]:
        """What every active domain was promised and takes, ours and foreign ones, without waiting behind a job."""

    def vitals(self, *, timeout_s: float) -> tuple[Vitals, ...]:
        """What every domain does and uses, running or not, without waiting behind a job.

        Raises: DeadlinePassed, as a QEMU that hangs keeps the answer about all of them.
        """

    def find(self, name: str) -> Domain | None:
        """Look one domain up."""

    def get(self, name: str) -> Domain:
        """As :meth:`find`. Raises: NotFound."""

    def define(self, spec: DomainSpec) -> None:
        """Define a new domain. Raises: AlreadyExists."""

    def write_record(self, name: str, record: Record) -> None:
        """Replace our metadata in the persistent configuration."""

    def set_disk(self, name: str, volume: str) -> None:
        """Point the inactive definition's first disk at ``volume``, every backingStore removed (D5a)."""

    def start(self, name: str) -> None:
        """Cold start; a managed-save image is removed first."""

    def destroy(self, name: str) -> None:
        """Cut power; a stopped domain is fine."""

    def suspend(self, name: str) -> None:
        """Stop a running domain's processors; it keeps everything. Raises: WrongState when it does not run."""

    def resume(self, name: str) -> None:
        """Let a paused domain go on. Raises: WrongState when there is nothing to resume."""

    def request_shutdown(self, name: str) -> str:
        """Ask the guest to power off, by agent, else ACPI; returns which ("agent", "acpi")."""

    def undefine(self, name: str) -> None:
        """Remove the definition with managed save, NVRAM and snapshot metadata."""

    def save(self, name: str, ram: str) -> None:
        """Save RAM and device state into the new volume ``ram``; the domain ends shut off."""

    def restore(self, name: str, ram: str, *, disk: str, record: Record) -> None:
        """Restore ``ram`` with the first disk on ``disk`` and the current record; managed save is removed first."""

    def freeze_disk(self, name: str, overlay: str) -> None:
        """Let a running domain go on from the existing ``overlay``, file systems quiesced, no libvirt snapshot left."""

    def live_chain(self, name: str) -> tuple[str, ...]:
        """Paths of the running domain's first disk, active image first, base last."""

    def fingerprint(self, name: str) -> str:
        """What must be equal for a saved state to be restored, as stable JSON text (D6)."""

    def fingerprints(self, names: Collection[str]) -> Mapping[str, str]:
        """As :meth:`fingerprint` of many at once; those that do not exist are left out."""

    def snapshot_names(self, name: str) -> tuple[str, ...]:
        """Snapshots that somebody made of the domain."""

    def discard_snapshots(self, name: str) -> None:
        """Drop the metadata of all snapshots."""

    def addresses(self, name: str) -> tuple[str, ...]:
        """IPv4 addresses by DHCP lease, then by agent."""

    def agent_answers(self, name: str) -> bool:
        """Whether the guest agent answers right now."""

    def agent_run(
        self, name: str, argv: Sequence[str], *, input: bytes = b"", timeout_s: float, limit: int = 65536
    ) -> CommandResult:
        """Run a program by guest agent. Raises: GuestUnreachable, DeadlinePassed."""

    def agent_clock(self, name: str) -> float:
        """The guest's clock, in seconds since the epoch, by guest agent. Raises: GuestUnreachable."""

    def authorize_key(self, name: str, user: str, public_key: str) -> None:
        """Add a public SSH key for a guest user by guest agent. Raises: GuestUnreachable."""


class Meter(Protocol):
    """The memory of the hypervisor's host."""

    def measure(self) -> HostLoad:
        """Read it now; changes nothing."""

    def remember(self) -> None:
        """Keep what later readings are compared with; for commands that change things anyway."""

    def peaks(self) -> Mapping[str, Size]:
        """The most that each active domain's QEMU has taken since it was started, by name, where that can be seen."""


class Networks(Protocol):
    """Where clones are attached."""

    def attach(self, kind: str, name: str, *, taken: Sequence[Attachment]) -> Attachment:
        """Choose a slot (MAC, address, port) that is not in ``taken``; defines our network on first use.

        Raises: NoCapacity when all addresses are taken, NotFound for an unknown libvirt network.
        """


@dataclass(frozen=True, slots=True)
class HeldLock:
    """A lock that somebody holds. ``since`` is in seconds since the epoch; ``note`` is what its holder has to say."""

    user: str
    pid: int
    verb: str
    since: float
    note: str


class Locks(Protocol):
    """Locks that every user of the same libvirt sees; they die with their process."""

    def hold(self, name: str, *, verb: str, wait_s: float = 0.0, note: str = "") -> AbstractContextManager[None]:
        """Hold lock ``name``; ``note``, up to 2000 characters, is for all to read as long as it is held.

        Raises: Busy, which names the holder and what it does.
        """

    def is_held(self, name: str) -> bool:
        """Whether somebody (another process or thread) holds it now."""

    def held(self, prefix: str) -> tuple[HeldLock, ...]:
        """All locks that somebody holds now whose name begins with ``prefix``, this process's own too.

        What has been written into one may be anything: everybody who may lock may write it.
        """


class Reservations(Protocol):
    """Memory and disk kept for domains that are about to run; every user of the same libvirt sees them.

    A reservation dies with its process.
    """

    def current(self) -> tuple[Reservation, ...]:
        """All that is kept now, by this process too."""

    def is_mine(self, name: str) -> bool:
        """Whether this process keeps room for domain ``name``."""

    def hold(self, wanted: Wanted, *, check: Callable[[tuple[Reservation, ...]], None]) -> AbstractContextManager[None]:
        """Keep what is wanted, if ``check``, given all that is kept, does not raise; nobody else checks meanwhile.

        Raises: what ``check`` raises; Busy when other checks take too long.
        """


class Keys(Protocol):
    """Keys on this machine."""

    def fleet_public_key(self) -> str:
        """The public line of the fleet key, made on first use."""

    def user_public_keys(self) -> tuple[str, ...]:
        """The user's own public keys that go into clones beside the fleet key, remembered ones among them."""

    def known(self) -> tuple[KnownKey, ...]:
        """All keys that new clones get, the fleet key first."""

    def check(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Return public key lines, each key once. Raises: InvalidInput when one is none."""

    def remember(self, lines: Iterable[str]) -> tuple[KnownKey, ...]:
        """Have every later clone get these keys, too; returns those that are new. Raises: InvalidInput, ToolFailed."""

    def find_remembered(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        """Remembered keys by how their fingerprints begin. Raises: NotFound, InvalidInput for an unclear one."""

    def forget(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        """Remember them no longer; returns them. Raises: as find_remembered, ToolFailed."""

    def new_host_key(self) -> HostKeyPair:
        """Generate an Ed25519 host key for a guest."""


@dataclass(frozen=True, slots=True)
class SeedSpec:
    """What a NoCloud seed says to the guest whose first network card has ``mac``.

    ``documents`` are merged in order, a later one winning over an earlier one and over what the identity asks for.
    ``is_clone`` leaves out the slow first-boot work that the golden has already done.
    """

    instance_id: str
    hostname: str
    mac: str
    identity: GuestIdentity
    documents: tuple[CloudConfig, ...] = ()
    is_clone: bool = False


class Seeds(Protocol):
    """NoCloud seed images."""

    def build(self, spec: SeedSpec) -> bytes:
        """Return an ISO 9660 image labelled ``cidata``; it holds a private key.

        The same specification gives the same bytes. Raises: InvalidInput, which names the document, line and column.
        """


@dataclass(frozen=True, slots=True)
class SourceImage:
    """A base image on this machine. ``format`` is detected from the content; ``origin`` says where it is from."""

    path: Path
    format: str
    virtual_size: Size
    sha256: str
    origin: str
    verified_by: str


class Images(Protocol):
    """Base images by catalogue name, URL or path."""

    def fetch(self, source: str, *, sha256: str | None = None) -> SourceImage:
        """Bring ``source`` onto this machine, verified and cached.

        Raises: NotFound, InvalidInput (not a disk image, truncated), ChecksumMismatch, ToolFailed (download).
        """


class Bootstrap(Protocol):
    """What is put into guests: the scripts and programs of ``bootstrap/``."""

    def names(self) -> tuple[str, ...]:
        """All files, by their path below ``bootstrap/``."""

    def read(self, name: str) -> bytes:
        """The content of one file, by its path below ``bootstrap/``."""

    def tree(self, folder: str) -> Mapping[str, bytes]:
        """The content of every file below ``bootstrap/FOLDER``, by its path there, links followed."""


class Profiles(Protocol):
    """The profiles of ``cloud-init/``."""

    def names(self) -> tuple[str, ...]:
        """What there is."""

    def get(self, name: str) -> Profile:
        """Read one profile with its fragments. Raises: NotFound, with what there is."""
