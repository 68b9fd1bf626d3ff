"""One command to an agent: a clone is found by a part of its name, or made, or started; then somebody logs in to it."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.agentline import read_line
from moltfleet.model.domain import DomainState, Endpoint
from moltfleet.model.errors import GuestFailed, GuestUnreachable, InvalidInput, NotFound, WrongState
from moltfleet.model.names import match_part, printable
from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.model.requests import CreateRequest, StartRequest
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.guest import login

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moltfleet.model.agentline import AgentLine
    from moltfleet.model.domain import Domain
    from moltfleet.model.requests import AgentRequest
    from moltfleet.operations.fleet import Fleet

SCRIPT = "agent.sh"
SESSION = "agent"
# What agent.sh ends with in a guest without agent-session or tmux.
_NO_SESSIONS = 9
_LARGEST_ANSWER = 16 * 1024


@dataclass(frozen=True, slots=True)
class AgentClone:
    """A clone that can be logged in to. ``act`` says what that took: "created", "started" or "found".

    ``known`` are the clones whose host keys are known, this one among them.
    """

    where: Endpoint
    act: str
    known: tuple[Endpoint, ...]


def plan_agent(fleet: Fleet, request: AgentRequest) -> tuple[str, ...]:
    """Say what would be done before anybody logs in; changes nothing. Raises: as :func:`bring_up`."""
    from moltfleet.operations.create_plan import foresee, plan_create
    from moltfleet.operations.start import plan_start

    domain = _find(fleet.hypervisor.domains(), request)
    if request.display:
        _check_display(fleet, domain, request)
    if domain is None:
        return foresee(fleet, plan_create(fleet, _new_clone(fleet, request)))
    if domain.state in (DomainState.RUNNING, DomainState.BLOCKED):
        return (f"{domain.name}: runs already",)
    return plan_start(fleet, [domain.name])


def bring_up(fleet: Fleet, request: AgentRequest) -> AgentClone:
    """See that the clone is there and ready; one that runs costs a single listing and no login.

    Raises: NotFound, InvalidInput when several clones fit, WrongState without the wanted screen, NoRoom, and what
    creating and starting raise.
    """
    domains = fleet.hypervisor.domains()
    domain = _find(domains, request)
    if request.display:
        _check_display(fleet, domain, request)
    if domain is not None and domain.state in (DomainState.RUNNING, DomainState.BLOCKED):
        return _clone(fleet, domains, domain.name, "found")
    # Imported only now: who goes back to work does not wait for it.
    from moltfleet.operations.create import create
    from moltfleet.operations.start import start

    if domain is None:
        (result,) = create(fleet, _new_clone(fleet, request))
    else:
        (result,) = start(fleet, [domain.name], StartRequest(admission=request.admission))
    if result.error is not None:
        raise result.error
    act = "created" if domain is None else "started"
    return _clone(fleet, fleet.hypervisor.domains(), result.clone, act)


def _check_display(fleet: Fleet, domain: Domain | None, request: AgentRequest) -> None:
    record = domain.record if domain is not None else None
    name = record.golden if isinstance(record, CloneRecord) else _new_clone(fleet, request).golden
    golden = fleet.hypervisor.find(name)
    if golden is not None and isinstance(golden.record, GoldenRecord) and not golden.record.desktop:
        raise WrongState(
            f"Clones of golden {name!r} have no display",
            hint="Those of one with a desktop have: moltfleet golden build NAME --image IMAGE --profile desktop",
        )


def _find(domains: Sequence[Domain], request: AgentRequest) -> Domain | None:
    """The clone that is meant; None for a new one. Raises: NotFound, InvalidInput."""
    clones = {domain.name: domain for domain in domains if domain.is_clone}
    if request.name is not None:
        return clones[match_part(request.name, clones, what="clone")]
    if not request.newest:
        return None
    running = [domain for domain in clones.values() if domain.state in (DomainState.RUNNING, DomainState.BLOCKED)]
    if not running:
        raise NotFound("No clone is running", hint="Without --attach a new one is made: moltfleet agent")
    return max(running, key=lambda domain: (_created_at(domain), domain.name))


def _created_at(domain: Domain) -> str:
    return domain.record.created_at if isinstance(domain.record, CloneRecord) else ""


def _new_clone(fleet: Fleet, request: AgentRequest) -> CreateRequest:
    golden = request.golden or fleet.config.defaults.golden
    if not golden:
        known = sorted(domain.name for domain in fleet.hypervisor.domains() if domain.is_golden)
        if len(known) != 1:
            hint = 'Name one: moltfleet agent --golden NAME, or golden = "NAME" under [defaults] in the config.'
            brief = "No golden is named, and the config has no default"
            raise InvalidInput(brief, hint=hint if known else "Build one: moltfleet golden build NAME --image IMAGE")
        (golden,) = known
    return CreateRequest(golden=golden, admission=request.admission)


def _clone(fleet: Fleet, domains: Sequence[Domain], name: str, act: str) -> AgentClone:
    records = {domain.name: domain.record for domain in domains if domain.is_clone}
    record = records.get(name)
    if not isinstance(record, CloneRecord):
        raise WrongState(f"Clone {name!r} went away meanwhile", hint="Try again.")
    where = find_endpoint(fleet, name, record)
    if where is None:
        raise GuestUnreachable(f"Clone {name!r} has no address yet", hint="It may still be booting.")
    known = tuple(
        Endpoint(other, host="", port=0, user=one.user, host_keys=one.host_keys)
        for other, one in records.items()
        if isinstance(one, CloneRecord)
    )
    return AgentClone(where, act, known)


def session_words(fleet: Fleet, name: str, directory: str, command: Sequence[str], *, act: str) -> tuple[str, ...]:
    """The command for a guest that goes into its agent session; several words of ``command`` stay the words they are.

    Raises: InvalidInput when it would be typed wrongly.
    """
    line = typed_line(directory, command)
    return ("sh", "-c", fleet.bootstrap.read(SCRIPT).decode(), "agent", act, name, directory, line)


def typed_line(directory: str, command: Sequence[str]) -> str:
    """The line that is typed into a session; a single word is one already. Raises: InvalidInput."""
    line = command[0] if len(command) == 1 else shlex.join(command)
    for text in (line, directory):
        if not text.isprintable():
            raise InvalidInput(
                f"{printable(text, limit=60)!r} cannot be typed", hint="Put it into a script, and copy it."
            )
    return line


def start_session(
    fleet: Fleet, where: Endpoint, directory: str, command: Sequence[str]
) -> tuple[str | None, AgentLine]:
    """Start the agent session without attaching to it; returns its name, None when the guest has none, and who works.

    Raises: GuestFailed, also for a command without a session to type it into, and what a login raises.
    """
    words = shlex.join(session_words(fleet, where.name, directory, command, act="start"))
    facts = shlex.join(session_words(fleet, where.name, "", (), act="facts"))
    limit_s = timeouts(fleet).login
    with login(fleet, where) as session:
        begun = session.run(words, timeout_s=limit_s, limit=_LARGEST_ANSWER)
        is_there = begun.exit_code != _NO_SESSIONS
        if not is_there and command:
            raise GuestFailed(
                f"Guest {where.name!r} has no agent-session to run a command in",
                hint=f"Put the guest tools in: moltfleet tools install {where.name}",
            )
        if is_there and begun.exit_code != 0:
            said = printable(begun.stderr.decode("utf-8", "replace").strip()) or f"exit status {begun.exit_code}"
            raise GuestFailed(f"No agent session was started in {where.name!r}: {said}")
        line = read_line(session.run(facts, timeout_s=limit_s, limit=_LARGEST_ANSWER).stdout)
    return (SESSION if is_there else None), line


def code_directory(clone: AgentClone, directory: str) -> str:
    """The absolute path in the guest that an editor opens; a relative one starts at the user's home."""
    user = clone.where.user
    home = "/root" if user == "root" else f"/home/{user}"
    if directory.startswith("/"):
        return directory
    rest = directory.removeprefix("~").lstrip("/") if directory else "work"
    return f"{home}/{rest}".rstrip("/")
