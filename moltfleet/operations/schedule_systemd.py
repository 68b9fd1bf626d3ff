"""A schedule as units of systemd, the user's or the system's: written, started, looked at, taken away."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping

from moltfleet.model.errors import HostUnavailable, InvalidInput, MoltfleetError, ToolFailed, WrongState
from moltfleet.model.schedule import MARK, NIGHTLY, SURVEY, Account, Job, Kind, Schedule, UnitFile, unit_files
from moltfleet.operations.deadlines import Deadline
from moltfleet.operations.scheduling import GROUP, Scheduling, require_root

_SYSTEM_UNITS = "/etc/systemd/system"
_TIMERS = (f"{NIGHTLY}.timer", f"{SURVEY}.timer")
_ALL = (f"{NIGHTLY}.service", f"{NIGHTLY}.timer", f"{SURVEY}.service", f"{SURVEY}.timer")
_LINGER = "/var/lib/systemd/linger"
# It takes about a second.
_MANAGER_S = 20.0
_LOG = logging.getLogger(__name__)


def plan(scheduling: Scheduling, schedule: Schedule, *, linger: bool) -> tuple[str, ...]:
    """Say what would be written and run, contents included. Raises: WrongState."""
    files = unit_files(schedule)
    _require_ours(scheduling, schedule.kind)
    lines = [f"run {' '.join(_enable_linger(scheduling))}"] if linger else []
    for file in files:
        lines.append(f"write {_path(scheduling, schedule.kind, file.name)}")
        lines += [f"    {line}" for line in file.content.splitlines()]
    lines += [f"remove {_path(scheduling, schedule.kind, name)}" for name in _stale(scheduling, schedule.kind, files)]
    lines += [f"run {' '.join(words)}" for words in _commands(scheduling, schedule.kind, files)]
    return tuple(lines)


def install(scheduling: Scheduling, schedule: Schedule, *, linger: bool) -> None:
    """Write the units and start the timers; killed anywhere, the next install or remove completes it.

    Raises: HostUnavailable (not root, no manager of the user's), WrongState (files of other hands), ToolFailed.
    """
    kind = schedule.kind
    if kind is Kind.SYSTEM:
        require_root(scheduling)
        _require_runnable(scheduling, schedule)
    _require_ours(scheduling, kind)
    files = unit_files(schedule)
    if linger:
        _let_linger(scheduling)
    _require_manager(scheduling, kind, wait_s=_MANAGER_S if linger else 0.0)
    stale = _stale(scheduling, kind, files)
    _stop(scheduling, kind, tuple(name for name in stale if name in _TIMERS))
    for name in stale:
        scheduling.machine.remove(_path(scheduling, kind, name))
    for file in files:
        scheduling.machine.write(_path(scheduling, kind, file.name), file.content.encode(), mode=0o644)
        _LOG.info("wrote %s", _path(scheduling, kind, file.name))
    for words in _commands(scheduling, kind, files):
        # What was never started has no state to clean.
        scheduling.machine.run(words, check="clean" not in words)


def _require_runnable(scheduling: Scheduling, schedule: Schedule) -> None:
    """Try it as the user whom it will run as: what lies in root's home, nobody else can read. Raises: InvalidInput."""
    name, words = schedule.run_as or "root", schedule.program
    as_user = ("runuser", "-u", name, "--")
    if scheduling.machine.run((*as_user, *words, "--version"), check=False).exit_code != 0:
        raise InvalidInput(
            f"User {name!r} cannot run {words[0]}", hint="Install moltfleet where everybody can read, such as /opt."
        )
    if "--config" in words:
        file = words[words.index("--config") + 1]
        if scheduling.machine.run((*as_user, "test", "-r", file), check=False).exit_code != 0:
            raise InvalidInput(f"User {name!r} cannot read {file}", hint="Put the settings into /etc/moltfleet.")


def _commands(scheduling: Scheduling, kind: Kind, files: tuple[UnitFile, ...]) -> tuple[tuple[str, ...], ...]:
    timers = tuple(file.name for file in files if file.name in _TIMERS)
    return (
        _systemctl(scheduling, kind, "daemon-reload"),
        _systemctl(scheduling, kind, "enable", *timers),
        # With the memory of its last run, a timer that is moved to an earlier hour would start a night at once.
        _systemctl(scheduling, kind, "stop", *timers),
        _systemctl(scheduling, kind, "clean", "--what=state", f"{NIGHTLY}.timer"),
        _systemctl(scheduling, kind, "start", *timers),
    )


def is_there(scheduling: Scheduling, kind: Kind) -> bool:
    """Whether any unit of ours is there."""
    return bool(_present(scheduling, kind))


def plan_remove(scheduling: Scheduling, kind: Kind) -> tuple[str, ...]:
    """Say what would be taken away."""
    names = _present(scheduling, kind)
    timers = tuple(name for name in names if name in _TIMERS)
    return (
        *([f"run {' '.join(_systemctl(scheduling, kind, 'disable', '--now', *timers))}"] if timers else []),
        *(f"remove {_path(scheduling, kind, name)}" for name in names),
    )


def remove(scheduling: Scheduling, kind: Kind) -> None:
    """Stop the timers and remove the units; also when systemd does not answer, as after a broken upgrade."""
    names = _present(scheduling, kind)
    _stop(scheduling, kind, tuple(name for name in names if name in _TIMERS))
    scheduling.machine.run(_systemctl(scheduling, kind, "clean", "--what=state", f"{NIGHTLY}.timer"), check=False)
    for name in names:
        scheduling.machine.remove(_path(scheduling, kind, name))
        _LOG.info("removed %s", _path(scheduling, kind, name))
    scheduling.machine.run(_systemctl(scheduling, kind, "daemon-reload"), check=False)


def _stop(scheduling: Scheduling, kind: Kind, timers: tuple[str, ...]) -> None:
    if timers:
        scheduling.machine.run(_systemctl(scheduling, kind, "disable", "--now", *timers), check=False)


def jobs(scheduling: Scheduling, kind: Kind) -> tuple[Job, ...]:
    """The timers of ours that are there, as systemd tells them."""
    found = []
    for name in (NIGHTLY, SURVEY):
        timer, service = (_text(scheduling, kind, f"{name}.{suffix}") for suffix in ("timer", "service"))
        if timer is None or service is None:
            continue
        told = _ask(scheduling, kind, name)
        found.append(
            Job(
                kind=kind,
                name=name,
                when="; ".join(_values(timer, "OnCalendar")),
                command="; ".join(_values(service, "ExecStart")),
                # As long as what it started runs, a timer does not know when next.
                state="running" if told.get("SubState") == "running" else told.get("ActiveState") or "unknown",
                next=_moment(told.get("NextElapseUSecRealtime")),
                last=_moment(told.get("LastTriggerUSec")),
                # Of a service that never ran systemd says "success".
                result=told.get("Result", "") if _moment(told.get("LastTriggerUSec")) else "",
            )
        )
    return tuple(found)


def notes(scheduling: Scheduling, mine: tuple[Job, ...]) -> tuple[str, ...]:
    """Say what keeps a user's own timers from doing their work."""
    me, found = scheduling.accounts.me(), []
    if not mine:
        return ()
    if not is_lingering(scheduling, me):
        found.append(
            f"The timers stop when {me.name} has logged out, as lingering is off: loginctl enable-linger {me.name}"
        )
    if me.uid != 0 and not scheduling.config.is_session and not scheduling.accounts.is_member(me.name, GROUP):
        found.append(f"User {me.name!r} is not in group {GROUP!r}, and may not use {scheduling.config.uri}")
    return tuple(found)


def is_lingering(scheduling: Scheduling, account: Account) -> bool:
    """Whether the user's systemd runs on after a logout, and from the boot on (loginctl(1), enable-linger)."""
    return scheduling.machine.exists(f"{_LINGER}/{account.name}")


def _ask(scheduling: Scheduling, kind: Kind, name: str) -> Mapping[str, str]:
    """Properties of a timer, with the ``Result`` of its service; nothing when systemd does not answer."""
    told: dict[str, str] = {}
    wanted = {
        f"{name}.service": "Result",
        f"{name}.timer": "ActiveState,SubState,NextElapseUSecRealtime,LastTriggerUSec",
    }
    for unit, properties in wanted.items():
        words = _systemctl(scheduling, kind, "show", f"--property={properties}", "--", unit)
        try:
            # Of these two moments systemctl knows one form only, in local time (bus-print-properties.c, up to 258).
            text = scheduling.machine.run(("env", "TZ=UTC", *words), timeout_s=20).text
        except MoltfleetError:
            return {}
        told |= dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    return told


def _moment(told: str | None) -> str | None:
    """Read ``Sun 2026-11-22 03:30:00 UTC``; None for never, which is nothing or "n/a"."""
    found = re.fullmatch(r"\w+ (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)? UTC", told or "")
    return f"{found[1]}T{found[2]}Z" if found else None


def _systemctl(scheduling: Scheduling, kind: Kind, *words: str) -> tuple[str, ...]:
    if kind is Kind.SYSTEM:
        return ("systemctl", *words)
    return ("env", f"XDG_RUNTIME_DIR={_runtime(scheduling)}", "systemctl", "--user", *words)


def _runtime(scheduling: Scheduling) -> str:
    return f"/run/user/{scheduling.accounts.me().uid}"


def _require_manager(scheduling: Scheduling, kind: Kind, *, wait_s: float) -> None:
    """Wait for the user's systemd, which comes up a moment after lingering was switched on. Raises: HostUnavailable."""
    deadline = Deadline.after(scheduling.clock, wait_s)
    # The socket that systemctl talks to.
    while kind is Kind.USER and not scheduling.machine.exists(f"{_runtime(scheduling)}/systemd/private"):
        if not deadline.has_passed:
            scheduling.clock.sleep(0.2)
            continue
        name = scheduling.accounts.me().name
        raise HostUnavailable(
            f"The systemd of user {name!r} does not run",
            hint=f"Log in as {name}, not by su or sudo; or let it run without a login: --linger. Or use --cron.",
        )


def _let_linger(scheduling: Scheduling) -> None:
    try:
        scheduling.machine.run(_enable_linger(scheduling))
    except ToolFailed as error:
        # Without polkit only root may.
        name = scheduling.accounts.me().name
        hint = f"As root: sudo loginctl enable-linger {name}. Then the same again."
        raise ToolFailed(f"Lingering of {name!r} cannot be switched on", details=error.details, hint=hint) from error


def _enable_linger(scheduling: Scheduling) -> tuple[str, ...]:
    return ("loginctl", "enable-linger", scheduling.accounts.me().name)


def _path(scheduling: Scheduling, kind: Kind, name: str) -> str:
    if kind is Kind.SYSTEM:
        return f"{_SYSTEM_UNITS}/{name}"
    return f"{scheduling.accounts.me().config_home}/systemd/user/{name}"


def _text(scheduling: Scheduling, kind: Kind, name: str) -> str | None:
    """A unit of ours; None when there is none, or it is somebody else's."""
    content = scheduling.machine.read(_path(scheduling, kind, name))
    text = None if content is None else content.decode("utf-8", "replace")
    return text if text is not None and text.startswith(MARK) else None


def _present(scheduling: Scheduling, kind: Kind) -> tuple[str, ...]:
    return tuple(name for name in _ALL if _text(scheduling, kind, name) is not None)


def _stale(scheduling: Scheduling, kind: Kind, files: tuple[UnitFile, ...]) -> tuple[str, ...]:
    wanted = {file.name for file in files}
    return tuple(name for name in _present(scheduling, kind) if name not in wanted)


def _require_ours(scheduling: Scheduling, kind: Kind) -> None:
    paths = [_path(scheduling, kind, name) for name in _ALL]
    foreign = [
        path
        for path, name in zip(paths, _ALL, strict=True)
        if scheduling.machine.exists(path) and _text(scheduling, kind, name) is None
    ]
    if foreign:
        raise WrongState(f"Written by other hands: {', '.join(foreign)}", hint="Move them away, and try again.")


def _values(unit: str, key: str) -> list[str]:
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]
