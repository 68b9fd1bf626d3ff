"""`moltfleet survey`: a verdict for every clone, and what it is told from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from moltfleet.cli.command import FleetCommand
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.finish import finish
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.errors import ExitCode

if TYPE_CHECKING:
    from moltfleet.model.survey import SurveyResult

ASK = click.Choice(["all", "suspects", "none"])


@click.command(
    "survey",
    cls=FleetCommand,
    changes=True,
    example="moltfleet survey --why\nmoltfleet survey --record --ask suspects --protect",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@click.option("--record", is_flag=True, help="Add what was measured to the samples that forecasts are made from.")
@click.option("--why", is_flag=True, help="Also show what each verdict is told from.")
@click.option(
    "--ask", type=ASK, default="all", show_default=True, help="Whose guests are asked: suspects by the statistics."
)
@click.option(
    "--protect", is_flag=True, help="Pause the clone that fills a nearly full pool; let go on when there is room."
)
@click.option("--strict", is_flag=True, help="Exit with 4 unless all is well; otherwise trouble exits with 0.")
@pass_invocation
def survey_command(
    invocation: Invocation, /, *, names: tuple[str, ...], why: bool, strict: bool, protect: bool, **options: Any
) -> None:
    """Look at all clones once, and say which of them leak.

    Verdicts: ok, growing, leaking, critical (memory), down, paused, busy (a command works on it), unknown. They are
    told from libvirt's statistics, from samples of the last hours, and from the guests that answer. Changes nothing
    without --record and --protect. docs/policy.md explains the verdicts and what follows from them.
    """
    from moltfleet.cli.survey_document import survey_document
    from moltfleet.cli.survey_text import survey_text
    from moltfleet.operations import leaking

    result = _look(invocation, names, **options)
    if not result.clones:
        invocation.progress.say("There are no clones.")
    acts = leaking.protect(invocation.fleet, result, dry_run=invocation.dry_run) if protect else ()
    invocation.show(survey_document(result, acts), survey_text(result, why=why))
    errors = [act.error for act in acts if act.error]
    if strict and not errors and any(one.verdict.is_trouble for one in result.clones):
        click.get_current_context().exit(int(ExitCode.WRONG_STATE))
    finish(invocation, errors, targets=max(1, len(acts)))


def _look(invocation: Invocation, names: tuple[str, ...], *, record: bool, ask: str) -> SurveyResult:
    from moltfleet.model.survey import Ask
    from moltfleet.operations.nights import tell_if_missed
    from moltfleet.operations.survey import survey

    records = record and not invocation.dry_run
    with invocation.fleet.progress.step("Looking at the clones"):
        found = survey(invocation.fleet, record=records, patterns=names, ask=Ask(ask))
    if records:
        tell_if_missed(invocation.fleet)
    return found
