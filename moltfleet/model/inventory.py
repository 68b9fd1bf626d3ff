"""Clones as other programs take stock of them: where each is logged in to, and what it may be chosen by."""

from __future__ import annotations

from dataclasses import dataclass

from moltfleet.model.domain import DomainState, Endpoint
from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class InventoryHost:
    """A clone. ``login.host`` is empty where no address is known."""

    login: Endpoint
    golden: str
    generation: int
    state: DomainState
    memory: Size
    vcpus: int
