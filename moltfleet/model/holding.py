"""Until when a clone is held: what a person types, as a moment. Local time, as on that person's clock; no I/O."""

from __future__ import annotations

import datetime
import re

from moltfleet.model.errors import InvalidInput
from moltfleet.model.names import printable

_LENGTH = re.compile(r"(\d{1,5}(?:\.\d)?)\s*(m|min|h|d)")
_SECONDS = {"m": 60, "min": 60, "h": 3600, "d": 86_400}
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
# Longer than that nobody remembers why; molting a clone by itself can also be switched off.
LONGEST_S = 90 * 86_400.0
_EXAMPLES = "Example: 90m, 8h, 2d, 18:00, 2026-11-23, or 2026-11-23T18:00."


def parse_until(text: str, now: float) -> float:
    """Return the moment, in seconds since the epoch, that ``text`` means at ``now``.

    A length of time from now, the next time that a clock shows, or a date (its end) with or without a time.
    Raises: InvalidInput for what is none, is past, or is further away than 90 days.
    """
    moment = _read(text.strip(), now)
    if moment is None:
        raise InvalidInput(f"Time {printable(text, limit=40)!r} is not understood", hint=_EXAMPLES)
    if moment <= now:
        raise InvalidInput(f"Time {printable(text, limit=40)!r} is past", hint=_EXAMPLES)
    if moment > now + LONGEST_S:
        raise InvalidInput(f"Time {printable(text, limit=40)!r} is more than 90 days away", hint=_EXAMPLES)
    return moment


def _read(text: str, now: float) -> float | None:
    length, clock = _LENGTH.fullmatch(text), _CLOCK.fullmatch(text)
    if length:
        return now + float(length[1]) * _SECONDS[length[2]]
    here = datetime.datetime.fromtimestamp(now)
    if clock:
        today = here.replace(hour=int(clock[1]), minute=int(clock[2]), second=0, microsecond=0)
        return (today if today > here else today + datetime.timedelta(days=1)).timestamp()
    try:
        if len(text) == len("2026-11-23"):
            return (datetime.datetime.fromisoformat(text) + datetime.timedelta(days=1)).timestamp()
        return datetime.datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
