"""The page's sections about memory: the balance, what would still fit, what could be smaller, and the host itself."""

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
)
from moltfleet.model.capacity import Capacity, vcpu_ratio
from moltfleet.model.figures import duration
from moltfleet.model.rightsize import NOW, SINCE_START

if TYPE_CHECKING:
    from moltfleet.model.load import HostLoad
    from moltfleet.model.outlook import Forecast
    from moltfleet.model.report import Advice, HeadroomRow, MemoryBalance, Report
    from moltfleet.model.size import Size


def balance(report: Report) -> Section:
    """What is promised against what is used, both adding up to the host's memory."""
    held = report.memory
    clones = f"Clones ({len(report.active)} running)"
    others = f"Other domains ({len(report.others)})"
    rows = [
        _row(clones, held.clones_promised, held.clones_used),
        _row(others, held.others_promised, held.others_used),
        _row("Reserve, and the rest of the host", held.reserve, held.rest_used),
        _row("Free", held.free, held.available),
    ]
    if held.starting.bytes:
        rows.insert(2, _row("Starts under way", held.starting, None))
    return Section(
        key="memory",
        title="Memory",
        lead=(_balance_lead(held),),
        charts=("memory",),
        table=Table(
            caption="Memory of the host",
            headers=("", "Promised", "In use now"),
            rows=tuple(rows),
            numeric=frozenset({1, 2}),
            sum=_row("Host", held.total, held.total),
        ),
    )


def _balance_lead(held: MemoryBalance) -> Phrase:
    text = "A domain is promised its memory and QEMU's own, whether it has touched it yet or not."
    if held.excess.bytes:
        return phrase(f"{text} Together that is {held.excess} more than the host has beside its reserve.")
    return phrase(f"{text} What is in use is QEMU's share of the host's memory at this moment.")


def _row(what: str, promised: Size | None, used: Size | None) -> tuple[Cell, ...]:
    return plain(what), amount(promised), amount(used)


def headroom(report: Report) -> Section:
    """How many clones of each size fit."""
    total, *others = report.default.hosts
    hosts = (f"This host, empty ({total.host})", *(f"{capacity.host} host" for capacity in others))
    return Section(
        key="headroom",
        title="What would still fit",
        lead=(
            phrase(
                "“More now” could be started here one after the other, beside what runs: it counts QEMU's own memory,"
                " what is available, and the pool. The other columns are the plain calculation for an empty host with"
                f" a reserve of {report.situation.reserve}: as many as fit, and in brackets how many leave the room of"
                " one clone for those that leak."
            ),
        ),
        table=Table(
            caption="Clones that would fit, by their memory",
            headers=("Memory of a clone", "More now", *hosts),
            rows=tuple(_headroom_row(row) for row in report.headroom),
            numeric=frozenset(range(1, 2 + len(hosts))),
        ),
    )


def _headroom_row(row: HeadroomRow) -> tuple[Cell, ...]:
    label = plain(f"{row.memory} (default)", Tone.STRONG) if row.is_default else plain(row.memory)
    return label, plain(row.more, _tone(row.more)), *(_capacity(capacity) for capacity in row.hosts)


def _capacity(capacity: Capacity) -> Cell:
    return plain(f"{capacity.max_clones} ({capacity.safe_clones})", _tone(capacity.safe_clones))


def _tone(clones: int) -> Tone:
    return Tone.NONE if clones == 0 else Tone.FEW if clones <= 2 else Tone.SOME if clones <= 6 else Tone.MANY


def advice(report: Report) -> Section | None:
    """Clones that take much less than they have."""
    if not report.advice:
        return None
    lead = [_advise(advice) for advice in report.advice]
    if any(advice.basis == NOW for advice in report.advice):
        lead.append(phrase("“Now” is one look at this moment, and no peak: look again while they are at work."))
    return Section(key="advice", title="Right size", lead=tuple(lead))


def _advise(advice: Advice) -> Phrase:
    number = len(advice.clones)
    take, would = ("takes", "would let") if number == 1 else ("take at most", "each would let")
    taken = f"{take} {advice.highest} now"
    if advice.basis == SINCE_START:
        taken = f"never passed {advice.highest} since {'it was' if number == 1 else 'they were'} last started"
    return phrase(
        f"{count(number, 'clone')} of ",
        name(advice.golden),
        f" with {advice.memory} {taken}: {advice.suggested} {would} {advice.more_then} more of that"
        f" size run, instead of {advice.more_now or 'none'} of {advice.memory}.",
    )


def forecasts(report: Report) -> Section | None:
    """Clones whose memory grows, the soonest end first; nothing when nobody was asked, or runs."""
    outlook = report.outlook
    if outlook is None or not (outlook.forecasts or outlook.steady or outlook.silent):
        return None
    steady, silent = len(outlook.steady), len(outlook.silent)
    does_not = f"{count(steady, 'clone does', 'clones do')} not grow"
    told = f"{count(silent, 'clone tells', 'clones tell')} no forecast."
    lead = phrase(f"By what their guests have seen of themselves: {does_not}, and {told}")
    table = Table(
        caption="Memory that grows",
        headers=("Clone", "What", "Verdict", "In use", "Of", "Used up in"),
        rows=tuple(_forecast(forecast) for forecast in outlook.forecasts[:MOST_ROWS]),
        numeric=frozenset({3, 4, 5}),
    )
    return Section(key="forecasts", title="Forecasts", lead=(lead,), table=table if table.rows else None)


def _forecast(forecast: Forecast) -> tuple[Cell, ...]:
    return (
        name(forecast.clone),
        name(forecast.agent) if forecast.agent else plain("the guest"),
        plain(forecast.verdict.value, Tone.BAD if forecast.verdict.is_alarm else Tone.PLAIN),
        amount(forecast.used),
        amount(forecast.total),
        plain("–" if forecast.seconds is None else duration(forecast.seconds)),
    )


def host(report: Report) -> Section:
    """What the host is, each figure with its origin."""
    facts, load, situation = report.host, report.situation.host, report.situation
    ratio = vcpu_ratio(1, vcpus=report.vcpus, cpus=facts.cpus)
    rows = (
        ("Memory", str(load.total), load.total_origin),
        ("Available now", *_measured(load.available, load.available_origin)),
        ("Reserve", str(situation.reserve), situation.reserve_origin),
        ("CPUs", str(facts.cpus), _say_ratio(report.vcpus, ratio)),
        ("Guests run by", _virtualization(report), facts.virt_reason),
        ("libvirt, QEMU", f"{_version(facts.libvirt_version)}, {_version(facts.qemu_version)}", "libvirt"),
        ("Memory pressure", *_measured(_percent(load), load.pressure_origin)),
        ("OOM kills", *_measured(load.oom_kills, load.oom_origin)),
    )
    return Section(
        key="host",
        title="Host",
        table=Table(
            caption="The host, and where each figure is from",
            headers=("", "", "From"),
            rows=tuple((plain(a), plain(b), plain(c, Tone.FAINT)) for a, b, c in rows),
        ),
    )


def _measured(value: object, origin: str) -> tuple[str, str]:
    return ("not measured" if value is None else str(value)), origin


def _percent(load: HostLoad) -> str | None:
    return None if load.pressure is None else f"{load.pressure:.1f} % (some avg60)"


def _say_ratio(vcpus: int, ratio: float | None) -> str:
    shared = "" if ratio is None else f", {ratio:.1f} for each"
    return f"shared by {count(vcpus, 'vCPU')} of running domains{shared}"


def _virtualization(report: Report) -> str:
    return "KVM" if report.host.virt_type == "kvm" else "QEMU alone: emulated"


def _version(number: int) -> str:
    """Split libvirt's integer, major * 1000000 + minor * 1000 + micro."""
    return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}" if number else "unknown"
