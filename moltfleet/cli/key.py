"""`moltfleet key`: which public keys may log in, now and in later clones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import click

from moltfleet.cli.command import FILE, CommandGroup, FleetCommand
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.files import read_public_keys
from moltfleet.cli.finish import finish_acts
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.tables import figures_table
from moltfleet.model.errors import InvalidInput, NotFound
from moltfleet.model.publickeys import KnownKey, fingerprint


@click.group("key", cls=CommandGroup)
def key_command() -> None:
    """Let public SSH keys into clones, running ones and later ones."""


@key_command.command(
    "authorise",
    cls=FleetCommand,
    changes=True,
    example="moltfleet key authorise base-1 --key colleague.pub\nmoltfleet key authorise --all --key laptop.pub --once",
)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)
@click.option("--all", "everyone", is_flag=True, help="Let it into every clone that runs.")
@click.option(
    "--key",
    "files",
    type=FILE,
    metavar="FILE",
    multiple=True,
    help="Public key; repeatable.  [default: the config's, ~/.ssh/id_*.pub]",
)
@click.option("--once", is_flag=True, help="Until the next molt, and for no later clone.")
@pass_invocation
def authorise_command(
    invocation: Invocation, /, *, names: tuple[str, ...], everyone: bool, files: tuple[Path, ...], once: bool
) -> None:
    """Add public keys to running clones, and to whatever is created later.

    A clone lets them in again after every molt, unless --once. With --key and no NAME it is only remembered.
    """
    if names and everyone:
        raise click.UsageError("Names and --all exclude each other")
    if not names and not everyone and (not files or once):
        raise click.UsageError("No clone is named; --all means every clone that runs")
    fleet = invocation.fleet
    given = [key for file in files for key in read_public_keys(file)]
    keys = fleet.keys.check(given) if given else fleet.keys.user_public_keys()
    if not keys:
        raise InvalidInput("There is no public key to add", hint="Name one: --key FILE. ssh-keygen makes a pair.")
    _authorise(invocation, names, keys, everyone=everyone, once=once, remembered=keys if files and not once else ())


def _authorise(
    invocation: Invocation,
    names: Sequence[str],
    keys: Sequence[str],
    *,
    everyone: bool,
    once: bool,
    remembered: Sequence[str],
) -> None:
    from moltfleet.operations import authorise
    from moltfleet.operations.clones import clone_names

    fleet = invocation.fleet
    # No names at all would mean every clone.
    chosen = authorise.running_clones(fleet) if everyone else clone_names(fleet, names) if names else ()
    if invocation.dry_run:
        prints = ", ".join(map(fingerprint, keys))
        later = tuple(f"remember {fingerprint(key)} for later clones" for key in remembered)
        return invocation.show_plan((*(f"{name}: add {prints}" for name in chosen), *later))
    if remembered:
        new = fleet.keys.remember(remembered)
        more = f"Later clones get {len(new)} more key{'s' if len(new) > 1 else ''}."
        invocation.progress.say(more if new else "Later clones get it anyway.")
    results = authorise.authorise(fleet, chosen, keys, keeps=not once) if chosen else ()
    return finish_acts(invocation, "moltfleet.key-authorise/1", results)


@key_command.command("list", cls=FleetCommand, example="moltfleet key list")
@pass_invocation
def list_command(invocation: Invocation) -> None:
    """List the keys that new clones get.

    FROM: the fleet key, which moltfleet itself logs in with; the config's authorized_keys; without such, ~/.ssh; and
    what was authorised and remembered.
    """
    keys = invocation.fleet.keys.known()
    rows = [(key.fingerprint, key.type, key.source, key.comment) for key in keys]
    invocation.show(keys_document(keys), figures_table(("FINGERPRINT", "TYPE", "FROM", "COMMENT"), rows))


@key_command.command("forget", cls=FleetCommand, changes=True, example="moltfleet key forget SHA256:nThbg6kXUpJWGl7E1")
@click.argument("prints", nargs=-1, required=True, metavar="FINGERPRINT...")
@pass_invocation
def forget_command(invocation: Invocation, /, *, prints: tuple[str, ...]) -> None:
    """Give remembered keys to no later clone, and to none after its next molt.

    FINGERPRINT may be cut short. Clones that were created with a key keep it.
    """
    from moltfleet.operations.authorise import kept_by_clones, stop_keeping

    fleet = invocation.fleet
    try:
        found = fleet.keys.find_remembered(prints)
    except NotFound:
        # One that was never remembered may be kept by a clone; then its whole fingerprint says which is meant.
        if {key.fingerprint for _, key in kept_by_clones(fleet, prints)} != set(prints):
            raise
        found = ()
    meant = {*prints, *(key.fingerprint for key in found)}
    kept = kept_by_clones(fleet, meant)
    if invocation.dry_run:
        lines = (f"forget {key.fingerprint}" for key in found)
        return invocation.show_plan((*lines, *(f"{name}: keep {key.fingerprint} no longer" for name, key in kept)))
    gone = fleet.keys.forget(prints) if found else tuple({key.fingerprint: key for _, key in kept}.values())
    stop_keeping(fleet, meant)
    return invocation.show(forgotten_document(gone), "")


def keys_document(keys: Iterable[KnownKey]) -> dict[str, object]:
    """``moltfleet.key-list/1``."""
    return {"schema": "moltfleet.key-list/1", "keys": [_key(key) for key in keys]}


def forgotten_document(keys: Iterable[KnownKey]) -> dict[str, object]:
    """``moltfleet.key-forget/1``."""
    return {"schema": "moltfleet.key-forget/1", "keys": [_key(key) for key in keys]}


def _key(key: KnownKey) -> dict[str, str]:
    return {"fingerprint": key.fingerprint, "type": key.type, "source": key.source, "comment": key.comment}
