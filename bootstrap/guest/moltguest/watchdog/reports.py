"""What the watchdog says, as events: each in one sentence for a person, with its facts as fields."""

from __future__ import annotations

from moltguest.watchdog.choice import Reason, Verdict
from moltguest.watchdog.ending import Ending, Outcome, Result
from moltguest.watchdog.files import printable
from moltguest.watchdog.groups import Group
from moltguest.watchdog.journal import ERROR, INFO, NOTICE, WARNING, Event, amount, label
from moltguest.watchdog.trees import Stray

Fields = dict[str, "str | int | float"]


def problem(text: str) -> Event:
    """Something that keeps the watchdog from all it could do."""
    return Event("problem", text, WARNING)


def warned(group: Group) -> Event:
    """A group has come over its first threshold."""
    levels = group.levels
    text = f"Agent {label(group.name)} uses {amount(group.used)}; at {amount(levels.term)} it is ended"
    return Event("warn", text, WARNING, facts(group))


def uncontained(stray: Stray, owner: int) -> Event:
    """An agent runs in no scope."""
    name, pid = label(stray.group.name), stray.process.pid
    if stray.left:
        text = f"Agent {name} (pid {pid}) has left its scope {label(stray.left.rsplit('/', 1)[-1])}"
    else:
        text = f"Agent {name} (pid {pid}) runs in no scope: start it as run-limited {name}"
    return Event("uncontained", text, WARNING, {**facts(stray.group), "pid": pid, "owner": owner})


def kernel_kill(where: str, count: int) -> Event:
    """The kernel was faster."""
    text = f"The kernel ended {count} process{'es' if count > 1 else ''} for want of memory in {where}"
    return Event("kernel-kill", text, ERROR, {"count": count, "where": where})


def filling(path: str, share: float) -> Event:
    """A file system in memory has hardly any room left."""
    return Event("filling", f"{path} is {share:.0%} full", WARNING, {"path": path, "share": round(share, 3)})


def nobody(available: int, threshold: int) -> Event:
    """Memory runs out, and no agent is to blame."""
    text = f"Only {amount(available)} of memory are left, and no agent holds enough to make room"
    return Event("nobody", text, ERROR, {"available": available, "threshold": threshold})


def asked(ending: Ending, owner: int) -> Event:
    """A victim got its first signal."""
    member = ending.victim.member
    text = f"{_who(ending)} is asked to end: {_why(ending.verdict)}"
    return Event("asked", text, ERROR, {**_about(ending, owner), "signal": "SIGTERM", "memory": member.memory})


def outcome(ending: Ending, found: Outcome, owner: int, extra: Fields) -> Event:
    """How it came out."""
    priority = {Result.ENDED: ERROR, Result.STUCK: ERROR, Result.RECOVERED: NOTICE, Result.CHANGED: INFO}
    fields: Fields = {
        **_about(ending, owner),
        "result": found.result.value,
        "signals": " ".join(ending.signals_sent),
        "seconds": round(found.seconds, 3),
        "peak": found.peak,
        "left": found.used,
        **extra,
    }
    text = f"{_who(ending)} {_became(found)}"
    return Event("outcome", text, priority.get(found.result, WARNING), fields)


def for_terminal(ending: Ending, wait_s: float | None) -> str:
    """What the person in front of the agent reads."""
    text = f"{label(_name(ending))} was ended: {_why(ending.verdict)}."
    if ending.victim.whole and wait_s is None:
        text += " It was ended too often: moltfleet-watchdog --reset allows it again."
    elif ending.victim.whole and wait_s:
        text += f" Start it again in {wait_s:.0f} s."
    return text + " More: journalctl -u moltfleet-watchdog"


def facts(group: Group) -> Fields:
    """The figures of a group."""
    return {
        "group": printable(group.key, 200),
        "agent": printable(group.name),
        "used": group.used,
        "rate": int(group.growth.rate),
        "term": group.levels.term,
        "max": group.levels.max,
    }


def _about(ending: Ending, owner: int) -> Fields:
    member = ending.victim.member
    return {
        **facts(ending.group),
        "reason": ending.verdict.reason.value,
        "threshold": ending.verdict.threshold,
        "pid": member.process.pid,
        "start": member.process.start,
        "executable": printable(member.executable or "", 256),
        "owner": owner,
        "whole": int(ending.victim.whole),
    }


def _name(ending: Ending) -> str:
    member = ending.victim.member
    return member.agent or (member.executable or "").rsplit("/", 1)[-1]


def _who(ending: Ending) -> str:
    what = "Agent" if ending.victim.whole else "Process"
    text = f"{what} {label(_name(ending))} (pid {ending.victim.member.process.pid})"
    return text if ending.victim.whole else f"{text} of agent {label(ending.group.name)}"


def _why(verdict: Verdict) -> str:
    used, threshold = amount(verdict.used), amount(verdict.threshold)
    if verdict.reason is Reason.OWN:
        return f"{used} used, {threshold} allowed"
    if verdict.reason is Reason.AGENTS:
        return f"all agents together use {used}, {threshold} allowed"
    return f"only {used} of the guest's memory are left"


def _became(found: Outcome) -> str:
    after = f"{found.seconds:.1f} s"
    return {
        Result.ENDED: f"has ended after {after} ({found.how}); it used {amount(found.peak)} at most",
        Result.NOT_ENOUGH: "has ended, and that was not enough",
        Result.RECOVERED: "is left alone: it gave its memory back",
        Result.CHANGED: "is left alone: it is not what it was",
        Result.STUCK: f"does not end: {found.how} has had no effect for {after}",
        Result.DRY: "would have been asked to end",
    }[found.result]
