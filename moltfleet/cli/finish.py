"""The end of a command that acted on several clones: the result, each failure, and the common exit code."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from moltfleet.cli.documents import acts_document, molts_document
from moltfleet.cli.errors import tell
from moltfleet.cli.tables import acts_table, molts_table
from moltfleet.model.results import ActResult, MoltResult, common_exit_code

if TYPE_CHECKING:
    from moltfleet.cli.invocation import Invocation
    from moltfleet.model.errors import MoltfleetError


def finish_acts(invocation: Invocation, schema: str, results: Sequence[ActResult]) -> None:
    """Show what became of each clone and leave with the exit code."""
    invocation.show(acts_document(schema, results), acts_table(results))
    finish(invocation, [result.error for result in results if result.error], targets=len(results))


def finish_molts(invocation: Invocation, schema: str, results: Sequence[MoltResult]) -> None:
    """Show how each clone molted and leave with the exit code."""
    invocation.show(molts_document(schema, results), molts_table(results))
    finish(invocation, [result.error for result in results if result.error], targets=len(results))


def finish(invocation: Invocation, errors: list[MoltfleetError], *, targets: int) -> None:
    """Tell every failure on standard error and leave with the exit code."""
    if not invocation.json:
        for error in errors:
            tell(error, verbose=invocation.verbosity > 0)
    click.get_current_context().exit(int(common_exit_code(errors, targets=targets)))
