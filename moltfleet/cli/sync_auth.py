"""`moltfleet sync-auth`: logins of AI tools, git's identity and signing go into clones, and come back renewed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.documents import logins_document
from moltfleet.cli.errors import error_document
from moltfleet.cli.finish import finish
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import figures_table
from moltfleet.model.logins import SyncRequest

if TYPE_CHECKING:
    from moltfleet.operations.sync_auth import SyncResult


@click.command(
    "sync-auth",
    cls=FleetCommand,
    changes=True,
    example="moltfleet sync-auth base-1\nmoltfleet sync-auth base-1 --only claude --only git\n"
    "moltfleet sync-auth 'base-*' --pull\nmoltfleet sync-auth base-1 --forget",
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_clones)
@click.option("--only", metavar="LOGIN", multiple=True, help="This login and no other; repeatable.")
@click.option("--pull", is_flag=True, help="Only bring back what the clone has renewed.")
@click.option("--forget", is_flag=True, help="Bring it back, take it away there, and do not push it again.")
@pass_invocation
def sync_auth_command(
    invocation: Invocation, /, *, names: tuple[str, ...], only: tuple[str, ...], pull: bool, forget: bool
) -> None:
    """Give clones your logins, now and after every molt.

    Nothing is given that [logins] allow does not name: claude, codex, gemini, gh, git (name and address), signing, or
    one's own. What tools renew in a clone is brought back first, and before every molt; of two versions the newer one
    counts, and the older one is kept on this machine.
    """
    from moltfleet.operations.sync_auth import plan_sync, sync_auth

    if pull and forget:
        raise click.UsageError("--pull and --forget exclude each other")
    request = SyncRequest(only, "forget" if forget else "pull" if pull else "push")
    if invocation.dry_run:
        return invocation.show_plan(plan_sync(invocation.fleet, names, request))
    results = sync_auth(invocation.fleet, names, request)
    invocation.show(sync_document(results), _table(results))
    return finish(invocation, [result.error for result in results if result.error], targets=len(results))


def sync_document(results: Iterable[SyncResult]) -> dict[str, object]:
    """``moltfleet.sync-auth/1``."""
    return {"schema": "moltfleet.sync-auth/1", "results": [_result(result) for result in results]}


def _result(result: SyncResult) -> dict[str, Any]:
    return {
        "clone": result.clone,
        "outcome": result.outcome,
        "logins": logins_document(result.logins),
        "seconds": round(result.seconds, 3),
        "error": error_document(result.error) if result.error else None,
    }


def _table(results: Iterable[SyncResult]) -> str:
    headers = ("CLONE", "OUTCOME", "PULLED", "PUSHED", "NOTES")
    rows = [
        (
            one.clone,
            one.outcome,
            " ".join(one.logins.pulled) or "-",
            " ".join(one.logins.pushed) or "-",
            "; ".join(one.logins.notes),
        )
        for one in results
    ]
    return figures_table(headers, rows)
