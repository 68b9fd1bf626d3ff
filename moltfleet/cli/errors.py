"""Errors of the command line's own, and how every error is told."""

from __future__ import annotations

import json

import click

from moltfleet.model.errors import ExitCode, MoltfleetError
from moltfleet.model.names import printable_lines


class Declined(MoltfleetError):
    """The person at the terminal said no."""

    code = "declined"


class Interrupted(MoltfleetError):
    """Ctrl-C, or the end of input at a question."""

    exit_code = ExitCode.INTERRUPTED
    code = "interrupted"


class Usage(MoltfleetError):
    """The command line could not be understood."""

    exit_code = ExitCode.USAGE
    code = "usage"


def interrupted() -> Interrupted:
    """Build the error for Ctrl-C."""
    return Interrupted("Interrupted", hint="The next command on the same names finishes or undoes what was under way.")


def from_click(error: click.ClickException) -> MoltfleetError:
    """Say click's error in our form; its own box of usage would not fit one line."""
    context = error.ctx if isinstance(error, click.UsageError) else None
    command = context.command_path if context else "moltfleet"
    brief = error.format_message().rstrip(".").replace("\n", " ")
    return Usage(brief, hint=f"See '{command} --help'.")


def error_document(error: MoltfleetError) -> dict[str, object]:
    """Return ``code``, ``brief`` and ``hint`` as every document has them."""
    return {"code": error.code, "brief": error.brief, "hint": error.hint}


def tell(error: MoltfleetError, *, verbose: bool) -> None:
    """Write an error for a person on standard error: an excerpt above it, the details for those who asked.

    Guests' words may be in it, so nothing reaches the terminal that would drive it (DESIGN D9).
    """
    for line in printable_lines(error.excerpt or "").splitlines():
        click.echo(f"  | {line}", err=True)
    click.echo(click.style("Error: ", fg="red") + printable_lines(error.brief), err=True)
    if error.hint:
        click.echo(f"Hint: {printable_lines(error.hint)}", err=True)
    if verbose and error.details:
        click.echo(printable_lines(error.details.rstrip(), limit=20_000), err=True)


def tell_json(error: MoltfleetError) -> None:
    """Write ``moltfleet.error/1`` on standard output."""
    document = {"schema": "moltfleet.error/1", "error": error_document(error)}
    click.echo(json.dumps(document, indent=2))
