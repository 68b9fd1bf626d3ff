"""Results as text for people. The only importer of tabulate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from moltfleet.model.hostcheck import Check, CheckState
from moltfleet.model.names import printable
from moltfleet.model.size import Size

if TYPE_CHECKING:
    from moltfleet.model.containment import HostPlan
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.makingroom import RoomPlan
    from moltfleet.model.records import Forced, Hold
    from moltfleet.model.results import ActResult, CloneView, GoldenView, KeptView, MoltResult


def _table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Align columns; empty without rows. Foreign text is made safe for the terminal here, once for all tables."""
    if not rows:
        return ""
    from tabulate import tabulate

    cells = [[printable(str(cell)) for cell in row] for row in rows]
    numeric = {"SECONDS", "VCPUS", "MEMORY", "DISK", "SIZE", "VALUE", "PROMISED", "IN USE"}
    alignment = ["right" if header in numeric else "left" for header in headers]
    text = tabulate(cells, headers=headers, tablefmt="plain", disable_numparse=True, colalign=alignment)
    return "\n".join(line.rstrip() for line in text.splitlines())


def figures_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Figures in columns."""
    return _table(headers, rows)


def markdown_table(headers: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """The same in Markdown, whose own characters are escaped."""
    from tabulate import tabulate

    cells = [[printable(str(cell), limit=1000).replace("|", "\\|") for cell in row] for row in rows]
    return str(tabulate(cells, headers=list(headers), tablefmt="github", disable_numparse=True))


def clones_table(views: Iterable[CloneView]) -> str:
    """One line per clone."""
    headers = ("NAME", "GOLDEN", "STATE", "LOGIN", "MEMORY", "VCPUS", "DISK", "MOLT", "HEALTH")
    return _table(headers, [_clone_row(view) for view in views])


def _clone_row(view: CloneView) -> tuple[object, ...]:
    newest = _newer(view)
    return (
        view.name,
        f"{view.golden} g{view.generation}" + (f" < g{newest}" if newest is not None else ""),
        view.state,
        _login(view.endpoint),
        view.memory,
        view.vcpus,
        view.disk_allocation,
        view.warm,
        view.health,
    )


def clone_text(view: CloneView) -> str:
    """A paragraph about one clone."""
    newest = _newer(view)
    newer = f" (newest is g{newest}; moltfleet molt {view.name} --to latest)" if newest is not None else ""
    facts = (
        ("state", view.state),
        ("health", view.health),
        ("golden", f"{view.golden} g{view.generation}{newer}"),
        ("login", _login(view.endpoint)),
        ("memory", f"{view.memory}, {view.vcpus} vCPUs"),
        ("disk", f"{view.disk_allocation} of its own"),
        ("molt", f"{view.warm} ({view.stale_reason})" if view.stale_reason else view.warm),
        *_forced(view.forced),
        *_held(view.hold),
        *((("logins", f"{', '.join(view.logins.names)} of {view.logins.by}"),) if view.logins else ()),
    )
    return _paragraph(view.name, facts, width=8)


def _newer(view: CloneView) -> int | None:
    """The newest generation of its golden, if that is not the clone's."""
    return view.latest_generation if view.latest_generation != view.generation else None


def _forced(forced: Forced | None) -> tuple[tuple[str, str], ...]:
    """Tell that a clone was brought up although the host had no room."""
    if forced is None:
        return ()
    return (("forced", f"{forced.at} by {forced.by}, past {' and '.join(forced.rules)}: {forced.reason}"),)


def _held(hold: Hold | None) -> tuple[tuple[str, str], ...]:
    """Tell that a clone is not to be molted by itself."""
    if hold is None:
        return ()
    return (("held", f"until {hold.until} by {hold.by}" + (f": {hold.why}" if hold.why else "")),)


def _login(endpoint: Endpoint | None) -> str:
    if endpoint is None:
        return "-"
    port = "" if endpoint.port == 22 else f":{endpoint.port}"
    return f"{endpoint.user}@{endpoint.host}{port}"


def acts_table(results: Iterable[ActResult]) -> str:
    """One line per clone of what became of it; errors are told beside the table."""
    rows = [(r.clone, r.outcome, f"{r.seconds:.1f}", "" if r.error else r.detail) for r in results]
    return _table(("CLONE", "OUTCOME", "SECONDS", "DETAIL"), rows)


def room_table(plan: RoomPlan) -> str:
    """One line per clone that would be molted or stopped, in that order; empty when there is room."""
    headers = ("CLONE", "ACT", "PROMISED", "IN USE", "WHY")
    return _table(headers, [(way.clone, way.act, way.promised, way.resident, way.why) for way in plan.ways])


def molts_table(results: Iterable[MoltResult]) -> str:
    """One line per clone of how it molted; errors are told beside the table."""
    rows = [
        (r.clone, r.outcome, r.mode, f"{r.seconds.total:.2f}", r.kept or "-", "" if r.error else _reasons_of(r))
        for r in results
    ]
    return _table(("CLONE", "OUTCOME", "MODE", "SECONDS", "KEPT", "REASON"), rows)


def _reasons_of(result: MoltResult) -> str:
    """Why it was cold, and what its logins did not get."""
    return "; ".join((*([result.reason] if result.reason else []), *(result.logins.notes if result.logins else ())))


def kept_table(views: Iterable[KeptView]) -> str:
    """One line per kept state."""
    return _table(("CLONE", "LABEL", "KEPT", "DISK"), [(v.clone, v.label, v.kept_at, v.allocation) for v in views])


def goldens_table(views: Iterable[GoldenView]) -> str:
    """One line per golden."""
    headers = ("NAME", "GENERATION", "PROFILE", "SIZE", "CLONES", "BUILT", "SOURCE")
    return _table(headers, [(v.name, f"g{v.generation}", v.profile, v.allocation, _clones(v), v.built_at, v.source)
                            for v in views])  # fmt: skip


def _clones(view: GoldenView) -> str:
    return f"{len(view.clones)} ({len(view.behind)} behind)" if view.behind else f"{len(view.clones)}"


def golden_text(view: GoldenView) -> str:
    """A paragraph about one golden."""
    facts = (
        ("generation", f"g{view.generation} (present: {', '.join(f'g{number}' for number in view.generations)})"),
        ("profile", view.profile),
        ("source", view.source),
        ("built", view.built_at),
        ("size", view.allocation),
        ("clones", ", ".join(view.clones) or "none"),
        *([("behind", ", ".join(view.behind))] if view.behind else []),
    )
    return _paragraph(view.name, facts, width=11)


def manifest_text(manifest: Mapping[str, object]) -> str:
    """The facts of a golden's manifest that are not on the golden itself; long lists as their length."""
    packages = manifest.get("packages")
    facts = (
        ("image", f"{manifest.get('source_digest')} (verified by {manifest.get('source_verified_by')})"),
        ("cloud-init", manifest.get("cloud_init")),
        ("kernel", manifest.get("kernel")),
        ("guest tools", manifest.get("guest_tools") or "none"),
        ("idle memory", Size(_whole(manifest.get("idle_memory_bytes")))),
        ("packages", len(packages) if isinstance(packages, list | dict) else 0),
    )
    return _paragraph("manifest", facts, width=11)


def _whole(value: object) -> int:
    return value if isinstance(value, int) and value >= 0 else 0


def checks_text(checks: Iterable[Check]) -> str:
    """One line per check, then a paragraph about each that is not ok."""
    rows = list(checks)
    table = _table(("CHECK", "STATE", "FINDING"), [(check.name, check.state, check.finding) for check in rows])
    wrong = [_paragraph(check.name, _reasons(check), width=3) for check in rows if check.state is not CheckState.OK]
    return "\n\n".join([table, *wrong] if table else wrong)


def _reasons(check: Check) -> tuple[tuple[str, object], ...]:
    return (("why", check.why), *((("fix", check.fix),) if check.fix else ()))


def file_acts_table(plan: HostPlan) -> str:
    """One line per file of what became of it."""
    return _table(("FILE", "ACT"), [(act.path, act.act) for act in plan.acts])


def _paragraph(title: str, facts: Iterable[tuple[str, object]], *, width: int) -> str:
    return "\n".join([title, *(f"  {name:<{width}} {printable(str(value))}" for name, value in facts)])
