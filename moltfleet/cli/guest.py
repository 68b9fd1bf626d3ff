"""`moltfleet ssh`, `exec` and `copy`: into the guests."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from moltfleet.cli.command import FleetCommand, GuestCommand, timeout_option
from moltfleet.cli.completing import complete_clones, complete_paths
from moltfleet.cli.documents import copy_document, exec_document
from moltfleet.cli.errors import tell
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.cli.streams import Collected, Streams
from moltfleet.model.domain import Endpoint
from moltfleet.model.names import is_pattern
from moltfleet.model.records import CloneRecord
from moltfleet.model.results import ActResult, common_exit_code

if TYPE_CHECKING:
    from moltfleet.operations.fleet import Fleet


@click.command(
    "ssh", cls=GuestCommand, changes=True, example="moltfleet ssh base-1\nmoltfleet ssh base-1 -- tmux attach"
)
@click.argument("name", shell_complete=complete_clones)
@pass_invocation
def ssh_command(invocation: Invocation, /, *, name: str, command: tuple[str, ...]) -> None:
    """Log in to a clone with the OpenSSH client, or run COMMAND there.

    The clone's host key is checked against the one it was made with. What the guest writes reaches your terminal
    unchanged. COMMAND is taken as by exec. The exit status is ssh's.
    """
    from moltfleet.cli.wiring import ssh_arguments
    from moltfleet.operations.clones import endpoint
    from moltfleet.operations.guest import login

    where = endpoint(invocation.fleet, name)
    arguments = ssh_arguments(invocation.config, where, command)
    if invocation.dry_run:
        invocation.show_plan((shlex.join(arguments),))
        return
    # Lets this user's key in where somebody else made the clone, and tells failures in our words.
    with login(invocation.fleet, where):
        pass
    status = invocation.open_ssh(invocation.config, arguments, _known(invocation.fleet))
    click.get_current_context().exit(status)


def _known(fleet: Fleet) -> tuple[Endpoint, ...]:
    """All clones with their host keys: a known_hosts with one of them alone would break a login to another."""
    records = [(domain.name, domain.record) for domain in fleet.hypervisor.domains() if domain.is_clone]
    return tuple(
        Endpoint(name, host="", port=0, user=record.user, host_keys=record.host_keys)
        for name, record in records
        if isinstance(record, CloneRecord)
    )


@click.command(
    "exec",
    cls=GuestCommand,
    needs_command=True,
    changes=True,
    example="moltfleet exec base-1 -- git -C work/repos/app status\nmoltfleet exec 'base-*' -- 'df -h / | tail -1'",
)
@click.argument("patterns", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_clones)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(1, 64),
    metavar="N",
    help="In how many clones to run it side by side.  [default: the config's]",
)
@timeout_option
@pass_invocation
def exec_command(
    invocation: Invocation,
    /,
    *,
    patterns: tuple[str, ...],
    jobs: int | None,
    timeout_s: float | None,
    command: tuple[str, ...],
) -> None:
    """Run a command in clones, side by side.

    NAME may be a shell pattern such as 'base-*'. A single word after -- goes to the guest's shell as it is; several
    words stay the words they are. With several clones each line begins with the clone's name. The exit status is the
    command's; with several clones the one they share, else 1.
    """
    from moltfleet.operations.clones import clone_names
    from moltfleet.operations.guest import execute

    if not command:
        raise click.UsageError("No command is given; it comes after --")
    line = command[0] if len(command) == 1 else shlex.join(command)
    if invocation.dry_run:
        return invocation.show_plan(tuple(f"{name}: {line}" for name in clone_names(invocation.fleet, patterns)))
    output = Collected() if invocation.json else _streams(patterns)
    results = execute(invocation.fleet, patterns, line, on_output=output.write, jobs=jobs, timeout_s=timeout_s)
    if isinstance(output, Collected):
        invocation.show(exec_document(output.of(result) for result in results), "")
    else:
        output.close()
    return _finish(invocation, results)


def _streams(patterns: Sequence[str]) -> Streams:
    one = len(patterns) == 1 and not is_pattern(patterns[0])
    return Streams(sys.stdout.buffer, sys.stderr.buffer, prefixed=not one, raw=one and not sys.stdout.isatty())


def _finish(invocation: Invocation, results: Sequence[ActResult]) -> None:
    errors = [result.error for result in results if result.error]
    if not invocation.json:
        for error in errors:
            tell(error, verbose=invocation.verbosity > 0)
    statuses = {int(result.detail) for result in results if not result.error}
    if errors:
        code = int(common_exit_code(errors, targets=len(results)))
    else:
        code = statuses.pop() if len(statuses) == 1 else 1
    click.get_current_context().exit(code)


@click.command(
    "copy",
    cls=FleetCommand,
    changes=True,
    example="moltfleet copy notes.md base-1:work/\nmoltfleet copy base-1:work/artifacts ./artifacts",
)
@click.argument("source", metavar="SRC", shell_complete=complete_paths)
@click.argument("destination", metavar="DST", shell_complete=complete_paths)
@pass_invocation
def copy_command(invocation: Invocation, /, *, source: str, destination: str) -> None:
    """Copy a file or a directory into a clone or out of it.

    One side is NAME:PATH; a relative PATH starts at the guest user's home. Directories are copied whole. A local
    path with a colon is written ./with:colon.
    """
    from moltfleet.operations.guest import copy

    if invocation.dry_run:
        return invocation.show_plan((f"copy {source} to {destination}",))
    copy(invocation.fleet, source, destination)
    return invocation.show(copy_document(source, destination), "")
