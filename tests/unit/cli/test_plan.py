"""`moltfleet plan` from the outside: the answers, what they are written as, and what is refused."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fakes import a_calm_host
from moltfleet.model.size import Size

Do = Callable[..., Any]
Golden = Callable[[str, str], None]
STATIC = ("plan", "--host-memory", "64G", "--host-cpus", "8", "--memory", "12G")


def document(outcome: Any) -> dict[str, Any]:
    assert outcome.exit_code == 0 and outcome.stderr == ""
    found: dict[str, Any] = json.loads(outcome.stdout)
    return found


def test_a_host_that_is_thought_of_needs_no_libvirt(run: Do, golden: Golden) -> None:
    outcome = run(*STATIC)
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    golden("tables/plan-static.txt", outcome.stdout)


@pytest.mark.allow("subprocess")
def test_without_the_libvirt_binding_a_host_can_still_be_thought_of() -> None:
    program = (
        "import sys; sys.modules['libvirt'] = None\n"
        "from moltfleet.cli.app import app\n"
        "app(['plan', '--host-memory', '64G', '--memory', '12G', '--json'])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert json.loads(done.stdout)["safe_clones"] == 3


def test_hosts_and_sizes_make_a_matrix(run: Do, golden: Golden) -> None:
    outcome = run("plan", "--hosts", "8G,32G,64G,128G", "--memory", "12G,16G", "--mix", "2x16G+4x8G")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    golden("tables/plan-matrix.txt", outcome.stdout)


def test_what_would_have_to_give_is_told(run: Do, golden: Golden) -> None:
    outcome = run(*STATIC, "--fit", "5", "--mix", "3x12G+2x4G")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    golden("tables/plan-fit.txt", outcome.stdout)


def test_a_host_that_is_there_is_measured(do: Do, golden: Golden) -> None:
    outcome = do("plan", "--golden", "base", "--memory", "8G")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    golden("tables/plan-live.txt", outcome.stdout)


def test_on_a_host_that_is_full_not_even_the_smallest_could_start(do: Do, fleet: Any) -> None:
    fleet.meter.load = replace(a_calm_host(), available=Size.of_gib(1))
    assert re.search(r"could start now +0 +the four rules; largest single one: none\n", do("plan").stdout)


def test_a_document_can_be_markdown(do: Do, golden: Golden) -> None:
    outcome = do("plan", "--golden", "base", "--format", "markdown")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    golden("tables/plan.md", outcome.stdout)


def test_a_matrix_can_be_markdown(run: Do) -> None:
    lines = run("plan", "--hosts", "32G,64G", "--memory", "12G", "--format", "markdown").stdout.splitlines()
    assert [line.split("|")[1].strip() for line in lines[2:6]] == ["HOST", "--------", "32 GiB", "64 GiB"]


def test_a_spreadsheet_gets_numbers(run: Do) -> None:
    rows = list(csv.DictReader(io.StringIO(run(*STATIC, "--fit", "9", "--format", "csv").stdout)))
    found = {row["quantity"]: (row["value"], row["unit"]) for row in rows}
    assert found["host_memory"] == ("65536", "MiB")
    assert (found["max_clones"], found["safe_clones"], found["vcpu_ratio"]) == (("4", ""), ("3", ""), ("2.0", ""))
    assert found["fit_reserve_safe"] == ("", "MiB")
    assert all(row["origin"] for row in rows)


def test_a_spreadsheet_of_a_matrix_has_a_line_for_each_pair(run: Do) -> None:
    text = run("plan", "--hosts", "32G,64G", "--memory", "12G,16G", "--format", "csv").stdout
    assert text.splitlines() == [
        "host_mib,clone_mib,max_clones,safe_clones",
        "32768,12288,1,0",
        "32768,16384,1,0",
        "65536,12288,4,3",
        "65536,16384,3,2",
    ]


def test_the_document_is_the_agreed_one(run: Do) -> None:
    found = document(run("--json", *STATIC))
    agreed = ("schema", "host", "clone", "max_clones", "safe_clones", "vcpu_ratio", "notes", "now")
    assert {key: found[key] for key in agreed} == {
        "schema": "moltfleet.plan/1",
        "host": {"memory_mib": 65536, "reserve_mib": 10240, "available_mib": 55296, "cpus": 8},
        "clone": {"memory_mib": 12288, "vcpus": 4},
        "max_clones": 4,
        "safe_clones": 3,
        "vcpu_ratio": 2.0,
        "notes": [],
        "now": None,
    }


def test_the_format_json_is_the_option_json(run: Do) -> None:
    assert run(*STATIC, "--format", "json") == run(*STATIC, "--json")


def test_every_rule_stands_in_the_document(do: Do) -> None:
    now = document(do("plan", "--json"))["now"]
    assert (now["admit"], now["clones"], now["largest_mib"]) == (True, 1, now["largest_mib"])
    assert [(rule["rule"], rule["passed"]) for rule in now["rules"]] == [
        ("committed", True), ("live", True), ("pressure", True), ("disk", True),
    ]  # fmt: skip
    assert "3 active domains 33.75 GiB" in now["rules"][0]["detail"]


def test_a_host_without_pressure_figures_is_told_so(do: Do, fleet: Any) -> None:
    fleet.meter.load = replace(a_calm_host(), pressure=None, pressure_origin="the kernel has no PSI")
    found = document(do("plan", "--json"))["now"]
    assert found["admit"] is True
    assert (found["rules"][2]["measured"], found["rules"][2]["passed"]) == (False, True)
    assert found["rules"][2]["detail"].startswith("memory pressure not measured: the kernel has no PSI; 0 OOM kills")
    assert "pressure   ?" in do("plan").stdout


def test_a_plan_changes_nothing(do: Do, fleet: Any) -> None:
    before = (dict(fleet.hypervisor.known), dict(fleet.storage.known))
    do("plan", "--golden", "base")
    assert (fleet.hypervisor.known, fleet.storage.known) == before
    assert (fleet.locks.held, fleet.meter.remembered) == ([], 0)


@pytest.mark.parametrize(
    ("words", "vcpus"),
    [((), 4), (("--workload", "light"), 2), (("--workload", "heavy"), 8), (("--vcpus", "3"), 3)],
)
def test_the_workload_or_the_option_decides_the_vcpus(run: Do, words: tuple[str, ...], vcpus: int) -> None:
    found = document(run("plan", "--host-memory", "64G", "--json", *words))
    assert found["clone"]["vcpus"] == vcpus


@pytest.mark.parametrize(
    ("words", "brief", "hint"),
    [
        (("--host-memory", "64"), "Host memory of 64 MiB is too little", "A bare number is MiB: 64G means GiB."),
        (("--hosts", "32G,64"), "Host memory of 64 MiB is too little", "64G means GiB"),
        (("--memory", "12"), "Memory of 12 MiB is too little for a guest", "12G means GiB"),
        (("--memory", "0.001K"), "Memory of 1 B is too little for a guest", "Example: 12G"),
        (("--host-memory", "0"), "Size '0' is not a usable amount", "plan --help"),
        (("--host-memory", "-64G"), "Size '-64G' is not a number", "plan --help"),
        (("--host-memory", "9999T"), "Size '9999T' is not a usable amount", "plan --help"),
        (("--memory", "12G,,16G"), "Size '' is not a number", "plan --help"),
        (("--memory", ",".join(["12G"] * 51)), "more than 50 sizes", "plan --help"),
        (("--vcpus", "0"), "0 is not in the range 1<=x<=512", "plan --help"),
        (("--host-cpus", "1.5"), "'1.5' is not a valid integer", "plan --help"),
        (("--fit", "0"), "0 is not in the range", "plan --help"),
        (("--fit", "99999999999999999999"), "is not in the range 1<=x<=100000", "plan --help"),
        (("--fit", "3", "--hosts", "32G,64G"), "--fit is about one host and one size of clone", "plan --help"),
        (("--hosts", "32G", "--host-memory", "64G"), "--host-memory and --hosts exclude each other", "plan --help"),
        (("--vcpus", "2", "--workload", "light"), "The workload decides the vCPUs", "Give one of the two."),
        (
            ("--mix", "2x16G+4y8G"),
            "'y' where an x, a unit, a + or the end was expected, at character 8",
            "Example: 2x16G",
        ),
        (("--mix", "0x16G"), "no clone at all, at character 1", "Example: 2x16G"),
    ],
)
def test_what_cannot_be_answered_is_one_line_and_a_hint(run: Do, words: tuple[str, ...], brief: str, hint: str) -> None:
    base = () if "--host-memory" in words or "--hosts" in words else ("--host-memory", "64G")
    outcome = run("plan", *base, *words)
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    *above, said, hinted = outcome.stderr.splitlines()
    assert said.startswith("Error: ") and brief in said
    assert hinted.startswith("Hint: ") and hint in hinted
    assert len(above) == (2 if words[0] == "--mix" else 0)


def test_the_character_of_a_mix_is_pointed_at(run: Do) -> None:
    outcome = run("plan", "--host-memory", "64G", "--mix", "2x16G+4y8G")
    assert outcome.stderr.splitlines()[:2] == ["  | 2x16G+4y8G", "  |        ^"]


def test_an_unknown_golden_is_not_found(do: Do) -> None:
    outcome = do("plan", "--golden", "bass")
    assert outcome.exit_code == 3
    assert "bass" in outcome.stderr


def test_a_host_below_its_reserve_carries_nothing_and_says_why(run: Do) -> None:
    outcome = run("plan", "--host-memory", "8G")
    assert outcome.exit_code == 0
    assert "none fits" in outcome.stdout
    assert "8 GiB of host are no more than the reserve of 10 GiB: nothing is left for clones" in outcome.stdout


def test_one_clone_on_32_gib_is_at_your_own_risk(run: Do) -> None:
    outcome = run("plan", "--host-memory", "32G", "--memory", "16G")
    assert outcome.stdout.startswith("Clones of 16 GiB: 0 safe, 1 possible at your own risk.")
    assert "Note: 0 safe, 1 possible at your own risk" in outcome.stdout
