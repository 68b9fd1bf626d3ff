"""Install, remove and compare the tools inside running clones, over SSH, several side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed, MoltfleetError, WrongState
from moltfleet.model.guesttools import Found, Lack, ToolsArchive, ToolsState, ToolsView
from moltfleet.model.results import ActResult
from moltfleet.operations import repair, tools_session
from moltfleet.operations.clones import clone_names, endpoint, get_clone
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.guest import login
from moltfleet.operations.parallel import each
from moltfleet.operations.tools_archive import pack

if TYPE_CHECKING:
    from moltfleet.model.ports import GuestSession
    from moltfleet.operations.fleet import Fleet


def status(fleet: Fleet, patterns: Sequence[str], *, jobs: int | None = None) -> tuple[ToolsView, ...]:
    """Compare every named clone's tools with those of this program; nothing given means all. Changes nothing."""
    archive = pack(fleet)

    def act(name: str) -> ToolsView:
        started = fleet.clock.monotonic()
        try:
            with login(fleet, endpoint(fleet, name)) as session:
                found = tools_session.look(session, name, timeout_s=timeouts(fleet).tools)
        except MoltfleetError as error:
            return ToolsView(name, archive.version, seconds=fleet.clock.monotonic() - started, error=error)
        return ToolsView(name, archive.version, found, fleet.clock.monotonic() - started)

    return each(clone_names(fleet, patterns), act, jobs=jobs or fleet.config.jobs)


def plan_install(fleet: Fleet, patterns: Sequence[str], *, jobs: int | None = None) -> tuple[str, ...]:
    """Say, one line per clone, what an installation would do; the guests are looked at, nothing is changed."""
    return tuple(f"{view.clone}: {_would_install(view)}" for view in status(fleet, patterns, jobs=jobs))


def _would_install(view: ToolsView) -> str:
    if view.error is not None:
        return f"would fail: {view.error.brief}"
    if view.state is ToolsState.CURRENT:
        return f"has {view.expected} already"
    if view.state is ToolsState.UNFIT:
        return f"would be refused: {view.found.lack}"
    return f"would install {view.expected}{_instead_of(view.found)}"


def _instead_of(found: Found) -> str:
    if found.report is None:
        return ""
    return f" instead of {found.report.version}" + ("" if found.report.is_whole else ", which was changed")


def install(fleet: Fleet, patterns: Sequence[str], *, jobs: int | None = None) -> tuple[ActResult, ...]:
    """Bring every named clone's tools to this program's version; one that has it unchanged is left alone."""
    archive = pack(fleet)

    def act(session: GuestSession, name: str) -> tuple[str, str]:
        return bring_up_to_date(fleet, session, name, archive)

    return _in_each(fleet, patterns, act, title="Installing tools in", jobs=jobs)


def bring_up_to_date(fleet: Fleet, session: GuestSession, name: str, archive: ToolsArchive) -> tuple[str, str]:
    """Install the tools over an open login; returns ("installed" or "unchanged", the version and what it replaced).

    Raises: WrongState when the guest cannot have them, GuestFailed.
    """
    limit = timeouts(fleet).tools
    before = tools_session.look(session, name, timeout_s=limit)
    check_fit(name, before)
    if before.state(archive.version) is ToolsState.CURRENT:
        return "unchanged", archive.version
    tools_session.put_in(session, name, archive, timeout_s=limit)
    after = tools_session.look(session, name, timeout_s=limit)
    if after.state(archive.version) is not ToolsState.CURRENT:
        wrong = (*after.report.changed, *after.report.missing) if after.report else ()
        raise GuestFailed(
            f"Guest tools of {name!r} are not as they were installed",
            details="\n".join(wrong) or None,
            hint="Something in the guest changes them; a molt brings it back to clean.",
        )
    return "installed", archive.version + _instead_of(before)


def check_fit(name: str, found: Found) -> None:
    """Refuse a guest that cannot have the tools. Raises: WrongState."""
    if found.lack in (Lack.SYSTEMD, Lack.PYTHON):
        raise WrongState(
            f"Guest {name!r} cannot have the tools: {found.lack}",
            hint="Debian 12, Ubuntu 22.04 and later have what they need.",
        )


def plan_remove(fleet: Fleet, patterns: Sequence[str], *, jobs: int | None = None) -> tuple[str, ...]:
    """Say, one line per clone, what a removal would do; the guests are looked at, nothing is changed."""
    return tuple(f"{view.clone}: {_would_remove(view)}" for view in status(fleet, patterns, jobs=jobs))


def _would_remove(view: ToolsView) -> str:
    if view.error is not None:
        return f"would fail: {view.error.brief}"
    if view.found.report is not None:
        return f"would remove {view.found.report.version}"
    return "has no tools" if view.found.lack is not Lack.DAMAGED else f"would be refused: {view.found.lack}"


def remove(fleet: Fleet, patterns: Sequence[str], *, jobs: int | None = None) -> tuple[ActResult, ...]:
    """Take the tools out of every named clone; what was there before them is there again."""
    limit = timeouts(fleet).tools

    def act(session: GuestSession, name: str) -> tuple[str, str]:
        found = tools_session.look(session, name, timeout_s=limit)
        if found.lack is Lack.DAMAGED:
            raise WrongState(
                f"Guest tools of {name!r} cannot be removed: {found.lack}",
                hint=f"Install them again, then remove them: moltfleet tools install {name}",
            )
        if found.report is None:
            return "unchanged", "has no tools"
        tools_session.take_out(session, name, timeout_s=limit)
        return "removed", found.report.version

    return _in_each(fleet, patterns, act, title="Removing tools from", jobs=jobs)


def _in_each(
    fleet: Fleet,
    patterns: Sequence[str],
    act: Callable[[GuestSession, str], tuple[str, str]],
    *,
    title: str,
    jobs: int | None,
) -> tuple[ActResult, ...]:
    """Do something in every named clone under its lock, after whatever an interrupted command left is put right."""

    def run(name: str) -> ActResult:
        started = fleet.clock.monotonic()
        try:
            with fleet.locks.hold(name, verb="tools"):
                repair.repair_clone(fleet, name)
                with fleet.progress.step(f"{title} {name}"), login(fleet, endpoint(fleet, name)) as session:
                    outcome, detail = act(session, name)
        except MoltfleetError as error:
            return ActResult(name, "failed", error.brief, fleet.clock.monotonic() - started, error)
        return ActResult(name, outcome, detail, fleet.clock.monotonic() - started)

    results = each(clone_names(fleet, patterns), run, jobs=jobs or fleet.config.jobs)
    _say_how_long(fleet, tuple(result.clone for result in results if result.outcome in ("installed", "removed")))
    return results


def _say_how_long(fleet: Fleet, names: Sequence[str]) -> None:
    """A molt takes a clone back to its clean point, and so to the tools that were in it."""
    molted = [name for name in names if get_clone(fleet, name)[1].clean is not None]
    if molted:
        fleet.progress.say(
            f"Until the next molt of {', '.join(molted)}: the clean point is older. "
            "'moltfleet warm NAME --from-now' makes one of now; 'golden build' puts the tools under every clone."
        )
