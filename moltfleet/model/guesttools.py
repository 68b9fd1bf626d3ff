"""The tools inside guests: what there is to install, what a clone was found to have, and what was proven of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from moltfleet.model.errors import MoltfleetError

SCHEMA = "moltfleet.guest-tools/1"


@dataclass(frozen=True, slots=True)
class ToolsArchive:
    """The tools as one tar file, the same bytes for the same files. ``version`` ends with the start of ``sha256``."""

    version: str
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True)
class ToolsReport:
    """What a guest says of the tools in it, made safe to print.

    ``changed`` and ``missing`` are files that are no longer as they were installed.
    """

    version: str
    changed: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_whole(self) -> bool:
        """Whether every file is there as it was installed."""
        return not self.changed and not self.missing


class Lack(StrEnum):
    """Why a guest cannot have the tools, or has none that could be asked."""

    SYSTEMD = "it does not run systemd"
    PYTHON = "it has no Python 3.10 or later"
    DAMAGED = "their installer is gone"


class ToolsState(StrEnum):
    """How a clone's tools compare with those of this program; ``UNFIT`` cannot have any."""

    CURRENT = "current"
    OUTDATED = "outdated"
    CHANGED = "changed"
    NONE = "none"
    UNFIT = "unfit"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at one guest found: a report, or what it lacks, or neither when it simply has no tools."""

    report: ToolsReport | None = None
    lack: Lack | None = None

    def state(self, version: str) -> ToolsState:
        """Compare with the tools of ``version``."""
        if self.report is None:
            return ToolsState.NONE if self.lack is None else _STATES[self.lack]
        if not self.report.is_whole:
            return ToolsState.CHANGED
        return ToolsState.CURRENT if self.report.version == version else ToolsState.OUTDATED


_STATES = {Lack.SYSTEMD: ToolsState.UNFIT, Lack.PYTHON: ToolsState.UNFIT, Lack.DAMAGED: ToolsState.CHANGED}


@dataclass(frozen=True, slots=True)
class ToolsView:
    """One clone's tools as ``tools status`` shows them; ``expected`` is the version of this program."""

    clone: str
    expected: str
    found: Found = Found()
    seconds: float = 0.0
    error: MoltfleetError | None = None

    @property
    def state(self) -> ToolsState:
        """How they compare; unknown when the guest could not be asked."""
        return ToolsState.UNKNOWN if self.error else self.found.state(self.expected)


@dataclass(frozen=True, slots=True)
class Proof:
    """One thing that was tried in a guest, and what happened."""

    name: str
    tried: str
    happened: str
    passed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class ProofResult:
    """All proofs of one clone, or why there are none; ``error`` also when one of them failed."""

    clone: str
    proofs: tuple[Proof, ...] = ()
    seconds: float = 0.0
    error: MoltfleetError | None = None


class Unproven(MoltfleetError):
    """A guest's tools do not do what they are there for."""

    code = "unproven"

    def __init__(self, clone: str, failed: tuple[Proof, ...], total: int) -> None:
        names = ", ".join(proof.name for proof in failed)
        super().__init__(
            f"Guest tools of {clone!r} failed {len(failed)} of {total} proofs: {names}",
            hint=f"See what differs: moltfleet tools status {clone}. Put it right: moltfleet tools install {clone}",
        )
