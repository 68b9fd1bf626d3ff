"""`moltfleet start`, `stop` and `restart`."""

from __future__ import annotations

from typing import Any

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import FleetCommand, choose_targets, targets
from moltfleet.cli.finish import finish_acts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.requests import AdmissionRequest, StartRequest, StopRequest

_TIMEOUT = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(0, 86_400),
    metavar="SECONDS",
    help="How long a guest may take to power off.  [default: the config's, 90]",
)
_NOW = click.option("--now", is_flag=True, help="Cut power at once; what is not on the disk is lost.")


def _show_plan(invocation: Invocation, names: tuple[str, ...], verb: str) -> None:
    from moltfleet.operations.clones import clone_names

    invocation.show_plan(tuple(f"{verb} {name}" for name in clone_names(invocation.fleet, names)))


@click.command(
    "start",
    cls=FleetCommand,
    changes=True,
    example="moltfleet start base-1 base-2\nmoltfleet start --were-running\nmoltfleet start base-1 --wait-for-room",
)
@targets("Start")
@click.option(
    "--were-running",
    is_flag=True,
    help="Start clones that are off although no command stopped them, as after a reboot of the host.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="Start so many side by side.  [default: one after the other, each when the last one's memory has settled]",
)
@admission_options
@pass_invocation
def start_command(
    invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, were_running: bool, **options: Any
) -> None:
    """Start clones, one after the other, and wait until each is ready.

    NAME may be a shell pattern such as 'base-*'. A clone that runs already is left as it is. Before each the host is
    asked for room; a clone for which there is none is named with the rule that stopped it, and the others go on.
    """
    from moltfleet.operations.start import plan_start, start

    chosen = choose_targets(names, everyone=everyone or (were_running and not names))
    request = StartRequest(were_running=were_running, jobs=options["jobs"], admission=options["admission"])
    if invocation.dry_run:
        return invocation.show_plan(plan_start(invocation.fleet, chosen, request))
    return finish_acts(invocation, "moltfleet.start/1", start(invocation.fleet, chosen, request))


@click.command(
    "stop", cls=FleetCommand, changes=True, example="moltfleet stop base-1\nmoltfleet stop --all --timeout 20"
)
@targets("Stop")
@_NOW
@_TIMEOUT
@pass_invocation
def stop_command(
    invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, now: bool, timeout_s: float | None
) -> None:
    """Ask clones to power off, and cut power after the timeout.

    NAME may be a shell pattern such as 'base-*'. The guest agent is asked first, then ACPI.
    """
    from moltfleet.operations.stop import stop

    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return _show_plan(invocation, chosen, "cut the power of" if now else "stop")
    request = StopRequest(now=now, timeout_s=timeout_s)
    return finish_acts(invocation, "moltfleet.stop/1", stop(invocation.fleet, chosen, request))


@click.command("restart", cls=FleetCommand, changes=True, example="moltfleet restart base-1")
@targets("Restart")
@_NOW
@_TIMEOUT
@admission_options
@pass_invocation
def restart_command(
    invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, admission: AdmissionRequest, **options: Any
) -> None:
    """Stop clones and start them again, keeping what is on their disks.

    NAME may be a shell pattern such as 'base-*'. To get back to clean, molt instead.
    """
    from moltfleet.operations.restart import restart

    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return _show_plan(invocation, chosen, "restart")
    results = restart(invocation.fleet, chosen, StopRequest(**options), admission)
    return finish_acts(invocation, "moltfleet.restart/1", results)
