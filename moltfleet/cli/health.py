"""`moltfleet health`: how the clones are, as their own health checks tell."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import NoReturn

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.documents import health_document
from moltfleet.cli.finish import finish
from moltfleet.cli.health_text import has_worries, health_text
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.errors import ExitCode
from moltfleet.model.results import HealthResult

Results = tuple[HealthResult, ...]


@click.command("health", cls=FleetCommand, example="moltfleet health\nmoltfleet health 'base-*' --watch --every 10")
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@click.option("--trend", is_flag=True, help="Also show where memory is heading, and what that is told from.")
@click.option("--watch", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--every", type=click.FloatRange(1, 86400), default=30, show_default=True, metavar="SECONDS", help="With --watch."
)
@click.option("--strict", is_flag=True, help="Exit with 4 unless all is well; otherwise worries exit with 0.")
@pass_invocation
def health_command(
    invocation: Invocation,
    /,
    *,
    names: tuple[str, ...],
    trend: bool,
    watch: bool,
    every: float,
    strict: bool,
) -> None:
    """Show how clones are: memory, agents, what goes wrong next.

    All clones when none is named. Each clone's own health check is asked over SSH. FORECAST is about memory: ok,
    growing, leaking (used up within two hours), critical (within a quarter of an hour); or down, paused, unknown.
    docs/health.md explains the findings.
    """
    from moltfleet.operations.health import check_health

    with invocation.fleet.progress.step("Asking the clones how they are"):
        results = check_health(invocation.fleet, names)
    if watch:
        _watch(invocation, results, lambda: check_health(invocation.fleet, names), every_s=every, trend=trend)
    if not results:
        invocation.progress.say("There are no clones.")
    invocation.show(health_document(results), health_text(results, trend=trend))
    errors = [result.error for result in results if result.error]
    if strict and not errors and has_worries(results):
        click.get_current_context().exit(int(ExitCode.WRONG_STATE))
    finish(invocation, errors, targets=len(results))


def _watch(
    invocation: Invocation, results: Results, look: Callable[[], Results], *, every_s: float, trend: bool
) -> NoReturn:
    """Show the results and look again, until somebody ends it; as JSON a document on each line."""
    from moltfleet.operations.parallel import pause

    while True:
        if invocation.json:
            click.echo(json.dumps(health_document(results)))
        else:
            if sys.stdout.isatty():
                click.clear()
            click.echo(health_text(results, trend=trend, errors=True) + "\n")
        pause(invocation.fleet.clock, every_s)
        results = look()
