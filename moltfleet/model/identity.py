"""Facts that must tell a golden's build and every clone of it apart, and the comparison (DESIGN D7)."""

from __future__ import annotations

from moltfleet.model.names import printable

# Facts as sets of values: a guest may have several host keys or network cards.
IdentityFacts = dict[str, frozenset[str]]

_COMPARED = (
    "machine-id",
    "hostname",
    "boot-id",
    "host-key",
    "instance-id",
    "random-seed",
    "credential-secret",
    "mac",
)
_REQUIRED = ("machine-id", "hostname", "host-key", "mac")


def parse_facts(text: str) -> IdentityFacts:
    """Read the "name value" lines of ``identity.sh``; unknown names are left out."""
    facts: dict[str, set[str]] = {}
    for line in text.splitlines()[:200]:
        name, _, value = line.partition(" ")
        if name in _COMPARED and value.strip():
            facts.setdefault(name, set()).add(printable(value.strip(), limit=1000))
    return {name: frozenset(values) for name, values in facts.items()}


def missing(facts: IdentityFacts) -> tuple[str, ...]:
    """Facts that every guest must have and this one does not."""
    return tuple(name for name in _REQUIRED if not facts.get(name))


def shared(one: IdentityFacts, other: IdentityFacts) -> tuple[str, ...]:
    """Facts in which two guests have a value in common."""
    return tuple(name for name in _COMPARED if one.get(name, frozenset()) & other.get(name, frozenset()))
