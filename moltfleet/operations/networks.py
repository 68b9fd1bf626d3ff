"""Which network a clone is attached to, and what is taken there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.model.errors import InvalidInput
from moltfleet.model.records import Attachment, BuildRecord, CloneRecord

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.operations.fleet import Fleet

_OWN = "moltfleet"


def choose(fleet: Fleet, wanted: str | None) -> tuple[str, str]:
    """Return (kind, name) for what was asked for, else configured. Raises: InvalidInput."""
    name = fleet.config.network if wanted is None else wanted
    if not name:
        raise InvalidInput("Name of the network is empty", hint="Example: --network default, or --network user.")
    is_session = fleet.hypervisor.host().is_session
    if name == "user" or (is_session and wanted is None):
        return "user", ""
    return ("moltfleet", name) if name == _OWN else ("libvirt", name)


def taken(domains: tuple[Domain, ...]) -> list[Attachment]:
    """Every attachment that a domain of ours holds."""
    return [d.record.attachment for d in domains if isinstance(d.record, CloneRecord | BuildRecord)]
