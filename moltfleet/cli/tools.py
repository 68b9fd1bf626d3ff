"""`moltfleet tools`: the watchdog, the wrappers and the health check inside clones; installed, compared, proven."""

from __future__ import annotations

import click

from moltfleet.cli.command import CommandGroup, FleetCommand, choose_targets, targets
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.finish import finish, finish_acts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tools_document import tools_status_document, tools_verify_document
from moltfleet.cli.tools_text import tools_status_text, tools_verify_text
from moltfleet.model.errors import ExitCode
from moltfleet.model.guesttools import ToolsState

_JOBS = click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="In how many clones side by side.  [default: the config's]",
)


@click.group("tools", cls=CommandGroup)
def tools_command() -> None:
    """Install the guest tools in clones, compare them, prove that they work."""


@tools_command.command(
    "install", cls=FleetCommand, changes=True, example="moltfleet tools install base-1\nmoltfleet tools install --all"
)
@targets("Install in")
@_JOBS
@pass_invocation
def install_command(invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, jobs: int | None) -> None:
    """Bring the tools inside running clones to the version of this program.

    Watchdog, run-limited and the wrappers of the agents, health check, sessions, limits (docs/guest.md). A clone that
    has this version unchanged is left alone; an interrupted installation leaves the old version working. A molt takes
    a clone back to the tools of its clean point; 'golden build' puts them under every clone.
    """
    from moltfleet.operations.tools import install, plan_install

    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return invocation.show_plan(plan_install(invocation.fleet, chosen, jobs=jobs))
    return finish_acts(invocation, "moltfleet.tools-install/1", install(invocation.fleet, chosen, jobs=jobs))


@tools_command.command(
    "verify", cls=FleetCommand, changes=True, example="moltfleet tools verify base-1\nmoltfleet tools verify --all"
)
@targets("Verify")
@_JOBS
@pass_invocation
def verify_command(invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, jobs: int | None) -> None:
    """Prove that the tools inside running clones do what they are there for.

    Each thing is tried, and the row says what happened: a small leak is ended by the watchdog, a limit holds what
    wants more, the plain 'claude' runs inside agents.slice, the forecast calls a leak a leak, new logins are answered
    meanwhile. Nothing of it stays but lines in the guest's journal. Exits with 1 when a proof fails.
    """
    from moltfleet.operations.tools_verify import plan_verify, verify

    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return invocation.show_plan(plan_verify(invocation.fleet, chosen))
    results = verify(invocation.fleet, chosen, jobs=jobs)
    invocation.show(tools_verify_document(results), tools_verify_text(results))
    return finish(invocation, [result.error for result in results if result.error], targets=len(results))


@tools_command.command("remove", cls=FleetCommand, changes=True, example="moltfleet tools remove base-1")
@targets("Remove from")
@_JOBS
@pass_invocation
def remove_command(invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, jobs: int | None) -> None:
    """Take the tools out of running clones again: exactly what was installed, nothing else."""
    from moltfleet.operations.tools import plan_remove, remove

    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return invocation.show_plan(plan_remove(invocation.fleet, chosen, jobs=jobs))
    return finish_acts(invocation, "moltfleet.tools-remove/1", remove(invocation.fleet, chosen, jobs=jobs))


@tools_command.command(
    "status", cls=FleetCommand, example="moltfleet tools status\nmoltfleet tools status 'base-*' --strict"
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@click.option("--strict", is_flag=True, help="Exit with 4 unless every clone has this version, unchanged.")
@_JOBS
@pass_invocation
def status_command(invocation: Invocation, /, *, names: tuple[str, ...], strict: bool, jobs: int | None) -> None:
    """Compare the tools inside clones with those of this program; all clones when none is named.

    TOOLS is current, outdated (another version), changed (files differ or are missing), none, or unfit (the guest
    cannot have them). It is the guest that tells this: what root there wants to hide, it can.
    """
    from moltfleet.operations.tools import status

    views = status(invocation.fleet, names, jobs=jobs)
    if not views:
        invocation.progress.say("There are no clones.")
    invocation.show(tools_status_document(views), tools_status_text(views))
    errors = [view.error for view in views if view.error]
    if strict and not errors and any(view.state is not ToolsState.CURRENT for view in views):
        click.get_current_context().exit(int(ExitCode.WRONG_STATE))
    finish(invocation, errors, targets=len(views))
