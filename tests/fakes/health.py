"""Healths of guests, as values: one that is well, and one of which nothing is."""

from __future__ import annotations

from dataclasses import replace

from moltfleet.model import health as model
from moltfleet.model.health import Health, Level

GIB = 1 << 30
MIB = 1 << 20


def a_health() -> Health:
    """A guest of 8 GiB with an agent that does not grow."""
    still = model.Pressure(0.0, 0.1, 0.0, 0.0)
    return Health(
        host="guest",
        version="0.1.0",
        boot_id="b1",
        time=1_795_255_200.0,
        uptime_s=7200.0,
        cpus=2,
        level=Level.OK,
        verdict="ok",
        memory=model.Memory(8 * GIB, 6 * GIB, GIB, 2 * GIB, 12 * MIB, 0, 0),
        pressure={"memory": still, "io": None, "cpu": None},
        load=(0.42, 0.31, 0.2),
        places=(model.Place("/", False, 50 * GIB, 30 * GIB, 1_000_000, 900_000),),
        counts=(model.Count("processes", 134, 32768),),
        kills=model.Kills(0, 0, 0),
        watchdog=model.Watchdog("watching"),
        containment=model.Containment(2, True, 6 * GIB, 6 * GIB, 6 * GIB, True),
        agents=(model.Agent("claude", "run-1.scope", "/agents.slice/run-1.scope", GIB, 3 * GIB, 4 * GIB, 5 * GIB, 7),),
        sessions=(model.Session("main", "agent", True, 30.0, "/home/agent/work", "claude"),),
        trends=(model.Trend("", "guest", "ok", "does not rise", 2 * GIB, 7 * GIB, 240, 2400.0),),
        findings=(),
        unseen=(),
    )


def a_leaking_health() -> Health:
    """The same guest an hour later."""
    last = "Agent codex (pid 77) has ended after 1.2 s (SIGTERM)"
    trend = model.Trend(
        key="/agents.slice/run-1.scope",
        name="claude",
        verdict="critical",
        reason="is used up soon at the present rate",
        used=3 * GIB + GIB // 2,
        total=4 * GIB,
        samples=300,
        span_s=3000.0,
        seconds=640.0,
        rate=0.8 * MIB,
        seen_s=2400.0,
        points=12,
        bound_s=3040.0,
    )
    calm = a_health()
    return replace(
        calm,
        level=Level.CRITICAL,
        verdict="critical",
        agents=(replace(calm.agents[0], used=3 * GIB + GIB // 2),),
        kills=model.Kills(1, 1, 1, (model.Kill("node", 88, "/agents.slice/run-2.scope", 600.0),)),
        watchdog=model.Watchdog("watching", 1, last, 1200.0, ("codex@1000",), ("/var/lib is full",)),
        trends=(calm.trends[0], trend),
        findings=(
            model.Finding(
                "memory-grows",
                Level.CRITICAL,
                "Agent claude takes 48 MiB/min more: all is used up in 11 min",
                "Save the work and molt, before something has to be ended.",
            ),
            model.Finding("disk-full", Level.WARN, "/: 90 % of its room is used", "Make room, or molt."),
        ),
        unseen=("3 processes cannot be read",),
    )
