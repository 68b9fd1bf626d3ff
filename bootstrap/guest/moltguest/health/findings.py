"""What is wrong, or will be: the known failures told apart, each with the one thing to do about it."""

from __future__ import annotations

from moltguest.health.facts import Facts
from moltguest.health.findings_agents import agents_findings, kills_findings
from moltguest.health.findings_guards import guards_findings, sessions_findings
from moltguest.health.findings_memory import memory_findings
from moltguest.health.findings_room import counts_findings, places_findings
from moltguest.health.report import Finding, Level


def diagnose(facts: Facts) -> tuple[Finding, ...]:
    """Return everything that somebody should know, the worst first."""
    found = [
        *memory_findings(facts),
        *agents_findings(facts),
        *kills_findings(facts.kills),
        *places_findings(facts.places),
        *counts_findings(facts.counts),
        *guards_findings(facts),
        *sessions_findings(facts.sessions),
    ]
    order = list(Level)
    return tuple(sorted(found, key=lambda finding: -order.index(finding.level)))
