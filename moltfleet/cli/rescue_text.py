"""Rescues as text: a line for each, and what one of them holds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.rescue import Manifest, Repository, RescueResult, SavedRescue

_NOTHING = "-"
_MOST_TOLD = 20


def rescues_table(results: Iterable[RescueResult]) -> str:
    """One line per clone of what became of its work; errors are told beside the table."""
    headers = ("CLONE", "OUTCOME", "SECONDS", "PARTS", "SIZE", "DIRECTORY")
    rows = [
        (
            result.clone,
            result.outcome,
            f"{result.seconds:.1f}",
            sum(bool(part.name) for part in result.parts),
            result.size if result.directory else _NOTHING,
            result.directory or _NOTHING,
        )
        for result in results
    ]
    return figures_table(headers, rows)


def saved_table(rescues: Iterable[SavedRescue]) -> str:
    """One line per rescue."""
    headers = ("CLONE", "DATE", "OUTCOME", "REPOSITORIES", "SIZE", "REASON")
    return figures_table(headers, [(saved.clone, saved.label, *_facts(saved.manifest, saved)) for saved in rescues])


def _facts(manifest: Manifest | None, saved: SavedRescue) -> tuple[object, ...]:
    if manifest is None:
        return ("unfinished", _NOTHING, saved.size, _NOTHING)
    return (manifest.outcome, len(manifest.repositories), saved.size, manifest.reason)


def saved_text(saved: SavedRescue, flaws: Sequence[str]) -> str:
    """Everything about one rescue that a person needs to go on with it."""
    manifest = saved.manifest
    verdict = "whole" if not flaws else f"{len(flaws)} file(s) are not as they were"
    blocks = [f"{saved.clone}, {saved.label}: {manifest.outcome if manifest else 'unfinished'}\n{saved.directory}"]
    if manifest is not None:
        blocks += ["\n".join(_repository(repository)) for repository in manifest.repositories]
        headers = ("PART", "STATE", "FROM", "DETAIL")
        rows = [(part.name or f"({part.kind})", part.state, part.origin, part.detail) for part in manifest.parts]
        blocks.append(figures_table(headers, rows))
        named = [f"{renamed.name} is {renamed.origin}" for renamed in manifest.renamed]
        blocks += ["\n".join(_first(lines)) for lines in (manifest.details, named) if lines]
        verdict = f"{len(manifest.files)} file(s), {saved.size}: {verdict}"
    return "\n\n".join([*blocks, "\n".join([verdict, *(f"  {flaw}" for flaw in _first(flaws))])])


def _repository(repository: Repository) -> Iterator[str]:
    yield f"{repository.folder}: {printable(repository.path)}"
    branch = f" on {printable(repository.branch)}" if repository.branch else ""
    yield f"  at {repository.head[:12] or 'no commit yet'}{branch}"
    if repository.remote:
        yield f"  remote {printable(repository.remote)}"
    if repository.commits or repository.stashes:
        yield f"  {repository.commits} commit(s) that no remote has, {repository.stashes} stash(es)"


def _first(lines: Sequence[str]) -> list[str]:
    more = len(lines) - _MOST_TOLD
    return [printable(line, limit=400) for line in lines[:_MOST_TOLD]] + ([f"and {more} more"] if more > 0 else [])
