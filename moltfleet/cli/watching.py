"""`moltfleet status --short` and `--watch`: how the clones are in one line, or on a screen that keeps up."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

import click

from moltfleet.cli.survey_document import survey_document
from moltfleet.cli.survey_text import screen, short_text, survey_text
from moltfleet.model.survey import Ask, SurveyResult

if TYPE_CHECKING:
    from moltfleet.cli.invocation import Invocation

# Home, the rest of each line cleared, the rest of the screen cleared: without a blank screen in between.
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


def show_short(invocation: Invocation, names: tuple[str, ...]) -> None:
    """Show one line, from what libvirt tells and what was recorded."""
    from moltfleet.operations.survey import survey

    result = survey(invocation.fleet, record=False, patterns=names, ask=Ask.NONE)
    invocation.show(survey_document(result), short_text(result))


def show_watch(invocation: Invocation, names: tuple[str, ...], *, every_s: float) -> None:
    """Show surveys until somebody ends it; as JSON, and elsewhere than on a terminal, one after the other."""
    from moltfleet.operations.watching import watch

    is_screen = sys.stdout.isatty() and not invocation.json
    if is_screen:
        click.clear()

    def show(result: SurveyResult) -> None:
        if invocation.json:
            click.echo(json.dumps(survey_document(result)))
        elif is_screen:
            _draw(result, every_s)
        else:
            click.echo(f"{result.taken_at}\n{survey_text(result)}\n")

    try:
        watch(invocation.fleet, names, every_s=every_s, ask=Ask.SUSPECTS, show=show)
    finally:
        if is_screen:
            # What is said next has a line of its own.
            click.echo()


def _draw(result: SurveyResult, every_s: float) -> None:
    # The window as it is: COLUMNS and LINES, which shutil believes, are of when somebody set them.
    size = os.get_terminal_size(sys.stdout.fileno())
    lines = screen(result, width=size.columns, height=size.lines - 2).splitlines()
    lines += ["", f"every {every_s:g} s, Ctrl-C ends it"][: max(0, size.lines - 1 - len(lines))]
    # Without a line break at the end, which would scroll a full screen.
    click.echo(_HOME + f"{_REST_OF_LINE}\n".join(lines) + _REST_OF_LINE + _REST_OF_SCREEN, nl=False)
