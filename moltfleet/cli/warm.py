"""`moltfleet warm`: a clean point with RAM, for clones whose own has none or a stale one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import FleetCommand, choose_targets, targets
from moltfleet.cli.finish import finish_acts
from moltfleet.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from moltfleet.model.requests import AdmissionRequest


@click.command(
    "warm",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet warm base-1\nmoltfleet warm --all --yes\nmoltfleet warm base-1 --from-now",
)
@targets("Warm")
@click.option("--from-now", is_flag=True, help="Make what the clone is now its clean point, for good.")
@admission_options
@pass_invocation
def warm_command(
    invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, from_now: bool, admission: AdmissionRequest
) -> None:
    """Give clones a clean point with RAM, from which they molt fast.

    NAME may be a shell pattern such as 'base-*'. A clone whose clean point has no RAM, or RAM that no longer fits the
    host, boots from its clean disk and is saved there; what it was stays for `moltfleet undo`. One that is warm
    already is left alone. With --from-now there is no way back to the clean point before, nor to what an undo held; a
    state that has held logins is refused.
    """
    from moltfleet.operations.warm import plan_warm, warm

    chosen = choose_targets(names, everyone=everyone)
    if invocation.dry_run:
        return invocation.show_plan(plan_warm(invocation.fleet, chosen, from_now=from_now))
    invocation.confirm("Warm?", lambda: plan_warm(invocation.fleet, chosen, from_now=from_now))
    results = warm(invocation.fleet, chosen, from_now=from_now, terms=admission)
    return finish_acts(invocation, "moltfleet.warm/1", results)
