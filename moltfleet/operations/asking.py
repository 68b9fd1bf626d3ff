"""Ask many guests at once how they are, in bounded time: who does not answer keeps nobody else waiting for long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError, NotFound
from moltfleet.operations import measuring
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import Deadline
from moltfleet.operations.health import ask
from moltfleet.operations.parallel import each

if TYPE_CHECKING:
    from moltfleet.model.health import Health
    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.fleet import Fleet

# Asking is waiting: for the guest far more than for this machine.
_SIDE_BY_SIDE = 8
# What all of them may take together, as a multiple of what one may.
_ALL_TOGETHER = 6


@dataclass(frozen=True, slots=True)
class Answer:
    """What a guest said, or in ``silence`` why it said nothing; ``answered`` when it was there, but cannot tell."""

    health: Health | None
    silence: str = ""
    answered: bool = False


def ask_guests(fleet: Fleet, clones: Mapping[str, CloneRecord]) -> dict[str, Answer]:
    """Ask running clones; one that the time was too short for is left out."""
    limit_s = fleet.config.policy.guest_seconds
    if measuring.is_emulated(fleet):
        limit_s *= fleet.config.emulation_factor
    end = Deadline.after(fleet.clock, _ALL_TOGETHER * limit_s)

    def act(name: str) -> Answer | None:
        return None if end.has_passed else _ask_one(fleet, name, clones[name], limit_s)

    names = sorted(clones)
    answers = each(names, act, jobs=max(fleet.config.jobs, _SIDE_BY_SIDE))
    return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}


def _ask_one(fleet: Fleet, name: str, clone: CloneRecord, limit_s: float) -> Answer:
    if clone.attachment.kind == "none":
        return Answer(None, "it has no network")
    try:
        where = find_endpoint(fleet, name, clone)
        return Answer(None, "it has no address yet") if where is None else Answer(ask(fleet, where, limit_s=limit_s))
    except NotFound as error:
        return Answer(None, _plain(error), answered=True)
    except MoltfleetError as error:
        return Answer(None, _plain(error))


def _plain(error: MoltfleetError) -> str:
    """Return an error's brief as the middle of a sentence."""
    return error.brief[0].lower() + error.brief[1:]
