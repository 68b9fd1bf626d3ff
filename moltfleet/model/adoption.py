"""What adopting comes to, for one domain after the other: what would be done or was, or why it cannot be."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moltfleet.model.errors import MoltfleetError
    from moltfleet.model.takeover import Foreign


class Kind(StrEnum):
    """What a domain becomes, or was."""

    GOLDEN = "golden"
    CLONE = "clone"


@dataclass(frozen=True, slots=True)
class AdoptRequest:
    """``names`` are golden VMs; none means all that looks like one. ``user`` is who guests are logged in to as.

    ``warm`` says what kind of clean point the first start of an adopted clone takes.
    """

    names: tuple[str, ...] = ()
    user: str = "agent"
    warm: bool = True


@dataclass(frozen=True, slots=True)
class AdoptStep:
    """One domain that can be adopted. ``layers`` are its volumes of our pool, the lowest first.

    A clone stands on ``base``, a volume of ``golden``; an empty one means that it has its whole disk to itself.
    """

    kind: Kind
    foreign: Foreign
    golden: str
    layers: tuple[str, ...]
    base: str = ""
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The domain's."""
        return self.foreign.name

    @property
    def disk(self) -> str:
        """The path that its first disk has now."""
        return self.foreign.disks[0].path or ""


@dataclass(frozen=True, slots=True)
class Adoptee:
    """A row of the result.

    ``outcome`` is "adoptable", "adopted", "unchanged", "refused" or "failed"; "returnable", "returned" back.
    ``commands`` are for a person to run, in their order, before another try; ``left`` are volumes that stay behind.
    """

    name: str
    kind: Kind
    golden: str
    outcome: str
    volume: str = ""
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] = ()
    left: tuple[str, ...] = ()
    error: MoltfleetError | None = None
