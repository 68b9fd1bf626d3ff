"""`moltfleet report`: where host, clones and pool stand, on one page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import FILE, FleetCommand
from moltfleet.cli.files import write_text
from moltfleet.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from moltfleet.model.report import Report

_FORMATS = ("html", "markdown", "json")
_SUFFIXES = {".html": "html", ".htm": "html", ".md": "markdown", ".markdown": "markdown", ".json": "json"}


@click.command(
    "report",
    cls=FleetCommand,
    example=(
        "moltfleet report\nmoltfleet report --forecasts --output fleet.html\nmoltfleet report --json | jq '.headroom'"
    ),
)
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), help="Form of the page; by FILE's suffix, else markdown."
)
@click.option("--output", type=FILE, metavar="FILE", help="Write it there; else to standard output.")
@click.option("--forecasts", is_flag=True, help="Ask running clones over SSH where their memory is heading.")
@pass_invocation
def report_command(invocation: Invocation, /, *, form: str | None, output: Path | None, forecasts: bool) -> None:
    """Report where host, clones and pool stand, on one page for those who plan.

    Warnings come first; then memory that is promised against memory in use, every clone with what it takes of memory
    and disk, how many more would fit, and which could be smaller. The HTML page is a single file with charts, which
    need the extra moltfleet[report].
    """
    chosen = _choose(invocation, form, output)
    if chosen == "html":
        from moltfleet.cli.report import drawing

        drawing.require()
    from moltfleet.operations.report import gather

    text = _render(invocation, gather(invocation.fleet, forecasts=forecasts), chosen)
    if output is None:
        click.echo(text, nl=False)
    else:
        write_text(output, text)
        invocation.progress.say(f"The report stands in {output}.")


def _choose(invocation: Invocation, form: str | None, output: Path | None) -> str:
    if invocation.json and form not in (None, "json"):
        raise click.UsageError(f"--json and --format {form} exclude each other")
    by_suffix = _SUFFIXES.get(output.suffix.lower()) if output else None
    return "json" if invocation.json else form or by_suffix or "markdown"


def _render(invocation: Invocation, report: Report, form: str) -> str:
    if form == "json":
        from moltfleet.cli.report.document import report_document

        return json.dumps(report_document(report), indent=2) + "\n"
    from moltfleet.cli.report import html, markdown, page

    if form == "markdown":
        return markdown.render(page.build(report))
    from moltfleet.cli.report import charts, drawing

    shown = charts.build(report)
    with invocation.progress.step("Drawing the charts"):
        return html.render(page.build(report), shown, drawing.draw(shown))
