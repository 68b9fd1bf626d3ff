"""`moltfleet each`: one command in many clones, with their work fetched back."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from moltfleet.cli.command import FILE, GuestCommand, timeout_option
from moltfleet.cli.completing import complete_clones
from moltfleet.cli.each_document import each_document, each_table
from moltfleet.cli.finish import finish
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.each import EachRequest, check_branch


@click.command(
    "each",
    cls=GuestCommand,
    needs_command=True,
    changes=True,
    example="moltfleet each 'base-*' -- 'df -h / | tail -1'\n"
    "moltfleet each 'base-*' --tasks tasks.txt --repo work/repos/app --branch try --into . "
    "-- 'claude -p \"$MOLTFLEET_TASK\"'",
)
@click.argument("patterns", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_clones)
@click.option("--tasks", "tasks_file", type=FILE, metavar="FILE",
              help="A task for each clone, as $MOLTFLEET_TASK: lines of a file, or files of a directory.")  # fmt: skip
@click.option("--repo", "repository", default="", metavar="PATH", help="Run it in this directory of the guests.")
@click.option("--branch", default="", metavar="BRANCH",
              help="In --repo, on a branch BRANCH/CLONE of its own; its work is fetched.")  # fmt: skip
@click.option("--into", type=FILE, metavar="REPOSITORY", help="Take those branches into this repository here.")
@click.option("--fetch", multiple=True, metavar="PATH", help="A file or directory of the guests to fetch; repeatable.")
@click.option("-j", "--jobs", type=click.IntRange(1, 64), metavar="N",
              help="In how many clones to run it side by side.  [default: 8, or the config's if more]")  # fmt: skip
@timeout_option
@pass_invocation
def each_command(
    invocation: Invocation, /, *, patterns: tuple[str, ...], tasks_file: Path | None, into: Path | None, **options: Any
) -> None:
    """Run a command in many clones at once, and fetch back what came of it.

    NAME may be a shell pattern such as 'base-*'. A single word after -- goes to the guest's shell as it is; several
    words stay the words they are. It finds MOLTFLEET_CLONE, MOLTFLEET_TASK and MOLTFLEET_BRANCH in its environment.
    What is fetched is looked through and stored as by rescue; a failure in one clone leaves the others.
    """
    from moltfleet.cli.files import read_tasks
    from moltfleet.operations.each import plan_each, run_each

    command: tuple[str, ...] = options.pop("command")
    if not command:
        raise click.UsageError("No command is given; it comes after --")
    line = command[0] if len(command) == 1 else shlex.join(command)
    request = EachRequest(line=line, tasks=read_tasks(tasks_file) if tasks_file else (), **options)
    _check(request, has_repository=into is not None)
    if invocation.dry_run:
        return invocation.show_plan(plan_each(invocation.fleet, patterns, request))
    results = run_each(invocation.fleet, patterns, request, branches=_branches(into) if into else None)
    invocation.show(each_document(request, results), each_table(results))
    for result in results:
        if result.rescue is not None and result.rescue.directory is not None:
            invocation.progress.say(f"Work of {result.clone!r} is in {result.rescue.directory}")
    return finish(invocation, [result.error for result in results if result.error], targets=len(results))


def _check(request: EachRequest, *, has_repository: bool) -> None:
    if request.branch and not request.repository:
        raise click.UsageError("--branch needs --repo, the repository that it is made in")
    if has_repository and not request.branch:
        raise click.UsageError("--into needs --branch, which names the branches")
    if request.branch:
        check_branch(request.branch)


def _branches(into: Path) -> Any:
    from moltfleet.cli.wiring import local_branches

    return local_branches(into)
