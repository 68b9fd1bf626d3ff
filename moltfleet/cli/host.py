"""`moltfleet host`: what would save this host if everything leaked at once, and putting it there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import CommandGroup, FleetCommand, size_option
from moltfleet.cli.documents import host_check_document, host_contain_document
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import checks_text, file_acts_table
from moltfleet.model.errors import ExitCode
from moltfleet.model.hostcheck import CheckState

if TYPE_CHECKING:
    from moltfleet.model.size import Size


@click.group("host", cls=CommandGroup)
def host_command() -> None:
    """Look at what saves this host when guests leak, and put it there."""


@host_command.command(
    "check",
    cls=FleetCommand,
    example="moltfleet host check\nmoltfleet host check --json | jq '.checks[] | select(.state != \"ok\")'",
)
@click.option("--strict", is_flag=True, help="Exit with 4 unless every row is ok; otherwise warnings exit with 0.")
@pass_invocation
def check_command(invocation: Invocation, /, *, strict: bool) -> None:
    """Show what would save this host if everything leaked at once, a row each.

    Nothing is changed, and no root is needed; what only root can see is said to be unknown.
    """
    from moltfleet.operations.host_check import check_host

    checks = check_host(invocation.host)
    invocation.show(host_check_document(checks), checks_text(checks))
    if strict and any(check.state is not CheckState.OK for check in checks):
        click.get_current_context().exit(int(ExitCode.WRONG_STATE))


@host_command.command(
    "contain",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet host contain --dry-run\nmoltfleet host contain --remove",
)
@click.option("--remove", is_flag=True, help="Take everything away again, exactly.")
@size_option("--docker", "Limit Docker's containers, all together, to this much of the reserve.  [default: leave them]")
@click.option("--install-earlyoom", is_flag=True, help="Install earlyoom with apt-get if it is not there.")
@click.option("--discard-edits", is_flag=True, help="Overwrite or remove files that others have changed.")
@pass_invocation
def contain_command(
    invocation: Invocation, /, *, remove: bool, docker: Size | None, install_earlyoom: bool, discard_edits: bool
) -> None:
    """Contain the fleet on this host: limits, a last line behind them, what clones may reach.

    Clones together get the host's memory less the reserve; sshd and libvirtd are protected; earlyoom guards the
    reserve; a table of nftables enforces the config's egress. All of it is drop-ins, shown before they are written,
    and survives a reboot. Needs root, but not for --dry-run. docs/host.md explains each.
    """
    from moltfleet.operations.host_check import check_host
    from moltfleet.operations.host_contain import ContainRequest, contain, plan_contain
    from moltfleet.operations.host_release import plan_release, release

    host = invocation.host
    request = ContainRequest(docker, install_earlyoom, discard_edits)

    def plan() -> tuple[str, ...]:
        planned = plan_release(host, discard_edits=discard_edits) if remove else plan_contain(host, request)
        return planned.lines()

    if invocation.dry_run:
        return invocation.show_plan(plan())
    invocation.confirm("Remove?" if remove else "Go ahead?", plan)
    done = release(host, discard_edits=discard_edits) if remove else contain(host, request)
    for note in done.notes:
        invocation.progress.warn(note)
    if not done.acts:
        invocation.progress.say("Nothing of moltfleet's containment is on this host.")
    # What is claimed to be there now, is looked for.
    left = () if remove else tuple(check for check in check_host(host) if check.state is not CheckState.OK)
    text = "\n\n".join(part for part in (file_acts_table(done), checks_text(left)) if part)
    return invocation.show(host_contain_document(done, removed=remove, left=left), text)
