"""`moltfleet snapshot`, `moltfleet pre-run` and `moltfleet post-run`: states of clones to go back to by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import CommandGroup, FleetCommand
from moltfleet.cli.completing import complete_clones, complete_snapshots
from moltfleet.cli.finish import finish_molts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.snapshot_text import (
    long_chains,
    snapshot_deleted_document,
    snapshot_taken_document,
    snapshots_document,
    snapshots_table,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from moltfleet.model.requests import AdmissionRequest


def _keep_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--keep",
        is_flag=False,
        flag_value="",
        metavar="[LABEL]",
        help="Keep the thrown-away state under a name; write --keep=LABEL, or --keep last.",
    )(function)


def _offline_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--offline", is_flag=True, help="Shut the guest down for it, and start it again.")(function)


def _take(invocation: Invocation, schema: str, name: str, label: str, offline: bool, terms: AdmissionRequest) -> None:  # noqa: FBT001
    from moltfleet.operations.snapshots import create, plan_create

    if invocation.dry_run:
        return invocation.show_plan(plan_create(invocation.fleet, name, label, offline=offline))
    view, chain = create(invocation.fleet, name, label, offline=offline, terms=terms)
    text = f"Snapshot {view.name} of {name} is taken; moltfleet post-run {name} --to {view.name} goes back to it."
    return invocation.show(snapshot_taken_document(schema, view, chain), text)


def _revert(invocation: Invocation, schema: str, name: str, label: str, **how: Any) -> None:
    from moltfleet.operations.snapshots import plan_revert, revert

    def plan() -> tuple[str, ...]:
        return plan_revert(invocation.fleet, name, label, keep=how["keep"])

    if invocation.dry_run:
        return invocation.show_plan(plan())
    invocation.confirm("Revert?", plan)
    return finish_molts(invocation, schema, (revert(invocation.fleet, name, label, **how),))


@click.group("snapshot", cls=CommandGroup)
def snapshot_command() -> None:
    """Take, list, go back to and delete states of a clone's disk; make long chains short."""


@snapshot_command.command("create", cls=FleetCommand, changes=True, example="moltfleet snapshot create base-1 compiled")
@click.argument("name", shell_complete=complete_clones)
@click.argument("snapshot")
@_offline_option
@admission_options
@pass_invocation
def create_command(
    invocation: Invocation, /, *, name: str, snapshot: str, offline: bool, admission: AdmissionRequest
) -> None:
    """Freeze what a clone's disk is now, under a name, while the clone goes on.

    A running guest makes its file systems whole for a moment (by its agent); RAM is not part of it. The snapshot stays
    through molts until it is deleted.
    """
    return _take(invocation, "moltfleet.snapshot-create/1", name, snapshot, offline, admission)


@snapshot_command.command(
    "list", cls=FleetCommand, example="moltfleet snapshot list\nmoltfleet snapshot list base-1 --json"
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@pass_invocation
def list_command(invocation: Invocation, /, *, names: tuple[str, ...]) -> None:
    """List snapshots, one per line, the oldest first; of all clones when none is named.

    DISK is what was written until it was taken, since the one before. BELOW tells whether the clone stands on it now.
    """
    from moltfleet.operations.snapshots import list_snapshots

    views, chains = list_snapshots(invocation.fleet, names)
    if not views:
        invocation.progress.say("There are no snapshots; moltfleet snapshot create NAME SNAPSHOT takes one.")
    for sentence in long_chains(chains):
        invocation.progress.warn(sentence)
    invocation.show(snapshots_document(views, chains), snapshots_table(views))


@snapshot_command.command(
    "revert", cls=FleetCommand, destroys=True, example="moltfleet snapshot revert base-1 compiled"
)
@click.argument("name", shell_complete=complete_clones)
@click.argument("snapshot", shell_complete=complete_snapshots)
@_keep_option
@admission_options
@pass_invocation
def revert_command(
    invocation: Invocation, /, *, name: str, snapshot: str, keep: str | None, admission: AdmissionRequest
) -> None:
    """Boot a clone from a snapshot, which stays.

    What the clone is now stays for `moltfleet undo`, as with a molt. The clean point is the same as before.
    """
    return _revert(invocation, "moltfleet.snapshot-revert/1", name, snapshot, keep=keep, terms=admission)


@snapshot_command.command(
    "delete", cls=FleetCommand, destroys=True, example="moltfleet snapshot delete base-1 compiled"
)
@click.argument("name", shell_complete=complete_clones)
@click.argument("snapshot", shell_complete=complete_snapshots)
@pass_invocation
def delete_command(invocation: Invocation, /, *, name: str, snapshot: str) -> None:
    """Delete a snapshot for good; the clone goes on as it is.

    Its layer stays as long as something stands on it: the clone itself, another snapshot, what was shed or kept.
    """
    from moltfleet.operations.snapshots import delete, plan_delete

    if invocation.dry_run:
        return invocation.show_plan(plan_delete(invocation.fleet, name, snapshot))
    invocation.confirm("Delete?", lambda: plan_delete(invocation.fleet, name, snapshot))
    delete(invocation.fleet, name, snapshot)
    return invocation.show(snapshot_deleted_document(name, snapshot), f"Deleted snapshot {snapshot} of {name}.")


@snapshot_command.command("flatten", cls=FleetCommand, changes=True, example="moltfleet snapshot flatten base-1")
@click.argument("name", shell_complete=complete_clones)
@admission_options
@pass_invocation
def flatten_command(invocation: Invocation, /, *, name: str, admission: AdmissionRequest) -> None:
    """Copy a clone's long chain of layers into one, and boot that.

    The guest is shut down for it. The copy holds the golden's part as well, so it is larger. What it was stays for
    `moltfleet undo`; snapshots and the clean point stay what they are.
    """
    from moltfleet.operations.snapshots import flatten, plan_flatten

    if invocation.dry_run:
        return invocation.show_plan(plan_flatten(invocation.fleet, name))
    result = flatten(invocation.fleet, name, terms=admission)
    return finish_molts(invocation, "moltfleet.snapshot-flatten/1", (result,))


@click.command("pre-run", cls=FleetCommand, changes=True, example="moltfleet pre-run base-1")
@click.argument("name", shell_complete=complete_clones)
@_offline_option
@admission_options
@pass_invocation
def pre_run_command(invocation: Invocation, /, *, name: str, offline: bool, admission: AdmissionRequest) -> None:
    """Take a snapshot of a clone before an agent runs in it, named after the moment.

    The way back to it is `moltfleet post-run NAME --to SNAPSHOT`. Without one the clean point is there as well.
    """
    from moltfleet.operations.snapshots import new_label

    return _take(invocation, "moltfleet.pre-run/1", name, new_label(invocation.fleet), offline, admission)


@click.command(
    "post-run",
    cls=FleetCommand,
    destroys=True,
    example="moltfleet post-run base-1\nmoltfleet post-run base-1 --to compiled --yes",
)
@click.argument("name", shell_complete=complete_clones)
@click.option("--to", "snapshot", metavar="SNAPSHOT", shell_complete=complete_snapshots, help="Go back to a snapshot.")
@_keep_option
@admission_options
@pass_invocation
def post_run_command(
    invocation: Invocation, /, *, name: str, snapshot: str | None, keep: str | None, admission: AdmissionRequest
) -> None:
    """Throw away what an agent's run left in a clone: back to the clean point, or to a snapshot.

    To the clean point it is a molt, with RAM when there is some. What the clone was stays for `moltfleet undo`.
    """
    schema = "moltfleet.post-run/1"
    if snapshot is not None:
        return _revert(invocation, schema, name, snapshot, keep=keep, terms=admission)
    from moltfleet.model.requests import MoltRequest
    from moltfleet.operations.molt import molt, plan_molt

    request = MoltRequest(keep=keep, rescue=invocation.config.rescue.before_molt, admission=admission)
    if invocation.dry_run:
        return invocation.show_plan(plan_molt(invocation.fleet, (name,), request))
    invocation.confirm("Molt?", lambda: plan_molt(invocation.fleet, (name,), request))
    return finish_molts(invocation, schema, molt(invocation.fleet, (name,), request))
