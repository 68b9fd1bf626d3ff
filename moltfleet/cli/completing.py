"""Names of clones and goldens for shell completion; whatever goes wrong there stays silent."""

from __future__ import annotations

from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from moltfleet.cli.invocation import Invocation


def complete_clones(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a clone's name that is not on the line yet."""
    given = ctx.params.get(param.name or "") or ()
    return [CompletionItem(name) for name in _clones(ctx) if name.startswith(incomplete) and name not in given]


def complete_labels(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the label of something kept of the clone that was named before it."""
    labels = _labels(ctx, ctx.params.get("name") or "")
    return [CompletionItem(label) for label in labels if label.startswith(incomplete)]


def complete_snapshots(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete the name of a snapshot of the clone that was named before it."""
    names = _snapshots(ctx, ctx.params.get("name") or "")
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


def complete_goldens(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete a golden's name."""
    return [CompletionItem(name) for name in _goldens(ctx) if name.startswith(incomplete)]


def complete_paths(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Complete ``NAME:``, else let the shell complete local files."""
    names = [] if "/" in incomplete else [f"{name}:" for name in _clones(ctx) if name.startswith(incomplete)]
    return [CompletionItem(name) for name in names] or [CompletionItem(incomplete, type="file")]


def _quiet_invocation(ctx: click.Context) -> Invocation:
    invocation = ctx.ensure_object(Invocation)
    invocation.quiet = True
    root = ctx.find_root().params
    invocation.uri, invocation.config_file = root.get("uri"), root.get("config_file")
    return invocation


def _clones(ctx: click.Context) -> tuple[str, ...]:
    # A traceback in the middle of a half-typed line helps nobody; the command itself will tell.
    with suppress(Exception):
        from moltfleet.operations.listing import list_clones

        return tuple(view.name for view in list_clones(_quiet_invocation(ctx).fleet))
    return ()


def _labels(ctx: click.Context, name: str) -> tuple[str, ...]:
    with suppress(Exception):
        from moltfleet.operations.kept import list_kept

        return tuple(view.label for view in list_kept(_quiet_invocation(ctx).fleet, (name,)))
    return ()


def _snapshots(ctx: click.Context, name: str) -> tuple[str, ...]:
    with suppress(Exception):
        from moltfleet.operations.snapshots import list_snapshots

        return tuple(view.name for view in list_snapshots(_quiet_invocation(ctx).fleet, (name,))[0])
    return ()


def _goldens(ctx: click.Context) -> tuple[str, ...]:
    with suppress(Exception):
        from moltfleet.operations.listing import list_goldens

        return tuple(view.name for view in list_goldens(_quiet_invocation(ctx).fleet))
    return ()
