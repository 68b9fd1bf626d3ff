"""bootstrap/step: named steps, and the verdict over them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.allow("subprocess")


@pytest.fixture(params=["dash", "busybox sh"])
def shell(request: pytest.FixtureRequest) -> list[str]:
    return str(request.param).split()


def step(shell: list[str], bootstrap: Path, logs: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "MOLTFLEET_LOG_DIR": str(logs)}
    argv = [*shell, str(bootstrap / "step"), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, env=environment)


def read_log(logs: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (logs / "steps.log").read_text().splitlines()]


def test_a_step_that_succeeds_is_written_down(shell: list[str], bootstrap: Path, tmp_path: Path) -> None:
    done = step(shell, bootstrap, tmp_path, "greet", "echo", "hello")

    assert (done.returncode, done.stdout, done.stderr) == (0, "hello\n", "")
    assert read_log(tmp_path) == [{"step": "greet", "exit": 0, "seconds": 0, "said": "hello"}]


def test_a_step_that_fails_is_named_with_its_last_words(shell: list[str], bootstrap: Path, tmp_path: Path) -> None:
    done = step(
        shell, bootstrap, tmp_path, "install", "sh", "-c", "echo one; echo 'E: no \"x\" \\ \t here' >&2; exit 100"
    )

    assert done.returncode == 100
    assert done.stderr == "step install failed with 100\n"
    assert read_log(tmp_path)[0]["said"] == "E: no x   here"
    assert (tmp_path / "steps/install.log").read_text().startswith("one\n")


def test_a_command_that_does_not_exist_is_a_failed_step(shell: list[str], bootstrap: Path, tmp_path: Path) -> None:
    assert step(shell, bootstrap, tmp_path, "absent", "/no/such/program").returncode == 127
    assert read_log(tmp_path)[0]["exit"] == 127


def test_the_verdict_names_every_failed_step_in_order_with_its_last_words(
    shell: list[str], bootstrap: Path, tmp_path: Path
) -> None:
    step(shell, bootstrap, tmp_path, "good", "true")
    step(shell, bootstrap, tmp_path, "bad", "sh", "-c", 'echo "\\"exit\\":0,"; exit 3')
    step(shell, bootstrap, tmp_path, "also-bad", "false")

    done = step(shell, bootstrap, tmp_path, "--verdict")

    assert done.returncode == 1
    assert done.stderr.splitlines() == ["step bad failed with 3: exit:0,", "step also-bad failed with 1: "]


def test_the_verdict_takes_the_last_run_of_a_step(shell: list[str], bootstrap: Path, tmp_path: Path) -> None:
    step(shell, bootstrap, tmp_path, "flaky", "false")
    step(shell, bootstrap, tmp_path, "flaky", "true")

    assert step(shell, bootstrap, tmp_path, "--verdict").returncode == 0


def test_a_verdict_without_any_step_is_a_failure(shell: list[str], bootstrap: Path, tmp_path: Path) -> None:
    assert step(shell, bootstrap, tmp_path, "--verdict").returncode == 2


@pytest.mark.parametrize("arguments", [(), ("--what",), ("name",), ("Two words", "true"), ("../up", "true")])
def test_a_call_that_makes_no_sense_is_refused(
    shell: list[str], bootstrap: Path, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    assert step(shell, bootstrap, tmp_path, *arguments).returncode == 2
    assert not (tmp_path / "steps.log").exists()


def test_the_guest_gets_the_same_text_by_cloud_init(bootstrap: Path) -> None:
    fragment = yaml.safe_load((bootstrap.parent / "cloud-init/fragments/00-steps.yaml").read_text())

    written = {entry["path"]: entry["content"] for entry in fragment["write_files"]}

    assert written["/usr/local/lib/moltfleet/step"] == (bootstrap / "step").read_text()
