"""`moltfleet golden`: build, update, list, show, prune and delete the images that clones are made from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import FILE, CommandGroup, FleetCommand, size_option
from moltfleet.cli.completing import complete_goldens
from moltfleet.cli.documents import (
    golden_built_document,
    golden_deleted_document,
    golden_document,
    goldens_document,
)
from moltfleet.cli.files import read_cloud_config, read_script
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import golden_text, goldens_table, manifest_text
from moltfleet.model.recipe import Renewal
from moltfleet.model.requests import AdmissionRequest, BuildRequest, UpdateRequest


@click.group("golden", cls=CommandGroup)
def golden_command() -> None:
    """Build, update, list, show, prune and delete the images that clones are made from."""


_allow_secrets = click.option(
    "--allow-secrets", is_flag=True, help="Publish it although credentials were found in it; they are named."
)


def _check_digest(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", value):
        raise click.BadParameter("is not 64 hexadecimal digits")
    return value.lower() if value else None


@golden_command.command(
    "build",
    cls=FleetCommand,
    changes=True,
    example="moltfleet golden build base --image debian-12\n"
    "moltfleet golden build web --image ./noble.qcow2 --profile minimal --package nginx --require-service nginx",
)
@click.argument("name")
@click.option(
    "--image",
    required=True,
    metavar="SOURCE",
    help="Base image: a name (debian-12, ubuntu-24.04, or from the config), URL, file, or volume:NAME.",
)
@click.option("--sha256", metavar="DIGEST", callback=_check_digest, help="SHA-256 that the image must have.")
@click.option(
    "--profile",
    type=click.Choice(["none", "minimal", "agent", "desktop"]),
    help="What is installed.  [default: the config's, agent]",
)
@click.option(
    "--user-data",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="cloud-config that is merged on top of the profile; repeatable.",
)
@click.option(
    "--script",
    "scripts",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Program that is run in the guest as root; repeatable, in this order.",
)
@click.option("--package", "packages", metavar="NAME", multiple=True, help="Package to install; repeatable.")
@size_option("--memory", "Memory of the golden and, by default, its clones.  [default: 16G]")
@click.option("--vcpus", type=click.IntRange(1, 512), metavar="N", help="Virtual CPUs, likewise.  [default: 4]")
@size_option("--disk", "Disk size, likewise.  [default: 50G]")
@click.option("--user", metavar="NAME", help="The guest user that is logged in as.  [default: agent]")
@click.option(
    "--require-command",
    "required_commands",
    metavar="NAME",
    multiple=True,
    help="Command that must be there at the end.",
)
@click.option(
    "--require-service", "required_services", metavar="NAME", multiple=True, help="Service that must run at the end."
)
@click.option(
    "--tools/--no-tools",
    default=None,
    help="Put the guest tools in (docs/tools.md).  [default: yes, but not with profile none]",
)
@_allow_secrets
@admission_options
@pass_invocation
def build_command(
    invocation: Invocation, /, *, user_data: tuple[Path, ...], scripts: tuple[Path, ...], **options: Any
) -> None:
    """Build a golden, or its next generation, from a base image.

    The image is booted once, set up by cloud-init, verified, sealed and shut down. Existing clones are not touched.
    """
    from moltfleet.operations.golden_build import build, plan_build

    documents = tuple(read_cloud_config(file) for file in user_data)
    programs = tuple(read_script(file) for file in scripts)
    request = BuildRequest(user_data=documents, scripts=programs, **options)
    if invocation.dry_run:
        return invocation.show_plan(plan_build(invocation.fleet, request))
    view = build(invocation.fleet, request)
    return invocation.show(golden_built_document(view), golden_text(view))


@golden_command.command(
    "update",
    cls=FleetCommand,
    changes=True,
    example="moltfleet golden update base\n"
    "moltfleet golden update base --quick\n"
    "moltfleet golden update base --packages --script hardening.sh",
)
@click.argument("name", shell_complete=complete_goldens)
@click.option("--packages", "only_packages", is_flag=True, help="Renew the distribution's packages, and no CLIs.")
@click.option("--quick", is_flag=True, help="Renew the agents' CLIs, and no packages of the distribution.")
@click.option(
    "--user-data", type=FILE, metavar="FILE", multiple=True, help="cloud-config that is done on top; repeatable."
)
@click.option(
    "--script",
    "scripts",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Program that is run in the guest as root; repeatable, in this order.",
)
@_allow_secrets
@admission_options
@pass_invocation
def update_command(  # noqa: PLR0913 - what click passes
    invocation: Invocation,
    /,
    *,
    name: str,
    only_packages: bool,
    quick: bool,
    user_data: tuple[Path, ...],
    scripts: tuple[Path, ...],
    allow_secrets: bool,
    admission: AdmissionRequest,
) -> None:
    """Make the next generation of a golden, out of its newest one.

    Packages and the agents' CLIs are renewed, cloud-config and scripts done on top; then it is verified, sealed and
    proven as a build is. The generations before and the clones on them are not touched: moltfleet molt NAME --to latest
    moves a clone. When there is nothing new, no generation is made.
    """
    from moltfleet.cli.lineage_document import golden_updated_document
    from moltfleet.cli.lineage_text import golden_updated_text
    from moltfleet.operations.golden_update import plan_update, update

    if only_packages and quick:
        raise click.UsageError("--packages and --quick exclude each other; without them everything is renewed")
    request = UpdateRequest(
        name=name,
        renewal=Renewal(packages=not quick, clis=not only_packages),
        user_data=tuple(read_cloud_config(file) for file in user_data),
        scripts=tuple(read_script(file) for file in scripts),
        allow_secrets=allow_secrets,
        admission=admission,
    )
    if invocation.dry_run:
        return invocation.show_plan(plan_update(invocation.fleet, request))
    updated = update(invocation.fleet, request)
    return invocation.show(golden_updated_document(updated), golden_updated_text(updated))


@golden_command.command("list", cls=FleetCommand, example="moltfleet golden list")
@pass_invocation
def list_command(invocation: Invocation) -> None:
    """List the goldens, one per line."""
    from moltfleet.operations.listing import list_goldens

    views = list_goldens(invocation.fleet)
    if not views:
        invocation.progress.say("There are no goldens.")
    invocation.show(goldens_document(views), goldens_table(views))


@golden_command.command("show", cls=FleetCommand, example="moltfleet golden show base")
@click.argument("name", shell_complete=complete_goldens)
@pass_invocation
def show_command(invocation: Invocation, /, *, name: str) -> None:
    """Describe a golden: its generations, its source, its manifest, and the clones on it."""
    from moltfleet.operations.listing import show_golden

    view, manifest = show_golden(invocation.fleet, name)
    invocation.show(golden_document(view, manifest), f"{golden_text(view)}\n{manifest_text(manifest)}")


@golden_command.command("delete", cls=FleetCommand, destroys=True, example="moltfleet golden delete base")
@click.argument("name", shell_complete=complete_goldens)
@pass_invocation
def delete_command(invocation: Invocation, /, *, name: str) -> None:
    """Delete a golden with all its generations; refused while clones stand on it."""
    from moltfleet.operations.golden_delete import delete_golden, plan_delete_golden

    if invocation.dry_run:
        return invocation.show_plan(plan_delete_golden(invocation.fleet, name))
    invocation.confirm("Delete?", lambda: plan_delete_golden(invocation.fleet, name))
    delete_golden(invocation.fleet, name)
    return invocation.show(golden_deleted_document(name), f"Deleted golden {name}.")


@golden_command.command(
    "prune",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet golden prune --dry-run\nmoltfleet golden prune base --yes",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_goldens)
@pass_invocation
def prune_command(invocation: Invocation, /, *, names: tuple[str, ...]) -> None:
    """Delete the generations that nobody stands on; of all goldens when none is named.

    NAME may be a shell pattern. The newest generation always stays, and so does every one that a clone, or a shed or
    kept layer of one, stands on.
    """
    from moltfleet.cli.lineage_document import golden_pruned_document
    from moltfleet.cli.lineage_text import golden_pruned_text
    from moltfleet.operations.golden_prune import find_spares, plan_prune, prune

    if invocation.dry_run:
        return invocation.show_plan(plan_prune(invocation.fleet, names))
    if not invocation.yes and not find_spares(invocation.fleet, names):
        # Nothing to ask about.
        return invocation.show(golden_pruned_document(()), golden_pruned_text(()))
    invocation.confirm("Prune?", lambda: plan_prune(invocation.fleet, names))
    gone = prune(invocation.fleet, names)
    return invocation.show(golden_pruned_document(gone), golden_pruned_text(gone))
