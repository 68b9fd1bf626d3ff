"""The report as a page: what is told, in which order and in which words, the same for HTML and Markdown."""

from __future__ import annotations

from moltfleet.cli.report import fleet, memory
from moltfleet.cli.report.content import Page, Tile, Tone, count
from moltfleet.model.names import printable
from moltfleet.model.report import Report, total


def build(report: Report) -> Page:
    """Put the page together. Sections that would have nothing to tell are left out."""
    sections = (
        memory.balance(report),
        memory.headroom(report),
        memory.advice(report),
        memory.forecasts(report),
        fleet.clones(report),
        fleet.pool(report),
        fleet.goldens(report),
        fleet.others(report),
        memory.host(report),
    )
    return Page(
        title=f"Capacity of {printable(report.host.name or report.host.uri)}",
        subtitle=f"{_readable(report.taken_at)} · {printable(report.host.uri)}",
        findings=report.findings,
        tiles=_tiles(report),
        sections=tuple(section for section in sections if section is not None),
        footer=f"moltfleet {report.version} · 1 GiB is 1024 MiB · docs/capacity.md says where each figure is from",
    )


def _readable(moment: str) -> str:
    return moment.replace("T", " ").replace("Z", " UTC")


def _tiles(report: Report) -> tuple[Tile, ...]:
    return (_promised(report), _used(report), _room(report), _clones(report), _pool(report))


def _promised(report: Report) -> Tile:
    held = report.memory
    too_much = held.excess.bytes > 0
    detail = f"{held.excess} too much" if too_much else f"{held.free} can still be promised"
    share = held.committed.bytes / held.limit.bytes if held.limit.bytes else 1.0
    tone = Tone.BAD if too_much else Tone.PLAIN
    return Tile("Memory promised", str(held.committed), f"of {held.limit}", detail, min(1.0, share), tone)


def _used(report: Report) -> Tile:
    held = report.memory
    if held.used is None or held.available is None:
        return Tile("Memory in use", "not measured", "", f"the host has {held.total}")
    share = held.used.bytes / held.total.bytes if held.total.bytes else 1.0
    return Tile("Memory in use", str(held.used), f"of {held.total}", f"{held.available} available", share)


def _room(report: Report) -> Tile:
    default = report.default
    if default.more:
        what = f"{'clone' if default.more == 1 else 'clones'} with {default.memory}"
        return Tile("Room now for", f"{default.more} more", "", what)
    fits = f"the largest that fits has {report.largest}" if report.largest.bytes else "nothing fits"
    return Tile("Room now for", "no more", f"with {default.memory}", fits, tone=Tone.BAD)


def _clones(report: Report) -> Tile:
    off = len(report.clones) - len(report.active)
    others = f"{count(len(report.others), 'other domain')} running" if report.others else "no other domain runs"
    return Tile("Clones", f"{len(report.active)} running", f"and {off} off" if off else "", others)


def _pool(report: Report) -> Tile:
    free, taken = report.situation.pool_free, total(part.size for part in report.pool)
    if free is None:
        return Tile("Pool", "not there", "", "the first golden makes it")
    room = (free + taken).bytes
    return Tile("Pool", str(free), "free", f"{taken} taken by the fleet", taken.bytes / room if room else 1.0)
