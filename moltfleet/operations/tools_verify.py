"""Prove that the tools inside clones do what they are there for: each thing is tried in the guest, and looked at.

A small leak runs in a scope of its own while new logins are made and timed. Nothing of it stays in the guest but what
its journal tells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from moltfleet.model.errors import MoltfleetError, WrongState
from moltfleet.model.guesttools import Proof, ProofResult, ToolsArchive, ToolsState, Unproven
from moltfleet.operations import tools_session
from moltfleet.operations.clones import clone_names, endpoint
from moltfleet.operations.deadlines import Deadline, timeouts
from moltfleet.operations.guest import login
from moltfleet.operations.parallel import each, pause
from moltfleet.operations.tools import check_fit
from moltfleet.operations.tools_archive import pack
from moltfleet.operations.trials import Trials, brought, document_of, end_of, text_of

if TYPE_CHECKING:
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.ports import GuestSession, Step
    from moltfleet.operations.fleet import Fleet

_PROGRAM = "proofs.py"
# Proofs that are one program, and whether it is run as root. The first puts aside what the leak would push out.
_ALONE = (("watchdog", True), ("limit", False), ("agents", False), ("forecast", False))
# What mkdtemp(3) of Python makes of our pattern.
_LEAK_DIRECTORY = re.compile(r"/tmp/moltfleet-proof\.[A-Za-z0-9_]{6,32}")
_BETWEEN_LOGINS_S = 0.5
# A login that takes longer is no answer to a person; as a part of the configured deadline.
_LOGIN_SHARE = 1 / 6
_TRIED = {
    "watchdog": "its service, and its self-test",
    "limit": "twice as much as a scope may have, at once",
    "agents": "each agent by its plain name",
    "forecast": "a leak and an idle guest, written down",
    "leak": "a small leak in a scope",
}


def plan_verify(fleet: Fleet, patterns: Sequence[str]) -> tuple[str, ...]:
    """Say, one line per clone, what would be tried; no guest is asked."""
    tried = ("installed version", *_TRIED.values(), "logins meanwhile")
    return tuple(f"{name}: would try {'; '.join(tried)}" for name in clone_names(fleet, patterns))


def verify(fleet: Fleet, patterns: Sequence[str], *, jobs: int | None = None) -> tuple[ProofResult, ...]:
    """Try everything in every named clone; one that fails stands in its result, and leaves the others."""
    archive = pack(fleet)

    def act(name: str) -> ProofResult:
        started, proofs = fleet.clock.monotonic(), _Proofs()
        error: MoltfleetError | None = None
        try:
            with fleet.locks.hold(name, verb="tools"):
                _prove(fleet, name, archive, proofs)
        except MoltfleetError as failure:
            error = failure
        failed = tuple(proof for proof in proofs.done if not proof.passed)
        if error is None and failed:
            error = Unproven(name, failed, len(proofs.done))
        return ProofResult(name, tuple(proofs.done), fleet.clock.monotonic() - started, error)

    return each(clone_names(fleet, patterns), act, jobs=jobs or fleet.config.jobs)


@dataclass(slots=True)
class _Proofs:
    """What came out so far, kept whatever happens next."""

    done: list[Proof] = field(default_factory=list)


def _prove(fleet: Fleet, name: str, archive: ToolsArchive, proofs: _Proofs) -> None:
    where = endpoint(fleet, name)
    with fleet.progress.step(f"Proving the tools of {name}") as step, login(fleet, where) as session:
        step.detail("installed version")
        proofs.done.append(_installed(fleet, session, name, archive))
        with brought(fleet, session, name) as trials:
            for proof, root in _ALONE:
                step.detail(_TRIED[proof])
                proofs.done.append(_alone(fleet, trials, proof, root=root))
            proofs.done += _leak(fleet, trials, where, step)


def _installed(fleet: Fleet, session: GuestSession, name: str, archive: ToolsArchive) -> Proof:
    """The first proof. Raises: WrongState when there is nothing to prove."""
    began = fleet.clock.monotonic()
    found = tools_session.look(session, name, timeout_s=timeouts(fleet).tools)
    check_fit(name, found)
    state = found.state(archive.version)
    if state is ToolsState.NONE:
        raise WrongState(f"Clone {name!r} has no guest tools", hint=f"Install them: moltfleet tools install {name}")
    said = f"{state.value}: {found.report.version}" if found.report else f"{state.value}: {found.lack}"
    wrong = (*found.report.changed, *found.report.missing) if found.report else ()
    happened = f"{said}, {len(wrong)} file(s) differ" if wrong else said
    seconds = fleet.clock.monotonic() - began
    return Proof("installed", f"version {archive.version}, unchanged", happened, state is ToolsState.CURRENT, seconds)


def _alone(fleet: Fleet, trials: Trials, name: str, *arguments: str, root: bool) -> Proof:
    """Run one proof. One that gives no answer has failed; a guest that is gone ends them all."""
    began = fleet.clock.monotonic()
    program = "leak-end" if name == "leak" else name
    answer = trials.run(_PROGRAM, program, *arguments, timeout_s=timeouts(fleet).tools, root=root)
    seconds = fleet.clock.monotonic() - began
    document = document_of(answer)
    if document is None or not isinstance(document.get("passed"), bool):
        return Proof(name, _TRIED[name], f"no answer: {end_of(answer)}", False, seconds)
    tried, happened = text_of(document, "tried") or _TRIED[name], text_of(document, "happened")
    return Proof(name, tried, happened, document["passed"] is True, seconds)


def _leak(fleet: Fleet, trials: Trials, where: Endpoint, step: Step) -> tuple[Proof, ...]:
    """Let something leak, log in anew again and again until it is over, and ask how it ended."""
    began = fleet.clock.monotonic()
    step.detail(_TRIED["leak"])
    answer = trials.run(_PROGRAM, "leak-begin", timeout_s=timeouts(fleet).tools)
    directory = answer.text.strip()
    if answer.exit_code != 0 or not _LEAK_DIRECTORY.fullmatch(directory):
        return (Proof("leak", _TRIED["leak"], f"no answer: {end_of(answer)}", False, fleet.clock.monotonic() - began),)
    asked = _ask_until_over(fleet, where, directory)
    ended = _alone(fleet, trials, "leak", directory, root=True)
    return (
        Proof(ended.name, ended.tried, ended.happened, ended.passed, fleet.clock.monotonic() - began),
        asked,
    )


def _ask_until_over(fleet: Fleet, where: Endpoint, directory: str) -> Proof:
    """Make new logins, each with a command, as long as the leak goes on."""
    limits = timeouts(fleet)
    deadline, began = Deadline.after(fleet.clock, limits.tools), fleet.clock.monotonic()
    allowed, times, wrong = limits.login * _LOGIN_SHARE, [], ""
    is_over = False
    while not is_over and not wrong and not deadline.has_passed:
        before = fleet.clock.monotonic()
        try:
            with fleet.guests.login(where, timeout_s=limits.login) as session:
                is_over = session.run(f"test -e {directory}/outcome", timeout_s=limits.login).exit_code == 0
        except MoltfleetError as error:
            wrong = error.brief
        times.append(fleet.clock.monotonic() - before)
        pause(fleet.clock, 0.0 if is_over or wrong else _BETWEEN_LOGINS_S)
    if not is_over and not wrong:
        wrong = "the leak was not over in time"
    slowest = max(times, default=0.0)
    happened = f"{len(times)} login(s), the slowest took {slowest:.1f} s"
    return Proof(
        "sshd",
        f"new logins while it leaks, each within {allowed:.0f} s",
        f"{happened}; {wrong}" if wrong else happened,
        not wrong and slowest <= allowed,
        fleet.clock.monotonic() - began,
    )
