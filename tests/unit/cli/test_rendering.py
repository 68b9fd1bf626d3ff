"""Results as tables and as documents: the former word for word, the latter as docs/json.md has them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import a_world
from fakes.guesttools import stage
from fakes.health import a_leaking_health
from fakes.metrics import a_fleet_in_numbers
from fakes.report import OUTLOOK, a_report
from fakes.rescued import RESCUED, SAVED
from moltfleet.adapters.notifier import event_document
from moltfleet.adapters.sshconfig import SshConfig
from moltfleet.cli import documents, lineage_text, tables
from moltfleet.cli.adopt_document import adopt_document
from moltfleet.cli.agent import agent_document
from moltfleet.cli.density_text import density_document
from moltfleet.cli.doctor_document import doctor_document
from moltfleet.cli.each_document import each_document
from moltfleet.cli.errors import error_document
from moltfleet.cli.key import forgotten_document, keys_document
from moltfleet.cli.lineage_document import golden_pruned_document, golden_updated_document
from moltfleet.cli.metrics import metrics_document
from moltfleet.cli.nightly_document import last_night_document, night_document
from moltfleet.cli.plan_document import plan_document
from moltfleet.cli.report.document import report_document
from moltfleet.cli.rescue_document import list_document, prune_document, rescues_document, show_document
from moltfleet.cli.rescue_text import rescues_table, saved_table, saved_text
from moltfleet.cli.schedule_text import removed_document, schedule_document
from moltfleet.cli.snapshot_text import snapshot_deleted_document, snapshot_taken_document, snapshots_document
from moltfleet.cli.ssh_config import ssh_config_document
from moltfleet.cli.streams import Collected
from moltfleet.cli.survey_document import holds_document, leaking_document, survey_document
from moltfleet.cli.sync_auth import sync_document
from moltfleet.cli.tools_document import tools_status_document, tools_verify_document
from moltfleet.cli.tools_text import tools_status_text, tools_verify_text
from moltfleet.model.admission import Admission
from moltfleet.model.adoption import Adoptee
from moltfleet.model.adoption import Kind as AdopteeKind
from moltfleet.model.agentline import read_line
from moltfleet.model.containment import FileAct, HostPlan
from moltfleet.model.density import AgentLoad, Density
from moltfleet.model.doctor import Area, Diagnosis, Finding, Mended
from moltfleet.model.domain import CommandResult, DomainState, Endpoint
from moltfleet.model.each import EachRequest, EachResult
from moltfleet.model.errors import Busy
from moltfleet.model.events import Event, EventKind
from moltfleet.model.guesttools import Found, Lack, Proof, ProofResult, ToolsReport, ToolsView
from moltfleet.model.hostcheck import Check, CheckState
from moltfleet.model.lineage import Change, GoldenUpdate, Spare
from moltfleet.model.load import Candidate
from moltfleet.model.logins import LoginsResult
from moltfleet.model.makingroom import Act, RoomPlan, Way
from moltfleet.model.metrics import families
from moltfleet.model.mix import parse_mix
from moltfleet.model.nightly import CloneNight, HostState, LastNight, Night, Scope, State, Unexplained
from moltfleet.model.nightly import Outcome as NightOutcome
from moltfleet.model.policy import Act as DecidedAct
from moltfleet.model.policy import Decision
from moltfleet.model.publickeys import KnownKey
from moltfleet.model.records import Forced, Hold, SyncedLogins
from moltfleet.model.results import ActResult, CloneView, GoldenView, HealthResult, KeptView, MoltResult, MoltSeconds
from moltfleet.model.schedule import Job, Kind
from moltfleet.model.size import Size
from moltfleet.model.snapshots import ChainView, SnapshotView
from moltfleet.model.survey import CloneSurvey, PoolSurvey, SurveyResult
from moltfleet.model.verdict import Judgement, Verdict
from moltfleet.operations.agent import AgentClone
from moltfleet.operations.density import read_stage
from moltfleet.operations.plan import PlanRequest, plan
from moltfleet.operations.scheduling import Scheduled
from moltfleet.operations.sync_auth import SyncResult

BUSY = Busy("Clone 'base-2' is being molted by ann", hint="--wait 60 waits for it.")
HOLD = Hold("2026-11-20T18:00:00Z", "alice", "a demo")
FORCED = Forced("the demo is now", "ann", "2026-11-20T10:00:00Z", ("committed", "live"))


def clone(name: str, **changes: Any) -> CloneView:
    fields: dict[str, Any] = {
        "name": name,
        "golden": "base",
        "generation": 1,
        "latest_generation": 2,
        "state": DomainState.RUNNING,
        "endpoint": Endpoint(name, "192.168.150.2", 22, "agent", ()),
        "memory": Size.of_gib(16),
        "vcpus": 4,
        "disk_allocation": Size.of_mib(312),
        "warm": "warm",
        "health": "ok",
    }
    return CloneView(**fields | changes)


CLONES = (
    clone("base-1"),
    clone("base-2", endpoint=Endpoint("base-2", "127.0.0.1", 40022, "agent", ()), warm="cold"),
    clone("base-3", endpoint=None, state=DomainState.SHUT_OFF, warm="none", health="unknown", generation=2),
    clone(
        "base-4",
        warm="stale",
        stale_reason="changed since the clean point: kernel, qemu",
        forced=FORCED,
        hold=HOLD,
        logins=SyncedLogins(("claude", "git"), "ann@host"),
    ),
)
ACTS = (
    ActResult("base-1", "started", "agent@192.168.150.2", 12.345),
    ActResult("base-2", "failed", seconds=0.04, error=BUSY),
)
SYNCED = LoginsResult(("codex",), ("codex", "git"), ("this machine has no login 'gh'",))
MOLTS = (
    MoltResult(
        "base-1",
        "molted",
        "warm",
        kept="before",
        seconds=MoltSeconds(1.01234, 0.02, 0.21, 0.41, 0.3),
        rescue=RESCUED,
        logins=SYNCED,
    ),
    MoltResult("base-2", "failed", "warm", reason="busy", error=BUSY),
)
SNAPSHOTS = (SnapshotView("base-1", "noon", "2026-11-20T12:00:00Z", Size.of_mib(120), True),)
CHAINS = (ChainView("base-1", 3),)
KEPT = (
    KeptView("base-1", "before-upgrade", "2026-11-20T18:00:00Z", Size.of_mib(312)),
    KeptView("base-2", "monday", "2026-11-16T08:30:00Z", Size.of_gib(1.5)),
)
GOLDENS = (
    GoldenView(
        "base",
        "agent",
        "debian-12",
        2,
        (1, 2),
        "2026-11-20T18:00:00Z",
        Size.of_gib(2.5),
        ("base-1", "base-2"),
        ("base-1",),
    ),
    GoldenView("lean", "minimal", "/srv/x\x1b[31m.qcow2", 1, (1,), "2026-11-19T08:00:00Z", Size.of_mib(640), ()),
)
MANIFEST: dict[str, object] = {
    "schema": "moltfleet.manifest/1",
    "built_with": "0.1.0",
    "source": "debian-12",
    "source_digest": "0" * 64,
    "source_verified_by": "SHA512SUMS",
    "profile": None,
    "user_data": ["extra.yaml"],
    "scripts": ["setup.sh"],
    "extra_packages": ["jq"],
    "cloud_init": "22.4.2",
    "kernel": "6.1.0-28-cloud-amd64",
    "idle_memory_bytes": 210 * 2**20,
    "guest_tools": "0.1.0-aaa",
    "packages": {"NAME": "1.6-2.1"},
    "npm_packages": {"NAME": "10.9.9"},
}
UPDATED = GoldenUpdate(
    view=GOLDENS[0],
    before=1,
    number=2,
    packages=(Change("jq", "1.6", "1.7"), Change("tmux", None, "3.3"), Change("vim", "9", None)),
    npm_packages=(Change("@openai/codex", "0.1.0", "0.2.0\x1b[2J"),),
    tools=Change("guest tools", "0.1.0-aaa", "0.1.0-bbb"),
    size_before=Size.of_mib(2400),
    size_after=Size.of_mib(2500),
    behind=("base-1",),
)
SPARES = (Spare("base", 1, "2026-11-19T08:00:00Z", Size.of_mib(2400)),)
CHECKS = (
    Check("swap", CheckState.WARNING, "8 GiB that clones can be pushed into", "It is slow.", "Limit it."),
    Check("sshd", CheckState.OK, "protected", "It is the way in."),
)
DIAGNOSIS = Diagnosis(
    (Finding("orphan", Area.FLEET, "a.seed.iso", "no record explains it", "It takes room.", "Delete it."),), ("hm",)
)
CONTAINED = HostPlan((FileAct("/etc/a", "create", b"a\n"),), notes=("earlyoom is not installed",))
TOOLS = (
    ToolsView("base-1", "0.1.0-aaa", Found(ToolsReport("0.1.0-aaa"))),
    ToolsView("base-2", "0.1.0-aaa", Found(ToolsReport("0.0.9-bbb", ("/etc/a", "/etc/b"), ("/usr/local/bin/claude",)))),
    ToolsView("base-3", "0.1.0-aaa", Found(lack=Lack.SYSTEMD)),
    ToolsView("base-4", "0.1.0-aaa"),
    ToolsView("base-5", "0.1.0-aaa", error=BUSY),
)
PROVEN = (
    ProofResult(
        "base-1",
        (
            Proof("watchdog", "its service, and its self-test", "active; 9 of 9 ok", True, 1.2),
            Proof("limit", "256 MiB in run-limited 128M", "nothing stopped it\x1b[2J", False, 4.0),
        ),
        5.3,
        BUSY,
    ),
    ProofResult("base-2", error=BUSY),
    ProofResult("base-3", (Proof("sshd", "new logins", "2 login(s)", True, 2.0),)),
)
STAGES = tuple(
    read_stage(count, CommandResult(0, json.dumps(stage(count, gave_way=what)).encode(), b""))
    for count, what in ((4, None), (5, "shm"))
)
DENSITY = Density("base", 2, Size.of_gib(16), 4, AgentLoad(), (4, 5, 10), STAGES, "0.1.0-aaa", ("A note.",))
NIGHT_JOB = Job(Kind.USER, "moltfleet-nightly", "*-*-* 03:30:00", "moltfleet nightly", "active")
SCHEDULED = Scheduled((NIGHT_JOB,), lingering=True, notes=("A note.",))
A_NIGHT = replace(
    Night("2026-11-20T03:30:00Z", "2026-11-20T07:30:00Z", Scope.LEAKING, "0.1.0").with_clone(
        CloneNight(
            "base-1", "molt", "leaks", "leaking", State.FAILED, rescue="rescued", details=("a link",), error="no"
        )
    ),
    host_before=HostState(2**36, 2**35, 2**34, 0.0),
    host_after=HostState(2**36, 2**35, 2**34, 0.0),
    unexplained=(Unexplained("base-9.1.qcow2", 2**20),),
    notes=("a note",),
)
LAST_NIGHT = LastNight("2026-11-20T03:30:00Z", "2026-11-20T03:45:00Z", NightOutcome.OK, "/state/nights/x.md")
COLLECTED = Collected()
COLLECTED.write("base-1", False, b"out \xff")
COLLECTED.write("base-1", True, b"err")


def test_clones_are_a_table(golden: Callable[[str, str], None]) -> None:
    golden("tables/list.txt", tables.clones_table(CLONES) + "\n")


def test_status_is_a_paragraph_per_clone(golden: Callable[[str, str], None]) -> None:
    golden("tables/status.txt", "\n".join(tables.clone_text(view) for view in CLONES) + "\n")


def test_an_update_tells_what_is_newer_and_who_is_behind(golden: Callable[[str, str], None]) -> None:
    same = replace(UPDATED, number=1, packages=(), npm_packages=(), tools=None)
    dumb = replace(UPDATED, packages=None, npm_packages=None, tools=None, behind=())
    texts = [lineage_text.golden_updated_text(update) for update in (UPDATED, same, dumb)]
    golden("tables/golden-update.txt", "\n\n".join(texts) + "\n")


def test_pruning_tells_what_is_gone_and_what_it_gave_back(golden: Callable[[str, str], None]) -> None:
    texts = [lineage_text.golden_pruned_text(spares) for spares in (SPARES, ())]
    golden("tables/golden-prune.txt", "\n\n".join(texts) + "\n")


def test_acts_are_a_table(golden: Callable[[str, str], None]) -> None:
    golden("tables/acts.txt", tables.acts_table(ACTS) + "\n")


def test_molts_are_a_table(golden: Callable[[str, str], None]) -> None:
    golden("tables/molt.txt", tables.molts_table(MOLTS) + "\n")


def test_kept_states_are_a_table(golden: Callable[[str, str], None]) -> None:
    golden("tables/kept.txt", tables.kept_table(KEPT) + "\n")


def test_rescues_are_tables_and_one_of_them_is_told_in_full(golden: Callable[[str, str], None]) -> None:
    unfinished = replace(SAVED, label="20261120T031500Z", manifest=None)
    tables_of_them = rescues_table((RESCUED,)), saved_table((unfinished, SAVED))
    text = saved_text(SAVED, ("screen-1.txt has changed",))
    golden("tables/rescue.txt", "\n\n".join((*tables_of_them, text, saved_text(unfinished, ("interrupted",)))) + "\n")


def test_goldens_are_a_table_and_one_is_a_paragraph(golden: Callable[[str, str], None]) -> None:
    text = tables.goldens_table(GOLDENS) + "\n\n" + "\n".join(tables.golden_text(view) for view in GOLDENS) + "\n"
    text += tables.manifest_text(MANIFEST) + "\n"
    assert "\x1b" not in text
    golden("tables/golden.txt", text)


def test_tools_are_a_table_and_proofs_two_lines_each(golden: Callable[[str, str], None]) -> None:
    golden("tables/tools.txt", f"{tools_status_text(TOOLS)}\n\n{tools_verify_text(PROVEN)}\n")


def test_nothing_is_an_empty_table() -> None:
    assert tables.clones_table(()) == tables.acts_table(()) == tables.molts_table(()) == tables.goldens_table(()) == ""
    assert tables.kept_table(()) == ""


def test_a_list_document_has_exactly_the_agreed_shape() -> None:
    assert documents.clones_document(CLONES[:1]) == {
        "schema": "moltfleet.list/1",
        "clones": [
            {
                "name": "base-1",
                "golden": "base",
                "generation": 1,
                "latest_generation": 2,
                "state": "running",
                "ip": "192.168.150.2",
                "ssh": {"host": "192.168.150.2", "port": 22, "user": "agent"},
                "memory_mib": 16384,
                "vcpus": 4,
                "disk_allocation_bytes": 312 * 2**20,
                "warm": "warm",
                "health": "ok",
            }
        ],
        "last_night": None,
    }


def test_only_the_status_says_what_made_a_clone_stale() -> None:
    assert "stale_reason" not in documents.clones_document(CLONES)["clones"][3]
    *others, stale = documents.status_document(CLONES)["clones"]
    assert stale["stale_reason"] == "changed since the clean point: kernel, qemu"
    assert [other["stale_reason"] for other in others] == [None, None, None]


def test_a_forwarded_port_is_not_taken_for_the_guests_address() -> None:
    forwarded = documents.clones_document(CLONES[1:2])["clones"][0]
    assert forwarded["ip"] is None
    assert forwarded["ssh"] == {"host": "127.0.0.1", "port": 40022, "user": "agent"}


def test_a_molt_document_has_exactly_the_agreed_shape() -> None:
    document = documents.molts_document("moltfleet.molt/1", MOLTS)
    assert document == {
        "schema": "moltfleet.molt/1",
        "results": [
            {
                "clone": "base-1",
                "outcome": "molted",
                "mode": "warm",
                "reason": "",
                "kept": "before",
                "seconds": {"total": 1.012, "overlay": 0.02, "destroy": 0.21, "restore": 0.41, "ready": 0.3},
                "error": None,
                "rescue": {"outcome": "rescued", "directory": "/rescued/base-1/20261121T031500Z"},
                "logins": {
                    "pulled": ["codex"],
                    "pushed": ["codex", "git"],
                    "notes": ["this machine has no login 'gh'"],
                },
            },
            {
                "clone": "base-2",
                "outcome": "failed",
                "mode": "warm",
                "reason": "busy",
                "kept": None,
                "seconds": {"total": 0.0, "overlay": 0.0, "destroy": 0.0, "restore": 0.0, "ready": 0.0},
                "error": {"code": "busy", "brief": BUSY.brief, "hint": BUSY.hint},
                "rescue": None,
                "logins": None,
            },
        ],
    }


def test_an_exec_document_has_what_each_guest_wrote_and_how_it_ended() -> None:
    (good, bad) = documents.exec_document((COLLECTED.of(ActResult("base-1", "executed", "3")), COLLECTED.of(ACTS[1])))[
        "results"
    ]
    assert (good["exit_status"], good["stdout"], good["stderr"]) == (3, "out \ufffd", "err")
    assert (bad["exit_status"], bad["stdout"], bad["error"]["code"]) == (None, "", "busy")


@pytest.mark.parametrize("content", [{}, {"packages": 3, "idle_memory_bytes": "x", "kernel": "\x1b[2J"}])
def test_a_manifest_that_is_not_as_we_wrote_it_is_still_shown_safely(content: dict[str, object]) -> None:
    assert "\x1b" not in tables.manifest_text(content)


WORLD = a_world()
PLAN = plan(
    WORLD.config,
    PlanRequest(memories=(Size.of_gib(12), Size.of_gib(30)), mix=parse_mix("2x16G+4x8G"), golden="base", fit=3),
    lambda: WORLD.fleet,
)

ROOM_WANTED = Candidate("", Size.of_gib(2), 2, emulated=False)
ROOM = RoomPlan(
    (Way("base-1", Act.STOP, Size.of_gib(3), Size.of_gib(2), Size(0), "last wrote 3 h ago"),),
    Admission(ROOM_WANTED, (), Size(0)),
    Admission(ROOM_WANTED, (), Size(0)),
)

LEAK = Judgement(
    Verdict.LEAKING, "used up in 50 min", ("memory: 12 of 16 GiB in use",), 12 << 30, 16 << 30, 3000.0, 1e6
)
SURVEY = SurveyResult(
    taken_at="2026-11-20T10:00:00Z",
    clones=(CloneSurvey("base-1", DomainState.RUNNING, LEAK, hold=HOLD),),
    pool=PoolSurvey(Size.of_gib(50), Size.of_gib(100), LEAK),
    notes=("Samples cannot be used",),
)
DECISIONS = (Decision("base-1", DecidedAct.MOLT, Verdict.LEAKING, "used up in 50 min", 3000.0, answered=True),)
KEY = KnownKey("SHA256:AAAA", "ssh-ed25519", "me@home", "home")
ADOPTEES = (
    Adoptee("vm", AdopteeKind.GOLDEN, "vm", "adoptable", "vm.qcow2", ("never sealed",)),
    Adoptee("vm-1", AdopteeKind.CLONE, "vm", "refused", commands=("sudo ln a b",), left=("vm-1.1.qcow2",), error=BUSY),
)
AGENT = AgentClone(Endpoint("base-1", "192.0.2.7", 22, "agent", ()), "created", ())
AGENT_LINE = read_line(b"cli\tclaude\t2.0.14\tyes\ngh\tyes\tann\ngit\tAnn\tssh\n")
LOGINS = (Endpoint("base-1", "192.0.2.7", 22, "agent", ()), Endpoint("base-2", "", 22, "agent", ()))
SSH_CONFIG = SshConfig.of("qemu:///system", Path("/nowhere/key"), home=Path("/nowhere"))
EMITTED: tuple[documents.Document, ...] = (
    plan_document(PLAN),
    report_document(a_report(outlook=OUTLOOK)),
    documents.clones_document(CLONES, last_night_document(LAST_NIGHT)),
    documents.status_document(CLONES),
    *(documents.acts_document(f"moltfleet.{verb}/1", ACTS) for verb in ("create", "start", "stop", "restart")),
    *(documents.acts_document(f"moltfleet.{verb}/1", ACTS) for verb in ("delete", "cleanup", "warm")),
    sync_document(
        (SyncResult("base-1", "synced", SYNCED, 1.5), SyncResult("base-2", "failed", LoginsResult(), 0.1, BUSY))
    ),
    documents.molts_document("moltfleet.molt/1", MOLTS),
    documents.molts_document("moltfleet.undo/1", MOLTS),
    documents.molts_document("moltfleet.kept-restore/1", MOLTS),
    documents.kept_document(KEPT),
    snapshots_document(SNAPSHOTS, CHAINS),
    snapshot_taken_document("moltfleet.snapshot-create/1", SNAPSHOTS[0], CHAINS[0]),
    snapshot_taken_document("moltfleet.pre-run/1", SNAPSHOTS[0], CHAINS[0]),
    snapshot_deleted_document("base-1", "noon"),
    documents.molts_document("moltfleet.snapshot-revert/1", MOLTS),
    documents.molts_document("moltfleet.snapshot-flatten/1", MOLTS),
    documents.molts_document("moltfleet.post-run/1", MOLTS),
    documents.kept_deleted_document("base-1", "monday"),
    survey_document(SURVEY, ACTS),
    leaking_document(DECISIONS, ACTS),
    documents.acts_document("moltfleet.hold/1", ACTS),
    holds_document([("base-1", HOLD)]),
    event_document(Event(EventKind.MOLTED, "Clone 'base-1' was molted", "base-1"), "2026-11-20T10:00:00Z"),
    rescues_document((RESCUED, replace(RESCUED, error=BUSY))),
    list_document((SAVED,)),
    show_document(SAVED, ("repository-1/staged.patch has changed",)),
    prune_document((SAVED,)),
    documents.goldens_document(GOLDENS),
    documents.golden_document(GOLDENS[0], MANIFEST),
    documents.golden_built_document(GOLDENS[0]),
    golden_updated_document(UPDATED),
    golden_pruned_document(SPARES),
    documents.exec_document((COLLECTED.of(ActResult("base-1", "executed", "3")), COLLECTED.of(ACTS[1]))),
    documents.copy_document("a", "base-1:b"),
    agent_document(AGENT, "agent", AGENT_LINE),
    each_document(
        EachRequest("make"),
        (EachResult("base-1", "done", 0, rescue=RESCUED), EachResult("base-2", "unreached", None, error=BUSY)),
    ),
    ssh_config_document(SSH_CONFIG, LOGINS),
    documents.inventory_script_document(Path("hosts")),
    documents.acts_document("moltfleet.key-authorise/1", ACTS),
    keys_document((KEY,)),
    forgotten_document((KEY,)),
    # What a guest says has a schema of its own.
    documents.health_document((HealthResult("base-1", "unknown", None, 1.0, BUSY), HealthResult("base-2", "ok", None))),
    json.loads(json.dumps(a_leaking_health().document())),
    *(documents.acts_document(f"moltfleet.tools-{verb}/1", ACTS) for verb in ("install", "remove")),
    tools_status_document(TOOLS),
    tools_verify_document(PROVEN),
    density_document(DENSITY),
    documents.room_document(ROOM, ACTS),
    documents.golden_deleted_document("base"),
    doctor_document(
        DIAGNOSIS, (Mended(DIAGNOSIS.findings[0], "failed", BUSY), Mended(DIAGNOSIS.findings[0], "gone")), DIAGNOSIS
    ),
    adopt_document(ADOPTEES, applied=False, undo=False),
    documents.host_check_document(CHECKS),
    documents.host_contain_document(CONTAINED, removed=False, left=CHECKS[:1]),
    night_document(A_NIGHT, "/state/nights/20261120t033000z.md"),
    metrics_document(families(a_fleet_in_numbers(), None, "1.0")),
    schedule_document("install", SCHEDULED),
    schedule_document("show", SCHEDULED),
    removed_document((NIGHT_JOB,)),
    documents.dry_run_document(("delete base-1",)),
    {"schema": "moltfleet.error/1", "error": error_document(BUSY)},
)


def paths(value: object, at: str = "") -> Iterator[str]:
    """Every field of a document, as docs/json.md writes it."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths(inner, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for inner in value:
            yield from paths(inner, f"{at}[]")
    else:
        yield at


def documented() -> dict[str, set[str]]:
    """Field paths per schema, with references to other schemas' lists followed."""
    text = (Path(__file__).parents[3] / "docs/json.md").read_text()
    sections = dict(re.findall(r"^## (moltfleet\.\S+/1)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    return {schema: set(fields_of(schema, sections)) for schema in sections}


def fields_of(schema: str, sections: dict[str, str]) -> Iterator[str]:
    for field, meaning in re.findall(r"^\| `([^`]+)` \| (.*) \|$", sections[schema], re.MULTILINE):
        reference = re.search(r"[Aa]s in \[(moltfleet\.\S+/1)\]", meaning)
        if reference and reference[1] != "moltfleet.error/1":
            # A reference stands for a whole list or object, so its own row has no field of its own.
            for other in (found for found in fields_of(reference[1], sections) if found.startswith(field)):
                yield other.replace("goldens[]", "golden") if field == "golden" else other
        else:
            yield field


@pytest.mark.parametrize("document", EMITTED, ids=lambda document: document["schema"])
def test_every_field_is_documented_and_every_documented_field_is_written(document: dict[str, object]) -> None:
    schema = str(document["schema"])
    written = set(paths({key: value for key, value in document.items() if key != "schema"}))
    # A null stands for what the other elements show in full.
    expected = documented()[schema]
    assert written <= expected | {"clones[].ssh", "clones[].forced", "clones[].hold", "clones[].logins"}
    assert expected <= written


def test_the_documentation_knows_no_schema_that_is_not_written() -> None:
    assert set(documented()) == {document["schema"] for document in EMITTED}


def test_documents_cannot_reach_a_terminal_raw() -> None:
    assert "\x1b" not in json.dumps(documents.goldens_document(GOLDENS))
