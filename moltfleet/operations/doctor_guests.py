"""What running guests themselves say: tools that drifted, and identities that two of them share. Changes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.guesttools import Found, ToolsState
from moltfleet.model.identity import IdentityFacts, parse_facts
from moltfleet.model.records import CloneRecord, Phase
from moltfleet.operations import measuring, tools_session
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.parallel import each
from moltfleet.operations.tools_archive import pack

if TYPE_CHECKING:
    from moltfleet.operations.doctor_scene import Scene

# What must differ, and that the records do not tell.
_COMPARED = ("machine-id", "hostname")
_SIDE_BY_SIDE = 8
_LARGEST_FACTS = 64 * 1024
_WHY_TOOLS = "Other tools have other limits and other faults; changed ones may protect nobody."
_WHY_SHARED = "Logs, leases and names of the two are taken for each other's; the golden may not be sealed."


@dataclass(frozen=True, slots=True)
class _Heard:
    """What one guest said, or why it said nothing."""

    name: str
    tools: Found = Found()  # noqa: RUF009
    facts: IdentityFacts | None = None
    error: MoltfleetError | None = None


def examine(scene: Scene) -> Iterator[Finding]:
    """Ask every running clone that nobody works on; who does not answer in time is noted."""
    clones = {d.name: clone for d, clone in scene.clones() if d.is_active and _is_there(clone)}
    if not clones:
        return
    heard = each(
        tuple(clones), lambda name: _ask(scene, name, clones[name]), jobs=max(scene.fleet.config.jobs, _SIDE_BY_SIDE)
    )
    for error in (one.error for one in heard if one.error):
        scene.note(error)
    version = pack(scene.fleet).version
    for one in heard:
        state = one.tools.state(version)
        if state in (ToolsState.OUTDATED, ToolsState.CHANGED):
            yield _drifted(one, state, version)
    yield from _shared(heard)


def _is_there(clone: CloneRecord) -> bool:
    return clone.phase is Phase.READY and clone.pending is None and clone.attachment.kind != "none"


def _ask(scene: Scene, name: str, clone: CloneRecord) -> _Heard:
    """Log in once; a guest that does not know our key is not told it here."""
    fleet = scene.fleet
    limit_s = fleet.config.policy.guest_seconds * (fleet.config.emulation_factor if measuring.is_emulated(fleet) else 1)
    script = shlex.quote(fleet.bootstrap.read("identity.sh").decode())
    try:
        where = find_endpoint(fleet, name, clone)
        if where is None:
            return _Heard(name)
        with fleet.guests.login(where, timeout_s=limit_s) as session:
            facts = session.run(f"sudo -n sh -c {script}", timeout_s=limit_s, limit=_LARGEST_FACTS)
            found = tools_session.look(session, name, timeout_s=limit_s)
    except MoltfleetError as error:
        return _Heard(name, error=error)
    return _Heard(name, found, parse_facts(facts.text))


def _drifted(one: _Heard, state: ToolsState, version: str) -> Finding:
    if state is ToolsState.CHANGED:
        report = one.tools.report
        files = (*report.changed, *report.missing) if report else ()
        fact = f"its tools were changed: {', '.join(files[:3]) or one.tools.lack}"
    else:
        fact = f"its tools are {one.tools.report.version if one.tools.report else '?'}, and this program's {version}"
    fix = f"moltfleet tools install {one.name}; for every later clone: moltfleet golden build"
    return Finding("tools", Area.GUESTS, one.name, fact, _WHY_TOOLS, fix)


def _shared(heard: tuple[_Heard, ...]) -> Iterator[Finding]:
    for what in _COMPARED:
        owners: dict[str, list[str]] = {}
        for one in heard:
            for value in (one.facts or {}).get(what, frozenset()):
                owners.setdefault(value, []).append(one.name)
        for names in owners.values():
            if len(names) > 1:
                fact = f"{', '.join(names[1:])} has the same {what}"
                fix = f"moltfleet molt {' '.join(names)}; if they share it still, build their golden anew."
                yield Finding("duplicate", Area.IDENTITY, names[0], fact, _WHY_SHARED, fix)
