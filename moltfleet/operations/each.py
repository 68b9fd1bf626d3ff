"""Run one command in many clones side by side, each with a task and a branch of its own if wanted; fetch their work."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from moltfleet.model.each import EachRequest, EachResult
from moltfleet.model.errors import DeadlinePassed, GuestFailed, InvalidInput, MoltfleetError
from moltfleet.model.names import printable, printable_lines
from moltfleet.model.rescue import PartState
from moltfleet.operations.clones import clone_names
from moltfleet.operations.guest import run_line
from moltfleet.operations.parallel import each
from moltfleet.operations.rescue import Scope, rescue

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from moltfleet.model.each import Branches
    from moltfleet.model.rescue import RescueResult
    from moltfleet.operations.fleet import Fleet

SCRIPT = "each.sh"
# Waiting for guests takes nothing of this machine.
_SIDE_BY_SIDE = 8
# Of each stream the end is kept: what an agent says last, says most.
_MOST_KEPT = 1 << 20
_EXCERPT_LINES = 8
# What each.sh ends with when the command was not begun.
_NOT_BEGUN = 125
# A program takes no longer word than 128 KiB (MAX_ARG_STRLEN), and sshd hands the whole line over as one.
_LONGEST_LINE = 120_000


@dataclass(slots=True)
class _Tail:
    """The end of what a guest writes, in bounded memory."""

    kept: bytearray = field(default_factory=bytearray)
    truncated: bool = False

    def take(self, piece: bytes) -> None:
        """Accept a piece of output."""
        self.kept += piece
        if len(self.kept) > 2 * _MOST_KEPT:
            self._cut()

    def end(self) -> bytes:
        """Return what is kept."""
        self._cut()
        return bytes(self.kept)

    def _cut(self) -> None:
        if len(self.kept) > _MOST_KEPT:
            del self.kept[:-_MOST_KEPT]
            self.truncated = True


def plan_each(fleet: Fleet, patterns: Sequence[str], request: EachRequest) -> tuple[str, ...]:
    """Say, one line per clone, what would be run; asks no guest. Raises: NotFound, InvalidInput."""
    return tuple(_plan_one(name, request, task) for name, task in _share_out(fleet, patterns, request))


def _plan_one(name: str, request: EachRequest, task: str) -> str:
    where = f" in {request.repository}" if request.repository else ""
    branch = f" on branch {request.branch}/{name}" if request.branch else ""
    about = f", task {printable(task, limit=60)!r}" if task else ""
    return f"{name}: {request.line}{where}{branch}{about}"


def run_each(
    fleet: Fleet, patterns: Sequence[str], request: EachRequest, *, branches: Branches | None = None
) -> tuple[EachResult, ...]:
    """Run it in every named clone; whatever becomes of one leaves the others.

    ``branches`` takes what is on the clones' own branches. Raises: NotFound, InvalidInput, before anything is run.
    """
    tasks = dict(_share_out(fleet, patterns, request))
    for name, task in tasks.items():
        if len(_line(fleet, name, request, task, math.inf)) > _LONGEST_LINE:
            raise InvalidInput(
                f"Command and task of {name!r} are too long", hint="Copy a file into the clones instead."
            )
    if branches is not None:
        branches.check()

    def act(name: str) -> EachResult:
        result = _run_one(fleet, name, request, tasks[name])
        return _fetch(fleet, request, result, branches) if _is_to_fetch(request, result) else result

    return each(tuple(tasks), act, jobs=request.jobs or max(fleet.config.jobs, _SIDE_BY_SIDE))


def _share_out(fleet: Fleet, patterns: Sequence[str], request: EachRequest) -> tuple[tuple[str, str], ...]:
    """Give each clone its task; those that there is none for are left out. Raises: NotFound, InvalidInput."""
    names = clone_names(fleet, patterns)
    if not request.tasks:
        return tuple((name, "") for name in names)
    if len(request.tasks) > len(names):
        more = len(request.tasks) - len(names)
        raise InvalidInput(
            f"There are {len(request.tasks)} tasks for {len(names)} clone(s)",
            hint=f"Make more: moltfleet create GOLDEN -n {more}",
        )
    if idle := names[len(request.tasks) :]:
        fleet.progress.say(f"Without a task: {', '.join(idle)}")
    return tuple(zip(names, request.tasks, strict=False))


def _run_one(fleet: Fleet, name: str, request: EachRequest, task: str) -> EachResult:
    started = fleet.clock.monotonic()
    tails = {False: _Tail(), True: _Tail()}
    status, error = None, None
    with fleet.progress.step(f"Running in {name}", timeout_s=request.timeout_s) as step:

        def take(_: str, is_error: bool, piece: bytes) -> None:  # noqa: FBT001 - the operation's callback
            tails[is_error].take(piece)
            step.detail(_last_line(piece))

        try:
            status = run_line(
                fleet,
                name,
                lambda left_s: _line(fleet, name, request, task, left_s),
                on_output=take,
                timeout_s=request.timeout_s,
            )
        except MoltfleetError as failure:
            error = failure
    out, err = tails[False].end(), tails[True].end()
    return EachResult(
        clone=name,
        outcome=_outcome(status, error),
        exit_status=status,
        stdout=out,
        stderr=err,
        truncated=tails[False].truncated or tails[True].truncated,
        seconds=fleet.clock.monotonic() - started,
        task=task,
        branch=f"{request.branch}/{name}" if request.branch else "",
        error=error if status is None else _failure(name, status, err or out),
    )


def _line(fleet: Fleet, name: str, request: EachRequest, task: str, left_s: float | None) -> str:
    seconds = 0 if left_s is None else 999_999 if math.isinf(left_s) else max(1, math.ceil(left_s))
    branch = f"{request.branch}/{name}" if request.branch else ""
    text = fleet.bootstrap.read(SCRIPT).decode()
    words = (text, "each", str(seconds), request.repository, branch, name, task, request.line)
    return shlex.join(("exec", "sh", "-c", *words))


def _outcome(status: int | None, error: MoltfleetError | None) -> str:
    if status is not None:
        return "failed" if status else "done"
    return "late" if isinstance(error, DeadlinePassed) else "unreached"


def _failure(name: str, status: int, said: bytes) -> GuestFailed | None:
    if status == 0:
        return None
    lines = printable_lines(said[-8000:].decode("utf-8", "replace")).strip().splitlines()[-_EXCERPT_LINES:]
    fact = "was not begun" if status == _NOT_BEGUN else f"ended with {status}"
    return GuestFailed(f"Command in {name!r} {fact}", excerpt="\n".join(line[:300] for line in lines) or None)


def _last_line(piece: bytes) -> str:
    lines = piece[-1000:].decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""


def _is_to_fetch(request: EachRequest, result: EachResult) -> bool:
    """Whether there is something to fetch: also of what failed or took too long, but not of what never began."""
    has_run = result.outcome == "late" or result.exit_status not in (None, _NOT_BEGUN)
    return has_run and bool(request.branch or request.fetch)


def _fetch(fleet: Fleet, request: EachRequest, result: EachResult, branches: Branches | None) -> EachResult:
    """Fetch the clone's work by the way of a rescue: bounded, looked through, stored with checksums."""
    roots = (_in_home(request.repository),) if request.branch else ()
    scope = Scope(roots, tuple(_in_home(path) for path in request.fetch), has_screens=False)
    fetched = rescue(fleet, result.clone, reason="each", scope=scope)
    result = replace(result, rescue=fetched, error=result.error or fetched.error)
    if branches is None or not result.branch or fetched.directory is None:
        return result
    try:
        return replace(result, taken=branches.take(_sound_bundles(fetched), result.branch))
    except MoltfleetError as error:
        return replace(result, error=result.error or error)


def _sound_bundles(fetched: RescueResult) -> tuple[Path, ...]:
    directory = fetched.directory
    if directory is None:
        return ()
    return tuple(
        directory / part.name for part in fetched.parts if part.kind == "commits" and part.state is PartState.SOUND
    )


def _in_home(path: str) -> str:
    """A path in the guest as rescues have it: absolute, or below "~"."""
    return path if path.startswith(("/", "~/")) or path == "~" else f"~/{path}"
