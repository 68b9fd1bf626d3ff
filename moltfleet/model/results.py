"""What operations give back, in the shape that tables and JSON are made from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moltfleet.model.errors import ExitCode, MoltfleetError

if TYPE_CHECKING:
    from moltfleet.model.domain import DomainState, Endpoint
    from moltfleet.model.health import Health, Level
    from moltfleet.model.logins import LoginsResult
    from moltfleet.model.records import Forced, Hold, SyncedLogins
    from moltfleet.model.rescue import RescueResult
    from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class CloneView:
    """A clone as ``list`` shows it. ``warm`` is "warm", "cold", "stale" or "none"; ``health`` one word.

    ``stale_reason`` says what changed since the clean point; empty unless it is stale. ``forced`` is the last time that
    it was brought up although the host had no room. ``hold`` is a wish that still holds. ``logins`` are those that it
    gets again after every molt.
    """

    name: str
    golden: str
    generation: int
    latest_generation: int | None
    state: DomainState
    endpoint: Endpoint | None
    memory: Size
    vcpus: int
    disk_allocation: Size
    warm: str
    health: str
    stale_reason: str = ""
    forced: Forced | None = None
    hold: Hold | None = None
    logins: SyncedLogins | None = None


@dataclass(frozen=True, slots=True)
class ActResult:
    """What became of one clone under a command. ``outcome`` is a past participle, "unchanged" or "failed"."""

    clone: str
    outcome: str
    detail: str = ""
    seconds: float = 0.0
    error: MoltfleetError | None = None


@dataclass(frozen=True, slots=True)
class MoltSeconds:
    """Where the time of a molt went, in seconds; ``total`` also holds what no phase names."""

    total: float = 0.0
    overlay: float = 0.0
    destroy: float = 0.0
    restore: float = 0.0
    ready: float = 0.0


@dataclass(frozen=True, slots=True)
class MoltResult:
    """One clone's molt. ``mode`` is "warm" or "cold"; ``reason`` says why it was cold or why it failed.

    ``rescue`` is None unless its work was to be rescued first, ``logins`` unless it is to keep some.
    """

    clone: str
    outcome: str
    mode: str
    reason: str = ""
    kept: str | None = None
    seconds: MoltSeconds = field(default_factory=MoltSeconds)
    error: MoltfleetError | None = None
    rescue: RescueResult | None = None
    logins: LoginsResult | None = None


@dataclass(frozen=True, slots=True)
class HealthResult:
    """How a clone is. ``verdict`` is the forecast's word; "down", "paused", "unknown" without ``health``."""

    clone: str
    verdict: str
    health: Health | None
    seconds: float = 0.0
    error: MoltfleetError | None = None

    @property
    def level(self) -> Level:
        """How much it matters; a clone that cannot be asked needs a look."""
        from moltfleet.model.health import Level

        return self.health.level if self.health else Level.WARN


@dataclass(frozen=True, slots=True)
class KeptView:
    """A layer that a molt kept under a name, and what it takes on the disk."""

    clone: str
    label: str
    kept_at: str
    allocation: Size


@dataclass(frozen=True, slots=True)
class GoldenView:
    """A golden as ``golden list`` shows it. ``clones`` stand on any of its generations, ``behind`` on an older one."""

    name: str
    profile: str
    source: str
    generation: int
    generations: tuple[int, ...]
    built_at: str
    allocation: Size
    clones: tuple[str, ...]
    behind: tuple[str, ...] = ()


def common_exit_code(errors: list[MoltfleetError], *, targets: int) -> ExitCode:
    """One target: its own code; several: the common one, else 1 (DESIGN §4)."""
    if not errors:
        return ExitCode.OK
    codes = {error.exit_code for error in errors}
    everyone = len(errors) == targets
    return codes.pop() if len(codes) == 1 and (targets == 1 or everyone) else ExitCode.FAILED
