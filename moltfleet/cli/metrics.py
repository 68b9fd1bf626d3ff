"""`moltfleet metrics`: how the fleet is, as text for Prometheus."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import FILE, FleetCommand
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.errors import MoltfleetError

if TYPE_CHECKING:
    from moltfleet.cli.documents import Document
    from moltfleet.model.metrics import Family


@click.command(
    "metrics",
    cls=FleetCommand,
    example="moltfleet metrics\nmoltfleet metrics --textfile /var/lib/prometheus/node-exporter/moltfleet.prom",
)
@click.option("--textfile", type=FILE, help="Replace this file, for node-exporter's textfile collector.")
@click.option("--no-ask", is_flag=True, help="Ask no guest: verdicts are of what libvirt and the last surveys tell.")
@pass_invocation
def metrics_command(invocation: Invocation, /, *, textfile: Path | None, no_ask: bool) -> None:
    """Tell how the fleet is, as text for Prometheus.

    Without --textfile it goes to standard output. When libvirt cannot be asked, the file says so, and the command
    fails. docs/monitoring/README.md lists the metrics, and has alerts.
    """
    from moltfleet.cli.wiring import count_earlyoom_kills, metrics_text
    from moltfleet.model.survey import Ask
    from moltfleet.operations.metrics import gather, without_fleet

    writer, failure = metrics_text(), None
    if textfile is not None:
        writer.check_place(textfile)
    try:
        ask = Ask.NONE if no_ask else Ask.ALL
        found = gather(invocation.fleet, count_earlyoom_kills(invocation.config), ask=ask)
    except MoltfleetError as error:
        found, failure = without_fleet(invocation.fleet), error
    if textfile is not None:
        writer.write(textfile, writer.render(found))
    if failure is not None:
        raise failure
    if invocation.json:
        click.echo(json.dumps(metrics_document(found), indent=2))
    elif textfile is None:
        click.echo(writer.render(found), nl=False)


def metrics_document(families: tuple[Family, ...]) -> Document:
    """``moltfleet.metrics/1``."""
    return {"schema": "moltfleet.metrics/1", "metrics": [_family(family) for family in families]}


def _family(family: Family) -> Document:
    return {
        "name": family.name,
        "kind": family.kind,
        "help": family.help,
        "samples": [
            {
                "labels": [{"name": n, "value": v} for n, v in zip(family.labels, point.labels, strict=True)],
                "value": point.value,
            }
            for point in family.points
        ],
    }
