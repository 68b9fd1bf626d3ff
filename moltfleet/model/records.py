"""What moltfleet writes into a domain's metadata: the only state there is beside libvirt's own (DESIGN D2).

A record lists every volume that belongs to its domain, so that each file of the pool is explained by somebody.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum

from moltfleet.model.volumes import Stamp

# Goes up with every change that an older program would lose by reading a record and writing it back.
VERSION = 1


class Phase(StrEnum):
    """How far a clone has come."""

    CREATING = "creating"
    DEFINED = "defined"
    READY = "ready"


class Verb(StrEnum):
    """An operation that leaves a journal entry while it runs."""

    CLEAN = "clean"
    MOLT = "molt"
    MOVE = "move"
    SNAPSHOT = "snapshot"
    UNDO = "undo"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Pending:
    """The journal of an unfinished operation.

    ``target`` is the new top layer, ``source`` the one before it; ``leftovers`` are targets of failed attempts, or the
    RAM image that is being made. ``nonce`` is what a guest is told whose timers are stopped for a save.
    ``drops_source`` says that nobody ever worked on ``source``. ``host_boot`` is the boot id of a local host.
    ``generation`` and ``golden_volume`` are where a move goes to.
    """

    verb: Verb
    target: str
    source: str
    started_at: str
    keep: str | None = None
    leftovers: tuple[str, ...] = ()
    nonce: str | None = None
    drops_source: bool = False
    host_boot: str | None = None
    generation: int = 0
    golden_volume: str = ""


@dataclass(frozen=True, slots=True)
class CleanPoint:
    """The frozen state that a molt goes back to. ``stamps`` are all frozen layers above the golden, top first.

    ``booted`` says that the top layer holds nothing but a boot, made to have RAM to save, and may be made anew.
    ``ram`` is None for a cold clean point; ``fingerprint`` is the text that must still hold for a restore (D6).
    """

    stamps: tuple[Stamp, ...]
    taken_at: str
    ram: str | None = None
    ram_generation: int = 0
    fingerprint: str | None = None
    nonce: str | None = None
    boot_id: str | None = None
    failures: int = 0
    booted: bool = False

    @property
    def volume(self) -> str:
        """The layer that overlays are made on."""
        return self.stamps[0].volume

    def stale_reason(self, now: str) -> str:
        """What changed that a restore would stumble over, given the fingerprint of now; empty when nothing did (D6)."""
        try:
            then_parts, now_parts = json.loads(self.fingerprint or "{}"), json.loads(now)
        except ValueError:
            return "its fingerprint cannot be read"
        changed = sorted(key for key in now_parts if then_parts.get(key) != now_parts[key])
        return f"changed since the clean point: {', '.join(changed)}" if changed else ""


@dataclass(frozen=True, slots=True)
class Layer:
    """A replaced overlay that still has its data: shed (``label`` None) or kept under a name."""

    volume: str
    replaced_at: str
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A frozen layer that people can go back to by its name; it stays through molts."""

    name: str
    taken_at: str
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class Attachment:
    """How a clone is attached to a network.

    ``kind`` is "moltfleet", "libvirt" or "user"; ``name`` the libvirt network (empty for "user").
    ``address`` is known beforehand only on our own network; ``ssh_port`` is the forwarded loopback port of "user".
    """

    kind: str
    name: str
    mac: str
    address: str | None = None
    ssh_port: int = 22


@dataclass(frozen=True, slots=True)
class Forced:
    """The last time that a clone was brought up although the host had no room: why, by whom, past which rules."""

    reason: str
    by: str
    at: str
    rules: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """A wish that a clone is not molted by itself: until when (UTC, ISO 8601), whose, and why ("" if not said)."""

    until: str
    by: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """What an adopted domain was before, for the way back. ``disk`` is the path of its first disk then.

    ``channel`` says that it got the guest agent's channel, ``readonly`` that its disk was made read-only;
    ``generations`` is how many a golden came with.
    """

    disk: str
    channel: bool = False
    readonly: bool = False
    generations: int = 0


@dataclass(frozen=True, slots=True)
class SyncedLogins:
    """Logins that a clone gets again after every molt, by name; contents are never recorded.

    ``by`` (user@host) is whose they are; ``layers`` are those that have held any, which no clean point may be made of.
    """

    names: tuple[str, ...]
    by: str
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CloneRecord:
    """A clone. ``host_keys`` are the public SSH host keys, one "type base64" each; ``top`` is the writable layer.

    ``trash`` are volumes that are no longer needed and still have to go; ``wants_ram`` says whether the clean point of
    the first start is to be warm; ``probe`` marks a clone that only proves that its golden is sealed. ``stopped`` says
    that a command stopped it: one that is off without that was running when the host, or QEMU, went down.
    ``paused`` is the life (see vitals) in which this program paused it because it filled the pool. ``bases`` are
    volumes of the golden that shed and kept layers may stand on, beside the one of its clean point. ``adopted`` is
    what a domain was that somebody else made: its host keys are learnt at its first start.
    ``logins`` is None unless it has had some; ``keys`` are public SSH keys, whole lines, let in again after every molt.
    ``alone`` are layers of a linked clone that stand on no other, as flattening makes them.
    """

    golden: str
    generation: int
    golden_volume: str
    phase: Phase
    linked: bool
    user: str
    attachment: Attachment
    instance_id: str
    host_keys: tuple[str, ...]
    seed: str
    top: str
    created_at: str
    next_number: int = 1
    clean: CleanPoint | None = None
    shed: Layer | None = None
    kept: tuple[Layer, ...] = ()
    pending: Pending | None = None
    trash: tuple[str, ...] = ()
    wants_ram: bool = True
    probe: bool = False
    stopped: bool = False
    forced: Forced | None = None
    hold: Hold | None = None
    paused: str | None = None
    bases: tuple[str, ...] = ()
    adopted: Origin | None = None
    logins: SyncedLogins | None = None
    keys: tuple[str, ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    alone: tuple[str, ...] = ()
    version: int = VERSION

    def volumes(self) -> frozenset[str]:
        """Every volume that is this clone's own: layers, seed, RAM image, and what an unfinished act may have made."""
        own = {self.seed, self.top, *self.trash}
        if self.clean:
            own |= {stamp.volume for stamp in self.clean.stamps} | ({self.clean.ram} if self.clean.ram else set())
        if self.shed:
            own.add(self.shed.volume)
        own |= {layer.volume for layer in self.kept} | {snapshot.stamp.volume for snapshot in self.snapshots}
        if self.pending:
            own |= {self.pending.target, self.pending.source, *self.pending.leftovers}
        return frozenset(own - {self.golden_volume, *self.bases, ""})

    def frozen(self) -> tuple[Stamp, ...]:
        """All layers of which it is known what they looked like when they were frozen."""
        clean = self.clean.stamps if self.clean else ()
        return (*clean, *(snapshot.stamp for snapshot in self.snapshots))


@dataclass(frozen=True, slots=True)
class Generation:
    """A published, sealed image of a golden. Sizes are bytes; ``idle_memory`` is what the guest used when idle.

    An adopted one has no ``manifest`` (empty), as nobody proved it sealed.
    """

    number: int
    volume: str
    manifest: str
    built_at: str
    capacity: int
    idle_memory: int
    stamp: Stamp


@dataclass(frozen=True, slots=True)
class GoldenRecord:
    """A golden and its generations, oldest first; the defaults apply to its clones.

    ``going`` are generations that nobody is to use any more, whose volumes still have to go.
    ``firmware`` is "efi" where the image needs that to boot. ``adopted`` is what it was when somebody else had made it.
    """

    profile: str
    source: str
    user: str
    memory: int
    vcpus: int
    disk: int
    generations: tuple[Generation, ...]
    desktop: bool = False
    deleting: bool = False
    going: tuple[Generation, ...] = ()
    firmware: str | None = None
    adopted: Origin | None = None
    version: int = VERSION

    @property
    def latest(self) -> Generation:
        """The generation that new clones stand on."""
        return self.generations[-1]

    def volumes(self) -> frozenset[str]:
        """Every volume that is this golden's own."""
        return frozenset(v for g in (*self.generations, *self.going) for v in (g.volume, g.manifest) if v)


@dataclass(frozen=True, slots=True)
class BuildRecord:
    """A golden build under way: a scratch domain that the next build, or any changing command, may take away."""

    golden: str
    attachment: Attachment
    host_keys: tuple[str, ...]
    started_at: str
    scratch: tuple[str, ...] = field(default=())
    version: int = VERSION

    def volumes(self) -> frozenset[str]:
        """Every volume that goes with the scratch domain."""
        return frozenset(self.scratch)


Record = CloneRecord | GoldenRecord | BuildRecord
