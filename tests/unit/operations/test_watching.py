"""Surveys again and again: with a memory of their own, on top of what is kept, and of what is not."""

from __future__ import annotations

import pytest

from fakes import World
from fakes.leaking import surveyed_for, tells
from moltfleet.model.survey import Ask, SurveyResult
from moltfleet.model.verdict import Verdict
from moltfleet.operations import watching


class Enough(Exception):
    """Somebody pressed Ctrl-C."""


def watched(world: World, turns: int, monkeypatch: pytest.MonkeyPatch) -> list[SurveyResult]:
    """Watch a clone that takes 0.2 GiB more every minute."""
    results: list[SurveyResult] = []

    def pause(_: object, seconds: float) -> None:
        world.clock.sleep(seconds)
        tells(world, "crab-1", used=4.0 + (world.clock.monotonic() - begun) / 300)
        if len(results) == turns:
            raise Enough

    monkeypatch.setattr(watching, "pause", pause)
    begun = world.clock.monotonic()
    tells(world, "crab-1", used=4.0)
    with pytest.raises(Enough):
        watching.watch(world.fleet, (), every_s=30.0, ask=Ask.NONE, show=results.append)
    return results


def test_what_is_watched_is_forecast_without_a_record(clone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    results = watched(clone, 40, monkeypatch)
    verdicts = [result.clones[0].verdict for result in results]
    assert (verdicts[0], verdicts[-1]) == (Verdict.UNKNOWN, Verdict.LEAKING)
    assert clone.samples.kept == {}


def test_it_goes_on_from_what_was_recorded(clone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    surveyed_for(clone, 20, lambda _, minute: 2 + minute * 0.1)
    kept = dict(clone.samples.kept)
    results = watched(clone, 1, monkeypatch)
    assert results[0].clones[0].verdict is not Verdict.UNKNOWN
    assert clone.samples.kept == kept


def test_a_file_that_is_of_no_use_costs_only_what_was_before(clone: World, monkeypatch: pytest.MonkeyPatch) -> None:
    clone.samples.break_down()
    results = watched(clone, 40, monkeypatch)
    assert results[-1].clones[0].verdict is Verdict.LEAKING
    assert all(result.notes for result in results)
