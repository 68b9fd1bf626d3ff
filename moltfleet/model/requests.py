"""What a user asks of an operation, parsed and typed. None always means: as the golden or the config says."""

from __future__ import annotations

from dataclasses import dataclass, field

from moltfleet.model.recipe import CloudConfig, Renewal, Script
from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class AdmissionRequest:
    """What to do when the host has no room. ``force`` is the reason for going on all the same, None to be refused.

    ``wait_s`` is how long to wait for room, infinite for as long as it takes.
    """

    force: str | None = None
    wait_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CreateRequest:
    """Clones to make of ``golden``. Without ``name`` they are called GOLDEN-N, with ``count`` over 1 NAME-N.

    ``network`` is "moltfleet", "user" or a libvirt network's name; ``user_keys`` are public key lines that go in
    beside the fleet key, None for the configured ones.
    """

    golden: str
    name: str | None = None
    count: int = 1
    linked: bool = True
    memory: Size | None = None
    vcpus: int | None = None
    disk: Size | None = None
    start: bool = True
    warm: bool = True
    network: str | None = None
    user_keys: tuple[str, ...] | None = None
    admission: AdmissionRequest = AdmissionRequest()


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """A golden to build. ``image`` is a catalogue name, URL, local path or ``volume:NAME``.

    ``user_data``, ``scripts``, ``packages`` and the requirements come on top of the profile's, in the given order.
    ``tools`` None puts the guest tools in unless the profile is "none" or the guest cannot have them.
    ``allow_secrets`` publishes an image although credentials were found in it.
    """

    name: str
    image: str
    sha256: str | None = None
    profile: str | None = None
    user_data: tuple[CloudConfig, ...] = ()
    scripts: tuple[Script, ...] = ()
    packages: tuple[str, ...] = ()
    memory: Size | None = None
    vcpus: int | None = None
    disk: Size | None = None
    user: str | None = None
    required_commands: tuple[str, ...] = ()
    required_services: tuple[str, ...] = ()
    tools: bool | None = None
    allow_secrets: bool = False
    admission: AdmissionRequest = AdmissionRequest()


@dataclass(frozen=True, slots=True)
class UpdateRequest:
    """A golden whose next generation is to be made of its newest one: renewed, then with these on top."""

    name: str
    renewal: Renewal = field(default_factory=Renewal)
    user_data: tuple[CloudConfig, ...] = ()
    scripts: tuple[Script, ...] = ()
    allow_secrets: bool = False
    admission: AdmissionRequest = AdmissionRequest()


@dataclass(frozen=True, slots=True)
class StartRequest:
    """How to start several: one after the other, or ``jobs`` side by side without letting any settle.

    ``were_running`` leaves out clones that a command stopped, and those that run.
    """

    jobs: int | None = None
    were_running: bool = False
    admission: AdmissionRequest = AdmissionRequest()


@dataclass(frozen=True, slots=True)
class StopRequest:
    """How to stop: ``now`` cuts power at once; else the guest is asked, and power is cut after ``timeout_s``.

    ``timeout_s`` None is the configured ``timeouts.shutdown``.
    """

    now: bool = False
    timeout_s: float | None = None


# Stands for the newest generation, whatever its number is.
NEWEST = 0


@dataclass(frozen=True, slots=True)
class MoltRequest:
    """How to molt. ``cold`` boots instead of restoring RAM.

    ``keep`` names the replaced layer, "" lets moltfleet name it, None sheds it. ``jobs`` None is the configured
    number; ``wait_s`` is how long a clone's lock is waited for; ``discard_snapshots`` drops snapshots of other hands.
    ``rescue`` pulls the work out first; where that does not succeed in full, the layer is kept. ``to`` is the
    generation of its golden that a clone is to be on, or NEWEST.
    """

    cold: bool = False
    keep: str | None = None
    jobs: int | None = None
    wait_s: float = 0.0
    discard_snapshots: bool = False
    rescue: bool = False
    to: int | None = None
    admission: AdmissionRequest = AdmissionRequest()


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """Which clone: of a golden a new one, unless ``name`` or a part of it is given, or ``newest`` of those that run.

    ``golden`` "" is the configured one, or the only one there is. ``display`` says that it has to have a screen.
    """

    name: str | None = None
    newest: bool = False
    golden: str = ""
    display: bool = False
    admission: AdmissionRequest = AdmissionRequest()
