"""The doctor's findings as text: what is alike stands together, each with its reason and its fix."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from moltfleet.cli.tables import figures_table
from moltfleet.model.doctor import Area, Diagnosis, Finding, Mended
from moltfleet.model.names import printable
from moltfleet.model.size import Size

# Of what is alike only the first few are named; --json has them all.
_NAMED = 8


def diagnosis_text(diagnosis: Diagnosis) -> str:
    """Return a paragraph per finding, by area, what could not be looked at, and a sum."""
    blocks = []
    for area in Area:
        alike: dict[tuple[str, ...], list[Finding]] = {}
        for finding in diagnosis.findings:
            if finding.area is area:
                alike.setdefault((finding.kind, finding.fact, finding.why, finding.fix), []).append(finding)
        blocks += ["\n".join(_paragraph(area, findings)) for findings in alike.values()]
    blocks += [f"note: {printable(note)}" for note in diagnosis.notes]
    return "\n\n".join((*blocks, _sum(diagnosis)))


def _paragraph(area: Area, findings: Sequence[Finding]) -> Iterator[str]:
    first, names = findings[0], [finding.subject for finding in findings]
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    yield f"{area}: {printable(', '.join(names[:_NAMED]), limit=600)}{more}: {printable(first.fact, limit=400)}"
    yield f"  why  {first.why}"
    frees = Size(sum(finding.frees.bytes for finding in findings))
    told = [*(["--fix does it"] if first.remedy else []), *([f"{frees} to win"] if frees.bytes else [])]
    yield f"  fix  {printable(first.fix, limit=600)}" + (f" ({', '.join(told)})" if told else "")


def _sum(diagnosis: Diagnosis) -> str:
    count, mendable = len(diagnosis.findings), len(diagnosis.mendable)
    if not count:
        return "Nothing is wrong."
    told = f"{count} {'finding' if count == 1 else 'findings'}"
    told += f", {mendable} of which --fix mends" if mendable else ", none of which --fix can mend"
    return f"{told}; {diagnosis.frees} to win." if diagnosis.frees.bytes else f"{told}."


def mended_text(mended: Iterable[Mended], left: Diagnosis) -> str:
    """Return what became of each, and what is left."""
    rows = [(one.finding.subject, one.finding.kind, one.outcome, one.finding.frees) for one in mended]
    table = figures_table(("SUBJECT", "FINDING", "OUTCOME", "SIZE"), rows)
    return f"{table}\n\n{diagnosis_text(left)}"
