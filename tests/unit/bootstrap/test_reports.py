"""bootstrap/verify.py and failures.py: what they make of a guest's files."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")

STATUS = {
    "v1": {
        "datasource": None,
        "stage": "modules-final",
        "init": {"errors": [], "start": 1.0},
        "modules-final": {"errors": ["('package-update-upgrade-install', ProcessExecutionError())"], "start": 2.0},
    }
}
OUTPUT = "Reading package lists...\nE: Unable to locate package nosuch\nE: Unable to locate package nosuch\nthe end\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    write(tmp_path, "proc/meminfo", "MemTotal: 1000000 kB\nMemFree: 1 kB\nMemAvailable: 750000 kB\n")
    write(tmp_path, "etc/os-release", 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12"\n')
    write(tmp_path, "usr/bin/git", "#!/bin/sh\n").chmod(0o755)
    write(tmp_path, "usr/bin/not-executable", "")
    return tmp_path


def write(root: Path, name: str, text: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def run(program: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    argv = ["/usr/bin/python3", "-I", str(program), *arguments]
    done = subprocess.run(argv, capture_output=True, text=True)
    return done.returncode, json.loads(done.stdout)


def test_a_guest_that_has_everything_passes(bootstrap: Path, tree: Path) -> None:
    status, report = run(bootstrap / "verify.py", "--root", str(tree), "git")

    assert status == 0
    assert (report["missing_commands"], report["failed_steps"]) == ([], [])
    assert (report["total_kib"], report["idle_kib"]) == (1000000, 250000)
    assert report["os"] == {"id": "debian", "version_id": "12", "pretty_name": "Debian GNU/Linux 12"}


def test_missing_commands_are_named(bootstrap: Path, tree: Path) -> None:
    status, report = run(bootstrap / "verify.py", "--root", str(tree), "git", "absent", "not-executable")

    assert (status, report["missing_commands"]) == (1, ["absent", "not-executable"])


def test_a_failed_step_fails_the_verification(bootstrap: Path, tree: Path) -> None:
    lines = ['{"step":"a","exit":1}', '{"step":"b","exit":3}', '{"step":"a","exit":0}']
    write(tree, "var/log/moltfleet/steps.log", "\n".join(lines) + "\n")

    status, report = run(bootstrap / "verify.py", "--root", str(tree), "git")

    assert (status, report["failed_steps"]) == (1, ["b"])


def test_packages_of_npm_are_listed_with_their_versions(bootstrap: Path, tree: Path) -> None:
    modules = "usr/local/lib/node_modules"
    write(tree, f"{modules}/@openai/codex/package.json", '{"name": "@openai/codex", "version": "1.2.3"}')
    write(tree, f"{modules}/npm/package.json", '{"name": "npm", "version": "10.0.0"}')

    _, report = run(bootstrap / "verify.py", "--root", str(tree))

    assert report["npm_packages"] == {"@openai/codex": "1.2.3", "npm": "10.0.0"}


@pytest.mark.parametrize("arguments", [("--root",), ("--settle", "soon")])
def test_a_verification_that_makes_no_sense_is_refused(bootstrap: Path, arguments: tuple[str, ...]) -> None:
    argv = ["/usr/bin/python3", "-I", str(bootstrap / "verify.py"), *arguments]

    assert subprocess.run(argv, capture_output=True).returncode == 2


def test_every_kind_of_failure_is_collected(bootstrap: Path, tree: Path) -> None:
    write(tree, "run/cloud-init/status.json", json.dumps(STATUS))
    write(tree, "var/log/cloud-init-output.log", OUTPUT)
    step = {"step": "claude-code", "exit": 1, "seconds": 4, "said": "npm ERR! network"}
    write(tree, "var/log/moltfleet/steps.log", '{"step":"fd","exit":0}\nnonsense\n' + json.dumps(step) + "\n")

    _, report = run(bootstrap / "failures.py", "--root", str(tree))

    assert report == {
        "schema": "moltfleet.failures/1",
        "steps": [step],
        "cloud_init": ["modules-final: ('package-update-upgrade-install', ProcessExecutionError())"],
        "packages": ["E: Unable to locate package nosuch"],
        "tail": OUTPUT.splitlines(),
    }


def test_a_guest_without_logs_has_no_failures(bootstrap: Path, tree: Path) -> None:
    _, report = run(bootstrap / "failures.py", "--root", str(tree))

    assert (report["steps"], report["cloud_init"], report["packages"], report["tail"]) == ([], [], [], [])


def test_long_output_is_cut(bootstrap: Path, tree: Path) -> None:
    write(tree, "var/log/cloud-init-output.log", ("x" * 10_000 + "\n") * 200)

    _, report = run(bootstrap / "failures.py", "--root", str(tree))

    tail = report["tail"]
    assert isinstance(tail, list)
    assert len(tail) == 40
    assert max(map(len, tail)) == 500
