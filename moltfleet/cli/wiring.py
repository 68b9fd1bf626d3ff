"""Where operations meet adapters: the only module that knows both."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.ports import Progress
    from moltfleet.operations.fleet import Fleet


def build_fleet(config: Config, uri: str, progress: Progress) -> Fleet:
    """Connect the ports of one run."""
    raise NotImplementedError
