"""run-limited and the wrappers by the agents' names: what is to run, how large it may get, whether it may run."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass, replace

from moltguest import thisguest
from moltguest.backoff import Backoff, boot_id, key_of
from moltguest.limits import MIB, SMALLEST_SCOPE, Levels, scope_levels
from moltguest.scope import nodesettings, programs
from moltguest.scope.child import end_alike, raise_score
from moltguest.scope.contain import (
    NotContained,
    Scope,
    by_manager,
    group_of,
    ways,
)
from moltguest.scope.manager import Refused, addresses_of_system
from moltguest.scope.sizes import size
from moltguest.scope.supervise import Job, run, say
from moltguest.thisguest import Guest
from moltguest.watchdog.cgroups import is_inside

USAGE = """\
usage: run-limited [--dry-run] [SIZE] [--] COMMAND [ARGUMENT...]
       run-claude-limited [--dry-run] [SIZE] [ARGUMENT...]

Runs a command in a scope of its own below agents.slice: slowed down at 95 % of SIZE, never larger, without swap.
SIZE is like 8G or 512M, a bare number is MiB; without it, what moltfleet-limits shows for an agent's scope.

  --dry-run   show what would be run, with which limits and settings, and run nothing

Node.js is given a heap of 75 % of where it is slowed down, and tools half of the processors as workers, unless
NODE_OPTIONS and their own variables say otherwise. Programs that are machine code take no notice of these.

Exit status: the command's own, also when a signal ended it; 125 when it was not run, 126 and 127 when it cannot be.
"""
REFUSED = 125
_LONGEST_WAIT_S = 60.0


class NotRun(Exception):
    """The command was not run. ``status`` is what we end with."""

    def __init__(self, text: str, status: int = REFUSED) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody asked for. ``agent`` is the name under which its ends are counted, empty for none."""

    argv: tuple[str, ...]
    size: int | None = None
    agent: str = ""
    dry: bool = False


def main(arguments: list[str]) -> int:
    """Run run-limited."""
    if arguments[:1] == ["--move"]:
        return _move(arguments[1:])
    if arguments[:1] in (["--help"], ["-h"]):
        sys.stdout.write(USAGE)
        return 0
    wanted = _read(arguments)
    if not wanted.argv:
        sys.stderr.write(f"run-limited: there is no command\n{USAGE}")
        return REFUSED
    if wanted.argv[0].startswith("-") and "--" not in arguments:
        sys.stderr.write(f"run-limited: {wanted.argv[0]!r} is not an option\n{USAGE}")
        return REFUSED
    return _perform(wanted)


def main_of_agent(name: str, arguments: list[str], *, sized: bool = False) -> int:
    """Run an agent by its name; ``sized`` when the first word may be a size."""
    wanted = _read(arguments) if sized else Wanted(tuple(arguments))
    return _perform(replace(wanted, argv=(name, *wanted.argv), agent=name))


def _read(arguments: list[str]) -> Wanted:
    rest = list(arguments)
    dry = rest[:1] == ["--dry-run"]
    if dry:
        rest.pop(0)
    wished = size(rest[0]) if rest else None
    if wished is not None:
        rest.pop(0)
    if rest[:1] == ["--"]:
        rest.pop(0)
    return Wanted(tuple(rest), wished, dry=dry)


def _perform(wanted: Wanted) -> int:
    by_name = wanted.agent and wanted.size is None
    try:
        guest = thisguest.look()
        wanted = replace(wanted, agent=wanted.agent or _agent_of(wanted, guest))
        job, notes = prepare(wanted, guest, dict(os.environ))
        if wanted.dry:
            sys.stdout.write(shown(job, notes, guest))
            return 0
        if by_name and is_inside(group_of(os.getpid())):
            # What an agent starts belongs to that agent, also when it is another one.
            return _become(job)
        for note in notes:
            say(note)
        _wait_until_allowed(wanted.agent)
        if not guest.limits.contained:
            raise_score()
            return _become(job)
        status, killed_by = run(job)
    except NotRun as error:
        say(str(error))
        return error.status
    except KeyboardInterrupt:
        return 130
    except NotContained as error:
        say(f"{wanted.argv[0]} was not run, as it could not be contained: {error}")
        sys.stderr.write(_hint())
        return REFUSED
    except (OSError, ValueError) as error:
        say(str(error))
        return REFUSED
    if killed_by:
        end_alike(killed_by)
    return status


def prepare(wanted: Wanted, guest: Guest, environment: dict[str, str]) -> tuple[Job, list[str]]:
    """Return what is to be run, and what whoever started it should know. Raises: NotRun."""
    notes = []
    name = wanted.agent or os.path.basename(wanted.argv[0])
    if wanted.agent:
        found = programs.find(name, environment)
        program, environment[programs.TRIED] = found or ("", "")
    else:
        program = programs.which(wanted.argv[0], environment) or ""
    if not program:
        raise NotRun(f"there is no program {wanted.argv[0]!r}", 127)
    levels, note = _levels(wanted.size, guest)
    notes += [note] if note else []
    if not guest.limits.contained:
        notes.append(f"no limits in a guest of {guest.limits.total // MIB} MiB: {name} is only watched")
    if nodesettings.has_heap(environment) and programs.is_native(program):
        notes.append(f"{name} is machine code: the heap size in NODE_OPTIONS is for Node.js, and does nothing to it")
    environment |= nodesettings.settings(environment, levels.high)
    return Job(
        name, (program if wanted.agent else wanted.argv[0], *wanted.argv[1:]), program, environment, levels
    ), notes


def _agent_of(wanted: Wanted, guest: Guest) -> str:
    """Return the agent that a command names, empty when it is another program or a path."""
    return wanted.argv[0] if wanted.argv[0] in guest.settings.agents else ""


def _levels(wished: int | None, guest: Guest) -> tuple[Levels, str]:
    if wished is None:
        return guest.limits.scope, ""
    if wished < SMALLEST_SCOPE:
        raise NotRun(f"a limit of less than {SMALLEST_SCOPE // MIB} MiB holds no program")
    found = scope_levels(guest.limits, wished, guest.settings)
    if found.max < wished:
        return found, f"{wished // MIB} MiB are more than agents may have in this guest: it gets {found.max // MIB} MiB"
    return found, ""


def _wait_until_allowed(agent: str) -> None:
    """Wait as long as the watchdog wants after it has ended this agent. Raises: NotRun when it wants no more."""
    if not agent:
        return
    uid = os.getuid()
    wait_s = Backoff("/", boot_id()).wait_s(key_of(agent, uid), time.monotonic())
    if wait_s is None:
        raise NotRun(
            f"{agent} was ended again and again for its memory; once that is understood: "
            f"sudo moltfleet-watchdog --reset {agent} --owner {uid}"
        )
    if wait_s > 0:
        say(f"{agent} was ended for its memory, and starts in {wait_s:.0f} s")
        time.sleep(min(wait_s, _LONGEST_WAIT_S))


def _become(job: Job) -> int:
    import signal

    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL) if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN else None
    os.execve(job.program, job.argv, job.environment)


def shown(job: Job, notes: list[str], guest: Guest) -> str:
    """Return what would be run, for a person."""
    import shlex

    levels = job.levels
    lines = [f"runs         {job.program}", f"as           {shlex.join(job.argv)}"]
    if guest.limits.contained:
        lines.append(f"by           {' or '.join(name for name, _ in ways())}")
        lines.append(f"slow, most   {levels.high // MIB} MiB, {levels.max // MIB} MiB, no swap")
        lines.append(f"watchdog     warns at {levels.warn // MIB} MiB, ends at {levels.term // MIB} MiB")
    for name in ("NODE_OPTIONS", *nodesettings.WORKERS):
        lines.append(f"{name} {job.environment[name]}")
    if programs.is_native(job.program):
        lines.append("It is machine code: settings of Node.js are for programs that it starts")
    return "\n".join([*lines, *notes]) + "\n"


def _hint() -> str:
    import pwd

    uid = os.getuid()
    if uid == 0:
        return ""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = "USER"
    return f"Lingering helps where no service manager of yours runs: sudo loginctl enable-linger {name}\n"


def _move(words: list[str]) -> int:
    """Put a process of somebody's into a scope, asked by the same program of a user who may become root."""
    try:
        pid, unit, limit = int(words[0]), words[1], words[2]
        guest = thisguest.look()
        levels = None if limit == "none" else scope_levels(guest.limits, int(limit), guest.settings)
        by_manager(addresses_of_system(), pid, Scope(unit, unit, levels))
    except (IndexError, ValueError, OSError, Refused, NotContained) as error:
        sys.stderr.write(f"run-limited: {error}\n")
        return 1
    return 0
