"""A night as Markdown, for the file that stays and for whoever is told; every word of a clone's is made printable."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from moltfleet.model.figures import amount, duration
from moltfleet.model.names import printable
from moltfleet.model.nightly import CloneNight, HostState, Night, Outcome, State
from moltfleet.model.policy import Act

_OUTCOMES = {
    Outcome.RUNNING: "is under way",
    Outcome.OK: "went well",
    Outcome.FAILED: "failed",
    Outcome.LATE: "reached its deadline before its end",
    Outcome.INTERRUPTED: "was interrupted",
}
_MOST_UNEXPLAINED = 50


def summary(night: Night) -> str:
    """Return a night in one sentence."""
    counts = Counter(_word(clone) for clone in night.clones)
    told = ", ".join(f"{count} {word}" for word, count in sorted(counts.items())) or "no clones"
    return f"The night of {night.started_at} {_OUTCOMES[night.outcome]}: {told}"


def _word(clone: CloneNight) -> str:
    """Return what became of a clone, in one word."""
    if clone.state is State.DONE:
        return {Act.MOLT: "molted", Act.START: "started", Act.RESUME: "resumed", Act.PAUSE: "paused"}.get(
            Act(clone.act), "done"
        )
    words = {State.FAILED: "failed", State.INTERRUPTED: "interrupted", State.WAITING: "not begun"}
    return words.get(clone.state, "under way" if clone.state is State.RUNNING else "left alone")


def markdown(night: Night) -> str:
    """Return the whole report."""
    return "\n".join(_lines(night)) + "\n"


def _lines(night: Night) -> Iterator[str]:
    yield f"# {summary(night)}"
    yield ""
    ended = f"ended {night.ended_at} after {duration(night.seconds)}" if night.ended_at else "has not ended"
    yield f"Began {night.started_at}, {ended}; deadline {night.deadline_at}."
    yield f"It molts: {night.scope}. Made by moltfleet {night.version}."
    if night.continues:
        yield f"It took up the night of {night.continues}, which had been interrupted."
    if night.failures:
        yield "\n## What went wrong\n"
        yield from (f"- {_text(failure)}" for failure in night.failures)
    yield "\n## Steps\n"
    rows = [(step.name, step.state, duration(step.seconds), step.detail) for step in night.steps]
    yield from _table(("Step", "State", "Took", "What came of it"), rows)
    if night.clones:
        yield "\n## Clones\n"
        headers = ("Clone", "Before", "What was done", "Why", "Rescue", "After")
        yield from _table(headers, [_row(clone) for clone in night.clones])
    yield from _about_host(night)
    if night.unexplained:
        yield "\n## Volumes that belong to nobody\n"
        shown = night.unexplained[:_MOST_UNEXPLAINED]
        yield from _table(("Volume", "Size"), [(one.volume, amount(one.allocation)) for one in shown])
        if len(night.unexplained) > len(shown):
            yield f"\nand {len(night.unexplained) - len(shown)} more."
    if night.notes:
        yield "\n## Notes\n"
        yield from (f"- {_text(note)}" for note in night.notes)


def _row(clone: CloneNight) -> tuple[str, ...]:
    done = _word(clone)
    if clone.mode:
        done += f" {clone.mode}, {duration(clone.seconds)}"
    if clone.warmed:
        done += f"; RAM made anew: {clone.warmed}"
    if clone.stage and clone.state in (State.INTERRUPTED, State.RUNNING):
        done += f" in its {clone.stage}"
    kept = f"; state kept as {clone.kept}" if clone.kept else ""
    where = f": {clone.directory}" if clone.directory else ""
    rescue = f"{clone.rescue}{where}{kept}" if clone.rescue or kept else ""
    return clone.clone, clone.before, done, clone.error or clone.why, rescue, clone.after


def _about_host(night: Night) -> Iterator[str]:
    told = [(when, state) for when, state in (("before", night.host_before), ("after", night.host_after)) if state]
    if told:
        yield "\n## Host\n"
        yield from _table(("", "Available", "Promised to guests", "Pressure"), [_host_row(*pair) for pair in told])


def _host_row(when: str, state: HostState) -> tuple[str, ...]:
    available = "not measured" if state.available is None else f"{amount(state.available)} of {amount(state.total)}"
    pressure = "not measured" if state.pressure is None else f"{state.pressure:.1f} %"
    return when, available, amount(state.committed), pressure


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    for row in (headers, ("---",) * len(headers), *rows):
        yield f"| {' | '.join(_text(cell) for cell in row)} |"


def _text(text: str) -> str:
    return printable(str(text), limit=1000).replace("|", "\\|")
