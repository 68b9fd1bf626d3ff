"""Updates and old generations of goldens as text for people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.cli.tables import figures_table
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from moltfleet.model.lineage import GoldenUpdate, Spare


def golden_updated_text(update: GoldenUpdate) -> str:
    """What is another version now, in a table, then what the update came to."""
    name = update.view.name
    if not update.is_published:
        return f"Golden {name} has nothing new: generation {update.before} stays the newest."
    changes = [*(update.packages or ()), *(update.npm_packages or ()), *([update.tools] if update.tools else [])]
    rows = [(change.name, change.before or "-", change.after or "-") for change in changes]
    lines = [
        *([figures_table(("PACKAGE", "BEFORE", "AFTER"), rows)] if rows else []),
        f"Golden {name}: generation {update.number} from generation {update.before}, {_counted(update)}.",
        f"It takes {update.size_after}, the one before {update.size_before}.",
        *_behind(update),
    ]
    return "\n".join(lines)


def _counted(update: GoldenUpdate) -> str:
    if update.packages is None:
        return "which does not tell what it held"
    changes = [*update.packages, *(update.npm_packages or ())]
    new = sum(change.before is None for change in changes)
    gone = sum(change.after is None for change in changes)
    return f"{len(changes) - new - gone} package(s) renewed, {new} added, {gone} removed"


def _behind(update: GoldenUpdate) -> Sequence[str]:
    if not update.behind:
        return ()
    return (f"Behind it now: {', '.join(update.behind)}; moltfleet molt NAME --to latest moves a clone.",)


def golden_pruned_text(spares: Iterable[Spare]) -> str:
    """One line per generation that is gone, and what that gave back."""
    rows = list(spares)
    if not rows:
        return "Nothing to prune: every generation is the newest of its golden, or in use."
    won = Size(sum(spare.allocation.bytes for spare in rows))
    table = figures_table(
        ("GOLDEN", "GENERATION", "BUILT", "SIZE"),
        [(spare.golden, f"g{spare.number}", spare.built_at, spare.allocation) for spare in rows],
    )
    return f"{table}\n{won} given back."
