"""`moltfleet make-room`: what to molt or stop so that a clone of some size fits, and doing it when told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import FleetCommand, parse_size
from moltfleet.cli.documents import room_document
from moltfleet.cli.finish import finish
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import acts_table, room_table

if TYPE_CHECKING:
    from moltfleet.model.makingroom import RoomPlan
    from moltfleet.model.size import Size


@click.command(
    "make-room", cls=FleetCommand, destroys=True, example="moltfleet make-room 8G\nmoltfleet make-room 8G --yes"
)
@click.argument("memory", type=parse_size, metavar="SIZE")
@click.option("--vcpus", type=click.IntRange(1, 512), metavar="N", help="Virtual CPUs of it.  [default: the config's]")
@pass_invocation
def make_room_command(invocation: Invocation, /, *, memory: Size, vcpus: int | None) -> None:
    """Propose which clones to molt or stop so that one more of SIZE fits, and do it when told.

    Clones whose QEMU takes more than it was promised are molted first, then those are stopped that wrote to their
    disks longest ago, as few as are needed. Other people's domains and clones that a command works on are left alone.
    On a terminal it asks; elsewhere it only proposes, unless --yes is given.
    """
    from moltfleet.operations import make_room

    plan = make_room.plan(invocation.fleet, memory, vcpus=vcpus)
    if not plan.ways or invocation.dry_run or not _is_agreed(invocation, plan):
        return invocation.show(room_document(plan), room_table(plan) or f"There is room for a clone of {memory}.")
    results = make_room.perform(invocation.fleet, plan)
    invocation.show(room_document(plan, results), acts_table(results))
    errors = [result.error for result in results if result.error]
    if not errors:
        make_room.check(invocation.fleet, plan)
    return finish(invocation, errors, targets=len(results))


def _is_agreed(invocation: Invocation, plan: RoomPlan) -> bool:
    """Whether to do it; without a terminal to ask on a proposal is what was wanted."""
    if invocation.yes:
        return True
    if not invocation.is_interactive:
        invocation.progress.say("Nothing was changed; --yes does it.")
        return False
    invocation.confirm("Do it?", lambda: tuple(room_table(plan).splitlines()))
    return True
