"""Findings about agents: too large, held by nothing, at the end of V8's heap, or ended by the kernel, and why."""

from __future__ import annotations

from collections.abc import Iterator

from moltguest.health.facts import Facts
from moltguest.health.figures import amount, duration
from moltguest.health.report import Finding, Kill, Kills, Level

# A process holds more than its heap, hence not 1.
HEAP_FULL = 0.9
RECENT_S = 3600.0

_BIGGER_HEAP = "Raise NODE_OPTIONS=--max-old-space-size=MIB, but keep it below the scope's limit."
_BIGGER_SCOPE = "Give it more (run-limited SIZE ...), or let it do less at a time."
_FEWER = "Run fewer agents here, or give the clone more memory."


def agents_findings(facts: Facts) -> Iterator[Finding]:
    """Return what there is to say about those that run."""
    for agent in facts.agents:
        if agent.used >= agent.warn:
            text = f"Agent {agent.name} uses {amount(agent.used)}; at {amount(agent.end)} the watchdog ends it"
            yield Finding("agent-large", Level.WARN, text, "Start it anew, or molt.")
        if not agent.scope:
            text = f"Agent {agent.name} runs in no scope: no limit holds it"
            yield Finding("agent-uncontained", Level.NOTE, text, f"Start it as: run-limited {agent.name}")
    for heap in facts.heaps:
        if heap.used >= HEAP_FULL * heap.limit:
            text = f"node of agent {heap.agent} (pid {heap.pid}) holds {amount(heap.used)}"
            text += f"; V8 ends it when its heap is {amount(heap.limit)}"
            yield Finding("v8-heap", Level.WARN, text, _BIGGER_HEAP)
    for name in facts.v8_deaths:
        text = f"In session {name} node ended because V8's heap was full, whatever the guest had left"
        yield Finding("v8-heap", Level.WARN, text, _BIGGER_HEAP)


def kills_findings(kills: Kills) -> Iterator[Finding]:
    """Return what there is to say about those that the kernel has ended: whose memory it was that ran out."""
    if kills.recent:
        yield from _told_by_log(kills.recent)
        return
    by_limit = kills.agents if kills.limit_hits else 0
    if by_limit:
        text = f"The kernel ended {_processes(by_limit)} of agents at a limit of their own"
        yield Finding("cgroup-limit", Level.WARN, text, _BIGGER_SCOPE)
    if kills.total > by_limit:
        text = f"The kernel ended {_processes(kills.total - by_limit)}, the guest's memory being used up"
        yield Finding("guest-oom", Level.WARN, text, _FEWER)


def _told_by_log(kills: tuple[Kill, ...]) -> Iterator[Finding]:
    for limit in sorted({kill.limit for kill in kills}):
        those = [kill for kill in kills if kill.limit == limit]
        last = those[-1]
        level = Level.WARN if last.ago_s is None or last.ago_s <= RECENT_S else Level.NOTE
        when = f", {duration(last.ago_s)} ago" if last.ago_s is not None else ""
        text = f"The kernel ended {_processes(len(those))} (last {last.name}{when})"
        if limit:
            name = limit.rsplit("/", 1)[-1] or "/"
            yield Finding("cgroup-limit", level, f"{text} at the limit of {name}", _BIGGER_SCOPE)
        else:
            yield Finding("guest-oom", level, f"{text}, the guest's memory being used up", _FEWER)


def _processes(count: int) -> str:
    return f"{count} process{'es' if count > 1 else ''}"
