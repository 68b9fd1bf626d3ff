"""`moltfleet create`: clones of a golden."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import FILE, FleetCommand, size_option
from moltfleet.cli.completing import complete_goldens
from moltfleet.cli.files import read_public_keys
from moltfleet.cli.finish import finish_acts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.requests import CreateRequest


@click.command(
    "create",
    cls=FleetCommand,
    changes=True,
    example="moltfleet create base\nmoltfleet create base crab -n 3 --memory 8G --vcpus 2",
)
@click.argument("golden", required=False, shell_complete=complete_goldens)
@click.argument("name", required=False)
@click.option(
    "-n", "--count", type=click.IntRange(1, 253), metavar="N", default=1, show_default=True, help="How many clones."
)
@click.option(
    "--linked/--full",
    default=True,
    show_default=True,
    help="Store only what differs from the golden, or copy it whole.",
)
@size_option("--memory", "Memory; a bare number is MiB.  [default: the golden's]")
@click.option("--vcpus", type=click.IntRange(1, 512), metavar="N", help="Virtual CPUs.  [default: the golden's]")
@size_option("--disk", "Disk size, at least the golden's.  [default: the golden's]")
@click.option("--start/--no-start", default=True, show_default=True, help="Start it and wait until it is ready.")
@click.option(
    "--warm/--no-warm",
    default=True,
    show_default=True,
    help="Keep RAM in the clean point too, so that a molt takes about a second.",
)
@click.option("--network", metavar="NAME", help="A libvirt network, or 'user'.  [default: the config's, 'moltfleet']")
@click.option(
    "--user-key",
    "key_files",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Public SSH key that may log in; repeatable.  [default: the config's, ~/.ssh/id_*.pub]",
)
@admission_options
@pass_invocation
def create_command(
    invocation: Invocation, /, *, golden: str | None, key_files: tuple[Path, ...], **options: Any
) -> None:
    """Make clones of a golden, start them and wait until they are ready.

    Without NAME they are called GOLDEN-1, GOLDEN-2, …; with NAME and a count NAME-1, NAME-2, ….
    Without GOLDEN the config's default golden is taken.
    """
    from moltfleet.operations.create import create
    from moltfleet.operations.create_plan import foresee, plan_create

    chosen = golden or invocation.config.defaults.golden
    if not chosen:
        raise click.UsageError("No golden is named, and the config has no default")
    keys = tuple(key for file in key_files for key in read_public_keys(file)) or None
    request = CreateRequest(golden=chosen, user_keys=keys, **options)
    if invocation.dry_run:
        return invocation.show_plan(foresee(invocation.fleet, plan_create(invocation.fleet, request)))
    return finish_acts(invocation, "moltfleet.create/1", create(invocation.fleet, request))
