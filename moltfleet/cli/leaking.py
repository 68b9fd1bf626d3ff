"""`moltfleet molt --leaking`: what follows from a survey by the policy, shown and done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from moltfleet.cli.finish import finish
from moltfleet.cli.survey_document import leaking_document
from moltfleet.cli.tables import acts_table, figures_table

if TYPE_CHECKING:
    from moltfleet.cli.invocation import Invocation
    from moltfleet.model.policy import Decision
    from moltfleet.model.requests import MoltRequest


def molt_leaking(invocation: Invocation, request: MoltRequest) -> None:
    """Survey, decide, ask, and do it; with a dry run every decision is explained, and nothing done."""
    from moltfleet.operations import leaking
    from moltfleet.operations.survey import survey

    fleet = invocation.fleet
    with fleet.progress.step("Looking at the clones"):
        found = survey(fleet, record=not invocation.dry_run)
    decisions = leaking.decide(fleet, found)
    if invocation.dry_run or not any(decision.changes for decision in decisions):
        fleet.progress.say("Nothing was changed." if decisions else "There are no clones.")
        return invocation.show(leaking_document(decisions), _table(decisions))
    invocation.confirm("Do it?", lambda: leaking.explain([one for one in decisions if one.changes]))
    acts = leaking.perform(fleet, decisions, request)
    invocation.show(leaking_document(decisions, acts), acts_table(acts))
    return finish(invocation, [act.error for act in acts if act.error], targets=len(acts))


def _table(decisions: Sequence[Decision]) -> str:
    rows = [(one.clone, one.act, one.verdict, one.why) for one in decisions]
    return figures_table(("CLONE", "ACT", "VERDICT", "WHY"), rows)
