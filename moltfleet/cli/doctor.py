"""`moltfleet doctor`: what is wrong, why that matters, what mends it; and mending it when told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.doctor_document import doctor_document
from moltfleet.cli.doctor_text import diagnosis_text, mended_text
from moltfleet.cli.finish import finish
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.errors import ExitCode, InvalidInput

if TYPE_CHECKING:
    from moltfleet.model.doctor import Diagnosis
    from moltfleet.operations.host import Host


@click.command(
    "doctor",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet doctor\nmoltfleet doctor --fix --dry-run\n"
    "moltfleet doctor --json | jq '.findings[] | select(.mendable | not)'",
)
@click.option("--fix", is_flag=True, help="Mend what no clone is worse off for; the rest is told with its way out.")
@click.option("--guests/--no-guests", default=True, help="Log in to running clones, too.  [default: guests]")
@pass_invocation
def doctor_command(invocation: Invocation, /, *, fix: bool, guests: bool) -> None:
    """Find what is wrong, say why that matters and what mends it, and mend it when told.

    On the host: KVM, groups, directories that QEMU cannot enter, bridges, known faults. In the fleet: volumes that
    nothing explains, layers that are gone or were written to, interrupted commands, other people's changes, identities
    that two guests share, tools that drifted, the last night; with the bytes to win. Nothing is changed without --fix.
    Exit code 0 when nothing is wrong (any more), 4 when something is. docs/doctor.md explains each finding.
    """
    from moltfleet.operations import doctor

    fleet, host = invocation.fleet, _find_host(invocation)
    with invocation.progress.step("Looking at host, fleet and guests"):
        diagnosis = doctor.diagnose(fleet, host, asks_guests=guests)
    if not fix or not diagnosis.mendable:
        return _end(invocation, diagnosis)
    if invocation.dry_run:
        return invocation.show_plan(doctor.plan_mend(diagnosis))
    invocation.confirm("Mend?", lambda: doctor.plan_mend(diagnosis))
    mended = doctor.mend(fleet, diagnosis)
    left = doctor.diagnose(fleet, host, asks_guests=guests)
    invocation.show(doctor_document(diagnosis, mended, left), mended_text(mended, left))
    errors = [one.error for one in mended if one.error]
    if errors:
        return finish(invocation, errors, targets=len(mended))
    return _leave(left)


def _find_host(invocation: Invocation) -> Host | None:
    """This machine; None when libvirt is on another one."""
    try:
        return invocation.host
    except InvalidInput:
        return None


def _end(invocation: Invocation, diagnosis: Diagnosis) -> None:
    invocation.show(doctor_document(diagnosis), diagnosis_text(diagnosis))
    _leave(diagnosis)


def _leave(diagnosis: Diagnosis) -> None:
    code = ExitCode.WRONG_STATE if diagnosis.findings else ExitCode.OK
    click.get_current_context().exit(int(code))
