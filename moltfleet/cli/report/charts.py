"""What the report's drawings show: bars of parts, longest first, and what their colours mean. Draws nothing itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from moltfleet.cli.report.content import upper_first
from moltfleet.model.names import printable
from moltfleet.model.report import CloneUse, Report, total
from moltfleet.model.size import Size

MOST_BARS = 20
# Colours by what they stand for; the page has one of each name for the day and one for the night.
ROLES = (
    "clone", "clone-soft", "other", "starting", "host", "free",
    "golden", "clean", "ram", "written", "shed", "kept", "rest",
)  # fmt: skip
_POOL_ROLES = {
    "goldens": "golden", "clean points": "clean", "saved RAM": "ram", "written since": "written",
    "shed layers": "shed", "kept layers": "kept", "base images": "host",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a bar: its colour's role, what it stands for, and how long it is."""

    role: str
    label: str
    size: Size


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar, from its left end to its right; ``behind`` is written beyond that."""

    name: str
    parts: tuple[Part, ...]
    behind: str = ""

    @property
    def size(self) -> Size:
        """Its length."""
        return total(part.size for part in self.parts)


@dataclass(frozen=True, slots=True)
class Mark:
    """A line across all bars, and what is written at it."""

    at: Size
    text: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing. ``text`` is what it shows, in a sentence for those who hear it; few bars tell the sizes of parts."""

    key: str
    title: str
    text: str
    bars: tuple[Bar, ...]
    legend: tuple[tuple[str, str], ...]
    mark: Mark | None = None

    @property
    def is_summary(self) -> bool:
        """Whether its few bars are parts of one whole, each to be read by its size."""
        return not any(bar.behind for bar in self.bars)


def build(report: Report) -> tuple[Chart, ...]:
    """Return every drawing that has something to show."""
    return tuple(_all(report))


def _all(report: Report) -> Iterator[Chart]:
    yield _memory(report)
    running = sorted((c for c in report.active if c.resident is not None), key=_taken, reverse=True)[:MOST_BARS]
    if running:
        yield _clones(running)
    disks = sorted(map(_disk, report.clones), key=lambda bar: bar.size, reverse=True)[:MOST_BARS]
    if disks and disks[0].size.bytes:
        yield _disks(disks)
    if report.situation.pool_free is not None:
        yield _pool(report, report.situation.pool_free)


def _memory(report: Report) -> Chart:
    held = report.memory
    promised = (
        Part("clone", "Clones", held.clones_promised),
        Part("other", "Other domains", held.others_promised),
        Part("starting", "Starts under way", held.starting),
        Part("free", "Free", held.free),
        Part("host", "Reserve, and the rest of the host", held.reserve),
    )
    bars = [Bar("Promised", promised)]
    if held.available is not None:
        used = (
            Part("clone", "Clones", held.clones_used or Size(0)),
            Part("other", "Other domains", held.others_used or Size(0)),
            Part("host", "Rest of the host", held.rest_used or Size(0)),
            Part("free", "Available", held.available),
        )
        bars.append(Bar("In use now", used))
    told = f"{held.used} of {held.total} is in use" if held.used is not None else "what is in use was not measured"
    return Chart(
        key="memory",
        title="Memory promised and in use",
        text=f"{held.committed} of {held.limit} is promised to domains; {told}.",
        bars=tuple(bars),
        legend=tuple((part.role, part.label) for part in promised if part.size.bytes or part.role != "starting"),
        mark=Mark(held.limit, f"at most {held.limit} may be promised"),
    )


def _clones(clones: Sequence[CloneUse]) -> Chart:
    first = clones[0]
    return Chart(
        key="clones",
        title="Memory that running clones take",
        text=f"{printable(first.view.name)} takes most, {first.resident} of {first.view.memory}.",
        bars=tuple(map(_clone, clones)),
        legend=(("clone", "In use now"), ("clone-soft", "Memory of the clone")),
    )


def _taken(clone: CloneUse) -> int:
    return clone.resident.bytes if clone.resident else 0


def _clone(clone: CloneUse) -> Bar:
    taken = Size(_taken(clone))
    parts = (Part("clone", "In use now", taken), Part("clone-soft", "Memory of the clone", clone.view.memory - taken))
    return Bar(clone.view.name, parts, f"{taken} of {clone.view.memory}")


def _disks(bars: Sequence[Bar]) -> Chart:
    return Chart(
        key="disks",
        title="Disk that clones take in the pool",
        text=f"{printable(bars[0].name)} takes most, {bars[0].size}.",
        bars=tuple(bars),
        legend=tuple((part.role, part.label) for part in bars[0].parts),
    )


def _disk(clone: CloneUse) -> Bar:
    disk = clone.disk
    parts = (
        Part("clean", "Clean point", disk.clean),
        Part("ram", "Saved RAM", disk.ram_image),
        Part("written", "Written", disk.written + disk.leftover),
        Part("shed", "Shed", disk.shed),
        Part("kept", "Kept", disk.kept),
    )
    return Bar(clone.view.name, parts, str(total(part.size for part in parts)))


def _pool(report: Report, free: Size) -> Chart:
    parts = [Part(_POOL_ROLES.get(part.kind, "rest"), upper_first(part.kind), part.size) for part in report.pool]
    taken = total(part.size for part in report.pool)
    parts.append(Part("free", "Free", free))
    return Chart(
        key="pool",
        title="The storage pool",
        text=f"{taken} taken, {free} free.",
        bars=(Bar("Pool", tuple(parts)),),
        legend=tuple((part.role, f"{part.label} {part.size}") for part in parts if part.size.bytes),
    )
