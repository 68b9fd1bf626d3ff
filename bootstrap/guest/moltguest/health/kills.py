"""Who was ended by the kernel for want of memory, and for want of whose: a limit's, or the guest's.

The counters tell how many; which limit it was, only the kernel's log tells, to those who may read it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from moltguest.health.programs import Programs
from moltguest.health.report import Kill, Kills
from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.files import printable, read_fields

_MOST = 20
# mm/oom_kill.c: dump_oom_summary(). A name may hold anything, so what stands around it is looked for from both ends.
_SUMMARY = re.compile(r"oom-kill:constraint=(?P<kind>\w+),.*?(?:,oom_memcg=(?P<limit>[^,]*))?,task_memcg=")
_TASK = re.compile(r",task=(?P<name>.*),pid=(?P<pid>\d+),uid=\d+\s*$", re.DOTALL)
_JOURNAL = ["journalctl", "--dmesg", "--boot", "--no-pager", "--output=json", "--output-fields=MESSAGE"]


def read_kills(root: str, cgroups: Cgroups, programs: Programs, now: float) -> Kills:
    """Return what was ended since the boot; ``now`` is of the same clock as the log's, seconds since the boot."""
    total = read_fields(root.rstrip("/") + "/proc/vmstat").get(b"oom_kill", 0)
    events = [read_fields(cgroups.file(path, "memory.events")) for path in cgroups.agents_slices()]
    agents = sum(event.get(b"oom_kill", 0) for event in events)
    hits = sum(event.get(b"oom", 0) for event in events)
    recent = tuple(_from_journal(programs, now)) if total or agents else ()
    return Kills(max(total, agents), agents, hits, recent)


def _from_journal(programs: Programs, now: float) -> Iterator[Kill]:
    text = programs.ask([*_JOURNAL, "--grep=oom-kill:constraint", f"--lines={_MOST}"]) or ""
    for line in text.splitlines()[-_MOST:]:
        try:
            entry = json.loads(line)
            message, stamp = entry["MESSAGE"], int(entry["__MONOTONIC_TIMESTAMP"])
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        kill = parse_summary(message, max(0.0, now - stamp / 1e6)) if isinstance(message, str) else None
        if kill is not None:
            yield kill


def parse_summary(text: str, ago_s: float | None = None) -> Kill | None:
    """Read the kernel's line about one kill, None when it is another line."""
    summary, task = _SUMMARY.search(text), _TASK.search(text)
    if summary is None or task is None:
        return None
    limit = summary["limit"] or "" if summary["kind"] == "CONSTRAINT_MEMCG" else ""
    return Kill(printable(task["name"]), int(task["pid"][:10]), printable(limit, 120), ago_s)
