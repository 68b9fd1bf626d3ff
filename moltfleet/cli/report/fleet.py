"""The page's sections about the fleet: clones, the pool, goldens, and other people's domains."""

from __future__ import annotations

from typing import TYPE_CHECKING

from moltfleet.cli.report.content import (
    MOST_ROWS,
    Cell,
    Phrase,
    Section,
    Table,
    Tone,
    amount,
    count,
    name,
    phrase,
    plain,
    upper_first,
)
from moltfleet.model.domain import DomainState
from moltfleet.model.report import CloneUse, GenerationUse, GoldenUse, Report, total

if TYPE_CHECKING:
    from moltfleet.model.load import DomainUse
    from moltfleet.model.size import Size


def clones(report: Report) -> Section | None:
    """Every clone with what it was promised and what it takes, those that take most memory first."""
    if not report.clones:
        return None
    ordered = sorted(report.clones, key=_by_use)
    headers = (
        "Clone", "Golden", "State", "vCPUs", "Memory", "In use now", "Written", "Shed", "Kept", "Clean point", "Molt",
    )  # fmt: skip
    return Section(
        key="clones",
        title="Clones",
        lead=(_clones_lead(len(ordered)),),
        charts=("clones", "disks"),
        table=Table(
            caption="Clones",
            headers=headers,
            rows=tuple(_clone(clone) for clone in ordered[:MOST_ROWS]),
            numeric=frozenset(range(3, 10)),
            sum=_clones_sum(report),
        ),
    )


def _by_use(clone: CloneUse) -> tuple[bool, int, str]:
    return not clone.is_active, -(clone.resident.bytes if clone.resident else 0), clone.view.name


def _clones_lead(number: int) -> Phrase:
    text = (
        "In use now is what QEMU takes of the host's memory. Written is what the clone has changed on its disk since"
        " its clean point, and a molt takes back; shed and kept layers are what molts put aside."
    )
    rest = f" The {MOST_ROWS} that take most memory are listed, of {number}." if number > MOST_ROWS else ""
    return phrase(text + rest)


def _clone(clone: CloneUse) -> tuple[Cell, ...]:
    view, disk = clone.view, clone.disk
    return (
        name(view.name),
        name(f"{view.golden} g{view.generation}") if view.generation else plain("?", Tone.FAINT),
        _state(clone),
        plain(view.vcpus),
        plain(view.memory) if clone.is_active else plain(f"({view.memory})", Tone.FAINT),
        amount(clone.resident),
        amount(disk.written + disk.leftover),
        amount(disk.shed),
        amount(disk.kept),
        amount(disk.clean + disk.ram_image),
        plain(view.warm, Tone.BAD if view.warm == "stale" else Tone.PLAIN),
    )


def _state(clone: CloneUse) -> Cell:
    view = clone.view
    if view.state in (DomainState.PAUSED, DomainState.CRASHED):
        return plain(view.state, Tone.BAD)
    if view.health in ("ok", "off"):
        return plain(view.state, Tone.PLAIN if clone.is_active else Tone.FAINT)
    return plain(f"{view.state}, {view.health}", Tone.BAD)


def _clones_sum(report: Report) -> tuple[Cell, ...]:
    active, disks = report.active, [clone.disk for clone in report.clones]
    off = len(report.clones) - len(active)

    def sum_of(*sizes: list[Size]) -> Cell:
        return amount(total(size for several in sizes for size in several))

    return (
        plain(f"{len(active)} running" + (f", {off} off" if off else "")),
        plain(""),
        plain(""),
        plain(sum(clone.view.vcpus for clone in active)),
        amount(total(clone.view.memory for clone in active)),
        amount(report.memory.clones_used),
        sum_of([disk.written for disk in disks], [disk.leftover for disk in disks]),
        sum_of([disk.shed for disk in disks]),
        sum_of([disk.kept for disk in disks]),
        sum_of([disk.clean for disk in disks], [disk.ram_image for disk in disks]),
        plain(""),
    )


def pool(report: Report) -> Section | None:
    """What the pool is taken by."""
    free = report.situation.pool_free
    if free is None:
        return None
    rows = [(plain(upper_first(part.kind)), plain(part.volumes), amount(part.size)) for part in report.pool]
    rows.append((plain("Free"), plain(""), amount(free)))
    return Section(
        key="pool",
        title="Disk",
        lead=(_growth(report),) if report.active else (),
        charts=("pool",),
        table=Table(
            caption="The storage pool",
            headers=("", "Volumes", "On the disk"),
            rows=tuple(rows),
            numeric=frozenset({1, 2}),
        ),
    )


def _growth(report: Report) -> Phrase:
    """Say how far the running clones have grown, and how far they could."""
    most = max(report.active, key=lambda clone: clone.disk.written.bytes)
    possible = total(clone.disk_capacity - clone.disk.written for clone in report.active)
    written = total(clone.disk.written for clone in report.active)
    return phrase(
        f"Running clones have written {written} since their clean points, ",
        name(most.view.name),
        f" most of all ({most.disk.written}). Their disks would let them write {possible} more.",
    )


def goldens(report: Report) -> Section | None:
    """Every golden with its generations."""
    if not report.goldens:
        return None
    return Section(
        key="goldens",
        title="Goldens",
        table=Table(
            caption="Goldens and their generations",
            headers=("Golden", "Generation", "Built", "Profile", "From", "Clones", "On the disk"),
            rows=tuple(_golden(golden, gen) for golden in report.goldens for gen in golden.generations)[:MOST_ROWS],
            numeric=frozenset({5, 6}),
            sum=(
                plain(count(len(report.goldens), "golden")),
                *(plain("") for _ in range(4)),
                plain(sum(golden.clones for golden in report.goldens)),
                amount(total(golden.allocation for golden in report.goldens)),
            ),
        ),
    )


def _golden(golden: GoldenUse, generation: GenerationUse) -> tuple[Cell, ...]:
    is_newest = generation is golden.generations[-1]
    return (
        name(golden.name),
        plain(f"g{generation.number}" + (", newest" if is_newest else ""), Tone.PLAIN if is_newest else Tone.FAINT),
        plain(generation.built_at.replace("T", " ").removesuffix("Z")),
        name(golden.profile),
        name(golden.source),
        plain(generation.clones),
        amount(generation.allocation),
    )


def others(report: Report) -> Section | None:
    """Active domains that are no clones: they count, whoever they belong to."""
    if not report.others:
        return None
    ordered = sorted(report.others, key=lambda use: (-use.promised.bytes, use.name))
    rest = f" The {MOST_ROWS} largest are listed, of {len(ordered)}." if len(ordered) > MOST_ROWS else ""
    return Section(
        key="others",
        title="Other domains",
        lead=(phrase(f"They run on this host and count, whoever they belong to.{rest}"),),
        table=Table(
            caption="Active domains that are no clones",
            headers=("Domain", "State", "vCPUs", "Promised", "In use now"),
            rows=tuple(_other(use) for use in ordered[:MOST_ROWS]),
            numeric=frozenset({2, 3, 4}),
        ),
    )


def _other(use: DomainUse) -> tuple[Cell, ...]:
    return name(use.name), plain(use.state), plain(use.vcpus), amount(use.promised), amount(use.resident)
