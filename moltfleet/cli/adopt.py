"""`moltfleet adopt`: what shell scripts left on a host becomes goldens and clones, and goes back when wanted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.adopt_document import adopt_document
from moltfleet.cli.adopt_text import adopt_text
from moltfleet.cli.command import FleetCommand
from moltfleet.cli.finish import finish
from moltfleet.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moltfleet.model.adoption import Adoptee

_DOABLE = ("adoptable", "returnable")


@click.command(
    "adopt",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet adopt\nmoltfleet adopt ubuntu2404-agent --apply\nmoltfleet adopt --undo",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--apply", "applies", is_flag=True, help="Do what can be done; without it, it is only shown.")
@click.option("--undo", "goes_back", is_flag=True, help="Give adopted domains back, as they were; every file stays.")
@click.option("--user", default="agent", show_default=True, metavar="NAME", help="Who guests are logged in to as.")
@click.option("--warm/--no-warm", default=True, help="A clone's first start saves its RAM, too.  [default: warm]")
@pass_invocation
def adopt_command(
    invocation: Invocation, /, *, names: tuple[str, ...], applies: bool, goes_back: bool, user: str, warm: bool
) -> None:
    """Take in golden VMs and clones that shell scripts made, without a copy and without loss.

    NAME is a golden VM; the clones that stand on its disk come with it. Without NAME everything is looked at that has
    a snapshot 'dev-ready', or a clone named moltdown-clone-…. Only definitions change, each in one step; what cannot
    be adopted is told with the reason and the command that helps. With --undo NAME may also be a clone.
    Exit code 0 when nothing is left that cannot be done. docs/from-moltdown.md has the whole way, and the way back.
    """
    show, act = _undo(invocation, names) if goes_back else _adopt(invocation, names, user=user, warm=warm)
    with invocation.progress.step("Looking at domains and their disks"):
        rows = show()
    applied = applies and not invocation.dry_run and any(row.outcome in _DOABLE for row in rows)
    if applied:
        invocation.confirm("Give back?" if goes_back else "Adopt?", lambda: tuple(adopt_text(rows).splitlines()))
        rows = act()
    if not rows:
        invocation.progress.say("There is nothing here that could be adopted; name a golden VM.")
    elif not applied and any(row.outcome in _DOABLE for row in rows):
        invocation.progress.say("Nothing was changed; --apply does it.")
    invocation.show(adopt_document(rows, applied=applied, undo=goes_back), adopt_text(rows) if rows else "")
    finish(invocation, [row.error for row in rows if row.error], targets=len(rows))


_Acts = tuple["Callable[[], Sequence[Adoptee]]", "Callable[[], Sequence[Adoptee]]"]


def _adopt(invocation: Invocation, names: tuple[str, ...], *, user: str, warm: bool) -> _Acts:
    from moltfleet.cli.wiring_adopt import build_takeover
    from moltfleet.model.adoption import AdoptRequest
    from moltfleet.operations import adopt, adopt_plan

    takeover, request = build_takeover(invocation.config), AdoptRequest(names, user=user, warm=warm)
    return (
        lambda: adopt_plan.plan_adopt(invocation.fleet, takeover, request).rows,
        lambda: adopt.adopt(invocation.fleet, takeover, request),
    )


def _undo(invocation: Invocation, names: tuple[str, ...]) -> _Acts:
    from moltfleet.cli.wiring_adopt import build_takeover
    from moltfleet.operations import adopt_undo

    takeover = build_takeover(invocation.config)
    return (
        lambda: adopt_undo.plan_undo(invocation.fleet, names),
        lambda: adopt_undo.undo(invocation.fleet, takeover, names),
    )
