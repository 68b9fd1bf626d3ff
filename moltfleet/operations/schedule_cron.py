"""A schedule as a block of the user's crontab; every line outside of the block stays as it is."""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING

from moltfleet.model.errors import HostUnavailable
from moltfleet.model.schedule import (
    NIGHTLY,
    SURVEY,
    Job,
    Kind,
    Schedule,
    block_lines,
    cron_block,
    next_run,
    with_block,
    without_block,
)

if TYPE_CHECKING:
    from moltfleet.operations.scheduling import Scheduling


def plan(scheduling: Scheduling, schedule: Schedule) -> tuple[str, ...]:
    """Say which lines would be put into the crontab. Raises: HostUnavailable, InvalidInput."""
    others = without_block(_require(scheduling))
    count = len(others.splitlines())
    lines = [f"    {line}" for line in cron_block(schedule).splitlines()]
    return (f"write the crontab of {scheduling.accounts.me().name}: {count} other lines as they are, then", *lines)


def install(scheduling: Scheduling, schedule: Schedule) -> None:
    """Write the block, in one step (crontab(1) replaces the file). Raises: HostUnavailable, ToolFailed."""
    before = _require(scheduling)
    _write(scheduling, before, with_block(before, cron_block(schedule)))


def remove(scheduling: Scheduling) -> None:
    """Take the block out; a crontab that held nothing else goes."""
    before = _read(scheduling)
    if before is None or not block_lines(before):
        return
    _write(scheduling, before, without_block(before))


def plan_remove(scheduling: Scheduling) -> tuple[str, ...]:
    """Say which lines would be taken out."""
    found = block_lines(_read(scheduling) or "")
    return tuple(f"remove from the crontab: {line}" for line in found)


def jobs(scheduling: Scheduling) -> tuple[Job, ...]:
    """What our block runs, and when next by this machine's clock."""
    now = datetime.datetime.fromtimestamp(scheduling.clock.now()).astimezone()
    found = []
    for line in block_lines(_read(scheduling) or ""):
        fields = line.split(None, 5)
        if len(fields) < 6 or line.startswith("#"):
            continue
        times, command = " ".join(fields[:5]), fields[5]
        then = next_run(times, now)
        soon = None if then is None else then.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = NIGHTLY if " nightly " in command else SURVEY
        found.append(Job(Kind.CRON, name, times, command, "active" if _daemon_runs(scheduling) else "no cron", soon))
    return tuple(found)


def notes(scheduling: Scheduling) -> tuple[str, ...]:
    """Say what keeps a crontab from being read."""
    return () if _daemon_runs(scheduling) else ("No cron runs on this machine, so nothing will start: start cron.",)


def _daemon_runs(scheduling: Scheduling) -> bool:
    return bool(scheduling.machine.processes("cron"))


def _read(scheduling: Scheduling) -> str | None:
    """The user's crontab, "" when there is none; None when this user has no cron. Bytes of any encoding survive."""
    if scheduling.machine.find_program("crontab") is None:
        return None
    done = scheduling.machine.run(["crontab", "-l"], check=False, timeout_s=20)
    if done.exit_code == 0:
        return done.stdout.decode("utf-8", "surrogateescape")
    return "" if b"no crontab for" in done.stderr else None


def _require(scheduling: Scheduling) -> str:
    text = _read(scheduling)
    if text is not None:
        return text
    if scheduling.machine.find_program("crontab") is None:
        hint = "Install cron (sudo apt-get install cron), or use systemd."
        raise HostUnavailable("This machine has no program 'crontab'", hint=hint)
    raise HostUnavailable(f"User {scheduling.accounts.me().name!r} cannot use cron", hint="crontab -l says why.")


def _write(scheduling: Scheduling, before: str, text: str) -> None:
    if text == before:
        return
    words = ["crontab", "-"] if text else ["crontab", "-r"]
    scheduling.machine.run(words, input=text.encode("utf-8", "surrogateescape"), timeout_s=20)
