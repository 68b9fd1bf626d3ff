"""`moltfleet report` from the outside: forms, files, and what is refused."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Do = Callable[..., Any]


def test_it_is_markdown_unless_told_otherwise(do: Do) -> None:
    outcome = do("report")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert outcome.stdout.startswith("# Capacity of test\n")
    assert do("report", "--format", "markdown").stdout == outcome.stdout


@pytest.mark.parametrize("how", [("report", "--json"), ("--json", "report"), ("report", "--format", "json")])
def test_it_is_json_when_asked(do: Do, how: tuple[str, ...]) -> None:
    outcome = do(*how)
    document = json.loads(outcome.stdout)
    assert (document["schema"], [clone["name"] for clone in document["clones"]]) == (
        "moltfleet.report/1", ["base-1", "base-2", "base-3"],
    )  # fmt: skip
    assert [other["name"] for other in document["others"]] == ["theirs"]


def test_it_says_what_plan_says(do: Do) -> None:
    plan, report = (json.loads(do(verb, "--json").stdout) for verb in ("plan", "report"))
    row = next(row for row in report["headroom"] if row["default"])
    assert (row["memory_mib"], row["vcpus"]) == (plan["clone"]["memory_mib"], plan["clone"]["vcpus"])
    assert (row["hosts"][0]["max_clones"], row["hosts"][0]["safe_clones"]) == (plan["max_clones"], plan["safe_clones"])
    assert (row["more_now"], report["largest_mib"]) == (plan["now"]["clones"], plan["now"]["largest_mib"])
    assert report["host"]["memory_mib"] == plan["host"]["memory_mib"] == row["hosts"][0]["memory_mib"]
    assert report["host"]["reserve_mib"] == plan["host"]["reserve_mib"]
    assert report["memory"]["limit_mib"] == plan["host"]["available_mib"]


@pytest.mark.allow("subprocess")
@pytest.mark.parametrize(
    ("name", "more", "begins"),
    [
        ("x.html", (), "<!DOCTYPE html>"),
        ("x.HTM", (), "<!DOCTYPE html>"),
        ("x.md", (), "# Capacity"),
        ("x.json", (), "{"),
        ("x", (), "# Capacity"),
        ("x.md", ("--format", "html"), "<!DOCTYPE html>"),
        ("x.html", ("--json",), "{"),
    ],
)
def test_the_files_name_decides_unless_the_form_is_named(
    do: Do, tmp_path: Path, name: str, more: tuple[str, ...], begins: str
) -> None:
    outcome = do("report", "--output", str(tmp_path / name), *more)
    assert (outcome.exit_code, outcome.stdout) == (0, "")
    assert f"The report stands in {tmp_path / name}.\n" in outcome.stderr
    assert (tmp_path / name).read_text().startswith(begins)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".x")] == []


def test_a_file_is_replaced_and_a_link_to_it_stays_one(do: Do, tmp_path: Path) -> None:
    real, link = tmp_path / "real.md", tmp_path / "link.md"
    real.write_text("old")
    link.symlink_to(real)
    assert do("report", "-q", "--output", str(link)).stderr == ""
    assert link.is_symlink()
    assert real.read_text().startswith("# Capacity")


def test_a_device_is_written_to_and_not_replaced(do: Do) -> None:
    assert do("report", "--output", "/dev/null").exit_code == 0
    assert not Path("/dev/null").is_file()


@pytest.mark.parametrize("target", ["missing/x.md", ""])
def test_a_file_that_cannot_be_written_is_said(do: Do, tmp_path: Path, target: str) -> None:
    outcome = do("report", "--output", str(tmp_path / target))
    assert (outcome.exit_code, outcome.stdout) == (2, "")
    assert f"Error: File '{tmp_path / target}' cannot be written: " in outcome.stderr.replace("/'", "'")


def test_a_full_disk_is_no_mistake_of_the_command_line(do: Do) -> None:
    if not Path("/dev/full").exists():
        pytest.fail("this machine has no /dev/full")
    outcome = do("report", "--output", "/dev/full")
    assert (outcome.exit_code, outcome.stdout) == (5, "")
    assert "File '/dev/full' cannot be written: No space left on device" in outcome.stderr


def test_json_and_another_form_exclude_each_other(run: Do) -> None:
    outcome = run("report", "--json", "--format", "html")
    assert outcome.exit_code == 2
    assert "--json and --format html exclude each other" in json.loads(outcome.stdout)["error"]["brief"]


def test_without_matplotlib_nothing_is_asked_of_libvirt(run: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    outcome = run("report", "--format", "html")
    assert (outcome.exit_code, outcome.stdout) == (7, "")
    assert outcome.stderr == (
        "Error: The charts of an HTML report need matplotlib, which is not installed\n"
        "Hint: Install the extra: pip install 'moltfleet[report]'. --format markdown needs nothing.\n"
    )


def test_markdown_needs_no_matplotlib(do: Do, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert do("report").exit_code == 0


def test_a_report_that_cannot_be_finished_leaves_the_old_one(
    do: Do, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "x.md"
    old.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(Path, "replace", fail)
    assert do("report", "--output", str(old)).exit_code == 5
    assert (old.read_text(), [path.name for path in tmp_path.iterdir() if path.name.startswith(".x")]) == ("old", [])
