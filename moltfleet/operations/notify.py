"""Tell whoever wants to be told; that nobody could be told is a warning, and fails nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError
from moltfleet.operations.deadlines import timestamp

if TYPE_CHECKING:
    from moltfleet.model.events import Event
    from moltfleet.operations.fleet import Fleet


def tell(fleet: Fleet, event: Event) -> None:
    """Call out on an event, if that is configured."""
    try:
        fleet.notifier.tell(event, at=timestamp(fleet.clock))
    except MoltfleetError as error:
        fleet.progress.warn(
            f"Nobody was told that {_lower(event.text)}: {error.brief}", hint="See notify in the config."
        )


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
