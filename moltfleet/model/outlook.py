"""Where the memory of running clones is heading, as their guests tell it; what they do not tell is not guessed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from moltfleet.model.forecast import Verdict
from moltfleet.model.report import Finding, Level
from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class Forecast:
    """The memory of a clone, or of one ``agent`` in it, which grows. ``verdict`` is the forecast's word.

    It is used up, at ``total``, in so many ``seconds``; None when that cannot be told.
    """

    clone: str
    agent: str
    verdict: Verdict
    used: Size
    total: Size
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Outlook:
    """What clones told that were asked: forecasts, the soonest end first. ``steady`` do not grow, ``silent`` told none.

    ``silent`` are those that could not be asked as well.
    """

    forecasts: tuple[Forecast, ...] = ()
    steady: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()


_ABOUT: tuple[tuple[Verdict, Level, str, str], ...] = (
    (Verdict.CRITICAL, Level.CRITICAL, "Memory of clones is about to be used up", "Save their work, and molt them."),
    (Verdict.LEAKING, Level.WARNING, "Memory of clones leaks", "Molt them when their work is done."),
    (Verdict.GROWING, Level.NOTE, "Memory of clones grows", ""),
)


def find_growth(outlook: Outlook) -> Iterator[Finding]:
    """Say what stands out; a clone is named once, with the worst."""
    named: set[str] = set()
    for verdict, level, text, hint in _ABOUT:
        clones = {forecast.clone for forecast in outlook.forecasts if forecast.verdict is verdict} - named
        if clones:
            yield Finding(level, text, tuple(sorted(clones)), hint)
        named |= clones
    if outlook.silent:
        yield Finding(Level.NOTE, "Clones tell no forecast", outlook.silent, "moltfleet health NAME says why.")
