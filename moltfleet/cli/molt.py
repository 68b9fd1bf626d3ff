"""`moltfleet molt` and `moltfleet undo`: back to clean, and back again."""

from __future__ import annotations

import re
from typing import Any

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import FleetCommand, choose_targets, targets
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.finish import finish_molts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.requests import NEWEST, AdmissionRequest, MoltRequest


def _generation(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    if value is None or value == "latest":
        return None if value is None else NEWEST
    if not re.fullmatch(r"g?[1-9][0-9]{0,8}", value):
        raise click.BadParameter(f"{value!r} is neither 'latest' nor a generation such as g2")
    return int(value.removeprefix("g"))


@click.command(
    "molt",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet molt base-1\nmoltfleet molt base-1 --keep=before-upgrade\nmoltfleet molt --all --yes --jobs 2\n"
    "moltfleet molt 'base-*' --to latest --yes\nmoltfleet molt --leaking --dry-run",
)
@targets("Molt")
@click.option("--leaking", is_flag=True, help="Molt what the policy says, and nobody who is at work; docs/policy.md.")
@click.option("--cold", is_flag=True, help="Boot the clean disk instead of restoring RAM.")
@click.option(
    "--keep",
    is_flag=False,
    flag_value="",
    metavar="[LABEL]",
    help="Keep the thrown-away state under a name; write --keep=LABEL, or --keep last.",
)
@click.option(
    "--to",
    callback=_generation,
    metavar="latest|GENERATION",
    help="Move to that generation of its golden, with the identity that it has.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="How many to molt side by side.  [default: the config's; emulated, as the CPUs carry]",
)
@click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(0, 86_400),
    default=0.0,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a clone that another command works on.",
)
@click.option("--discard-snapshots", is_flag=True, help="Drop snapshots that were made by hand; else they stop a molt.")
@click.option(
    "--rescue/--no-rescue",
    default=None,
    help="Pull the work out first; where that fails, keep the state.  [default: the config's; with --leaking on]",
)
@admission_options
@pass_invocation
def molt_command(
    invocation: Invocation,
    /,
    *,
    names: tuple[str, ...],
    everyone: bool,
    leaking: bool,
    rescue: bool | None,
    **options: Any,
) -> None:
    """Throw away everything since the clean point, RAM and disk.

    NAME may be a shell pattern such as 'base-*'. The state that goes stays for `moltfleet undo` until the next molt,
    for 24 hours, or until the pool is full. With --to a clone that is not on that generation is moved: it boots there
    as at its creation, with its name, address and host key, and gets a clean point of its own (docs/goldens.md). With
    --leaking a survey is made first, and what it tells by the policy is done: molts, and starting again what went
    down; --dry-run explains every decision.
    """
    from moltfleet.operations.molt import molt, plan_molt

    if leaking and (names or everyone):
        raise click.UsageError("--leaking chooses the clones itself: no names, no --all")
    if rescue is None:
        rescue = leaking or invocation.config.rescue.before_molt
    request = MoltRequest(rescue=rescue, **options)
    if leaking:
        from moltfleet.cli.leaking import molt_leaking

        return molt_leaking(invocation, request)
    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return invocation.show_plan(plan_molt(invocation.fleet, chosen, request))
    invocation.confirm("Molt?", lambda: plan_molt(invocation.fleet, chosen, request))
    return finish_molts(invocation, "moltfleet.molt/1", molt(invocation.fleet, chosen, request))


@click.command("undo", cls=FleetCommand, changes=True, example="moltfleet undo base-1")
@click.argument("name", shell_complete=complete_clones)
@admission_options
@pass_invocation
def undo_command(invocation: Invocation, /, *, name: str, admission: AdmissionRequest) -> None:
    """Bring back what the last molt of a clone threw away.

    The disk is as it was; the clone boots. A second undo swaps the two states again.
    """
    from moltfleet.operations.undo import undo

    if invocation.dry_run:
        from moltfleet.operations.clones import clone_names

        (found,) = clone_names(invocation.fleet, (name,))
        return invocation.show_plan((f"swap the shed layer of {found} back and boot it",))
    return finish_molts(invocation, "moltfleet.undo/1", (undo(invocation.fleet, name, admission),))
