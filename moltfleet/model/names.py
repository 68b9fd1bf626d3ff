"""Names of goldens, clones and their volumes: what is accepted, and how one is made from another."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable

from moltfleet.model.errors import InvalidInput, NotFound

# A name becomes the guest's host name (RFC 1123 label), a libvirt domain name and part of a volume name.
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?")
LONGEST_NAME = 48
# A label's own limit (RFC 1123): scripts made longer names than we do, and their domains are adopted under them.
LONGEST_ADOPTED_NAME = 63
# Locks that stand for no clone or golden; a clone of such a name would wait for itself.
_OWN_LOCKS = ("fleet", "pool", "network")


def check_name(name: str, *, what: str, longest: int = LONGEST_NAME) -> str:
    """Return ``name`` when it can name a ``what`` ("clone", "golden").

    Raises: InvalidInput.
    """
    if not name:
        raise InvalidInput(f"Name of the {what} is empty", hint="Example: crab-1.")
    if name in _OWN_LOCKS:
        raise InvalidInput(f"Name {name!r} is one of moltfleet's own", hint=f"Example: {name}-1.")
    if len(name) > longest:
        raise InvalidInput(f"Name of the {what} is longer than {longest} characters: {printable(name)[:60]!r}")
    if not _LABEL.fullmatch(name):
        raise InvalidInput(
            f"Name {printable(name)!r} is not a host name",
            hint="Lower-case letters, digits and inner hyphens, such as crab-1.",
        )
    return name


def printable(text: str, *, limit: int = 200) -> str:
    """Make foreign text safe for a terminal: control characters out, length bounded (DESIGN D9)."""
    kept = text[:limit]
    return kept if kept.isprintable() else "".join(c if c.isprintable() else "?" for c in kept)


def printable_lines(text: str, *, limit: int = 4000) -> str:
    """Make several lines of foreign text safe for a terminal; line breaks and tabs stay."""
    kept = text[-limit:].replace("\r\n", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in kept)


def is_pattern(text: str) -> bool:
    """Whether ``text`` is a shell pattern rather than a name."""
    return any(character in text for character in "*?[")


def match_names(patterns: Iterable[str], known: Iterable[str], *, what: str) -> tuple[str, ...]:
    """Expand names and shell patterns against the known names, in order, each once.

    Raises: NotFound when one of them matches nothing.
    """
    available = sorted(known)
    chosen: dict[str, None] = {}
    for pattern in patterns:
        hits = fnmatch.filter(available, pattern) if is_pattern(pattern) else [n for n in available if n == pattern]
        if not hits:
            raise not_found(what, pattern, available)
        chosen.update(dict.fromkeys(hits))
    return tuple(chosen)


def not_found(what: str, name: str, known: Iterable[str]) -> NotFound:
    """Build the error for a name that does not exist, with what does."""
    names = sorted(known)
    listed = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
    hint = f"There are: {listed}." if names else f"There is no {what} yet."
    noun = "matches" if is_pattern(name) else "is named"
    return NotFound(f"No {what} {noun} {printable(name)!r}", hint=hint)


def next_name(stem: str, taken: Iterable[str]) -> str:
    """Return ``stem-N`` with the smallest free N from 1."""
    used = set(taken)
    number = 1
    while f"{stem}-{number}" in used:
        number += 1
    return f"{stem}-{number}"


def match_part(part: str, known: Iterable[str], *, what: str) -> str:
    """Return the one known name that is ``part``, or else the only one that contains it.

    Raises: NotFound, InvalidInput when several do.
    """
    names = sorted(known)
    if part in names:
        return part
    hits = [name for name in names if part and part in name]
    if not hits:
        raise not_found(what, part, names)
    if len(hits) > 1:
        listed = ", ".join(hits[:6]) + (", …" if len(hits) > 6 else "")
        raise InvalidInput(f"{printable(part)!r} is a part of several names of a {what}", hint=f"There are: {listed}.")
    return hits[0]
