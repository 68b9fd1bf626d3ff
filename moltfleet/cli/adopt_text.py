"""What adopting comes to, as text: a table, what is worth knowing, and the commands that make more possible."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table

if TYPE_CHECKING:
    from moltfleet.model.adoption import Adoptee


def adopt_text(rows: Sequence[Adoptee]) -> str:
    """Errors are told beside it."""
    table = figures_table(("DOMAIN", "KIND", "GOLDEN", "VOLUME", "OUTCOME"), [_cells(row) for row in rows])
    return "\n".join((table, *_notes(rows), *_left(rows), *_commands(rows)))


def _cells(row: Adoptee) -> tuple[object, ...]:
    return row.name, row.kind, row.golden, row.volume, row.outcome


def _notes(rows: Sequence[Adoptee]) -> Iterator[str]:
    """Each note once, with the domains that it is about."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for note in row.notes:
            about.setdefault(note, []).append(row.name)
    for note, names in about.items():
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"note: {', '.join(names[:3])}{more}: {note}"


def _left(rows: Sequence[Adoptee]) -> Iterator[str]:
    for row in rows:
        if row.left:
            yield f"note: {row.name}: these stay in the pool, and nothing uses them: {', '.join(row.left)}"


def _commands(rows: Sequence[Adoptee]) -> Iterator[str]:
    commands = tuple(dict.fromkeys(command for row in rows for command in row.commands))
    if commands:
        yield "To be run by you, in this order, before another try:"
        yield from (f"  {command}" for command in commands)
