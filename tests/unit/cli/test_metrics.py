"""`moltfleet metrics`: exit codes and output."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from fakes import World, a_world
from moltfleet.model.errors import HostUnavailable

from .conftest import Outcome, Run


@pytest.fixture
def world() -> World:
    return a_world(clones=("crab-1",))


@pytest.fixture
def do(run: Run, world: World) -> Callable[..., Outcome]:
    # Of a host elsewhere, so that nobody asks the journal of this one.
    return lambda *words: run(
        "-c", "qemu+ssh://host/system", "metrics", "--no-ask", *words, build_fleet=lambda *_: world.fleet
    )


@pytest.fixture
def break_libvirt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> object:
        raise HostUnavailable("libvirt is not running at test:///fake", hint="Start it.")

    monkeypatch.setattr(type(world.hypervisor), "domains", fail)


def test_metrics_are_text_for_prometheus(do: Callable[..., Outcome]) -> None:
    outcome = do()
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    assert "# TYPE moltfleet_clone_molts_total counter\n" in outcome.stdout
    assert 'moltfleet_clone_running{clone="crab-1"} 1.0\n' in outcome.stdout


def test_the_file_is_written_and_nothing_else_is_said(do: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "moltfleet.prom"
    outcome = do("--textfile", str(path))
    assert outcome == Outcome(0, "", "")
    assert path.read_text() == do().stdout


def test_the_document_needs_no_client(do: Callable[..., Outcome]) -> None:
    document = json.loads(do("--json").stdout)
    assert document["schema"] == "moltfleet.metrics/1"
    (family,) = [metric for metric in document["metrics"] if metric["name"] == "moltfleet_clone_running"]
    assert family["samples"] == [{"labels": [{"name": "clone", "value": "crab-1"}], "value": 1.0}]


@pytest.mark.parametrize(("name", "code"), [("moltfleet.txt", 2), ("nowhere/moltfleet.prom", 3)])
def test_a_file_that_nobody_would_read_is_refused(
    do: Callable[..., Outcome], tmp_path: Path, name: str, code: int
) -> None:
    outcome = do("--textfile", str(tmp_path / name))
    assert (outcome.exit_code, outcome.stdout) == (code, "")
    assert "Hint: " in outcome.stderr


@pytest.mark.usefixtures("break_libvirt")
def test_without_libvirt_the_file_says_that_and_the_command_fails(do: Callable[..., Outcome], tmp_path: Path) -> None:
    path = tmp_path / "moltfleet.prom"
    outcome = do("--textfile", str(path))
    assert outcome.exit_code == 7
    assert "moltfleet_up 0.0\n" in path.read_text()
    assert "moltfleet_clone" not in path.read_text()


def test_a_program_without_the_extra_says_what_to_install(
    do: Callable[..., Outcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prometheus_client", None)
    outcome = do()
    assert outcome.exit_code == 7
    assert "pip install 'moltfleet[metrics]'" in outcome.stderr
