"""Count molts for the metrics; a tally that cannot be written is no reason for a molt to fail."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from moltfleet.model.errors import Busy, MoltfleetError
from moltfleet.operations.deadlines import timestamp

if TYPE_CHECKING:
    from moltfleet.model.results import MoltResult
    from moltfleet.operations.fleet import Fleet

_LOG = logging.getLogger(__name__)


def counted(fleet: Fleet, result: MoltResult) -> MoltResult:
    """Count a molt that was tried, and return its result; a clone that another command works on was not tried."""
    if not isinstance(result.error, Busy):
        try:
            fleet.chronicle.molted(result, at=timestamp(fleet.clock))
        except MoltfleetError as error:
            _LOG.warning("a molt of %s is not counted: %s", result.clone, error.brief)
    return result
