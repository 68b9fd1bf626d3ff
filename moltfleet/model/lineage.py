"""What a golden's generations differ in, and which of them nobody needs any more. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from moltfleet.model.results import GoldenView
    from moltfleet.model.size import Size


@dataclass(frozen=True, slots=True)
class Change:
    """Something installed whose version is another one now; None where it was not there, or is not any more."""

    name: str
    before: str | None
    after: str | None


def changes(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[Change, ...]:
    """Compare versions by name; what is the same is left out."""
    names = sorted(before.keys() | after.keys())
    found = (Change(name, before.get(name), after.get(name)) for name in names)
    return tuple(change for change in found if change.before != change.after)


@dataclass(frozen=True, slots=True)
class GoldenUpdate:
    """What became of an update. Without anything new nothing is published: ``number`` is ``before`` then.

    ``packages`` and ``npm_packages`` are None where the generation before does not tell what it held. Sizes are what
    each generation takes in the pool. ``behind`` are the clones that stand on an older generation now.
    """

    view: GoldenView
    before: int
    number: int
    packages: tuple[Change, ...] | None
    npm_packages: tuple[Change, ...] | None
    tools: Change | None
    size_before: Size
    size_after: Size
    behind: tuple[str, ...]

    @property
    def is_published(self) -> bool:
        """Whether there is a new generation."""
        return self.number != self.before


@dataclass(frozen=True, slots=True)
class Spare:
    """A generation that nobody stands on, and what its volumes take."""

    golden: str
    number: int
    built_at: str
    allocation: Size
