"""Help: every command's text word for word, what each must have, and what it may cost."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import click
import pytest

from moltfleet.cli.app import app
from moltfleet.cli.command import FleetCommand

HEAVY = (
    "libvirt", "paramiko", "pydantic", "rich", "httpx", "yaml", "tabulate", "psutil", "pycdlib", "cryptography",
    "matplotlib", "numpy", "prometheus_client",
)  # fmt: skip
CPU_SECONDS = 0.2


def commands(
    command: click.Command = app, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, (*path, name))


ALL = dict(commands())
LEAVES = {path: command for path, command in ALL.items() if not isinstance(command, click.Group)}


@pytest.mark.parametrize("path", ALL, ids=lambda path: "-".join(path) or "moltfleet")
def test_help_reads_as_it_was_agreed(
    run: Callable[..., object], golden: Callable[[str, str], None], path: tuple[str, ...]
) -> None:
    outcome = run(*path, "--help")
    assert (outcome.exit_code, outcome.stderr) == (0, "")
    golden(f"help/{'-'.join(('moltfleet', *path))}.txt", outcome.stdout)


@pytest.mark.parametrize(
    "path", [path for path in ALL if path not in LEAVES], ids=lambda path: "-".join(path) or "root"
)
def test_a_group_alone_shows_its_help(run: Callable[..., object], path: tuple[str, ...]) -> None:
    assert run(*path) == run(*path, "--help")


@pytest.mark.parametrize("path", LEAVES, ids="-".join)
def test_every_command_has_a_one_sentence_summary_and_an_example(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    assert isinstance(command, FleetCommand)
    summary = (command.help or "").split("\n\n")[0].replace("\n", " ")
    assert summary.endswith(".")
    assert ". " not in summary
    assert len(summary) <= 90
    for line in command.example.splitlines():
        assert line.startswith(f"moltfleet {' '.join(path)}")


@pytest.mark.parametrize("path", LEAVES, ids="-".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    silent = [
        p.name
        for p in LEAVES[path].params
        if isinstance(p, click.Option) and not (p.help or "").strip().endswith((".", "]", ")"))
    ]
    assert silent == []


@pytest.mark.parametrize("path", LEAVES, ids="-".join)
def test_shared_options_are_accepted_after_every_command(run: Callable[..., object], path: tuple[str, ...]) -> None:
    shared = ["--json", "-v", "-q", "--yes", "--dry-run"]
    assert run(*path, *shared, "--help").exit_code == 0
    assert run(*shared, *path, "--help").exit_code == 0


PROBE = f"""
import resource, sys
sys.argv = ["moltfleet", "--help"]
from moltfleet.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code
loaded = [name for name in {HEAVY!r} if name in sys.modules]
usage = resource.getrusage(resource.RUSAGE_SELF)
print(usage.ru_utime + usage.ru_stime, *loaded, file=sys.stderr)
"""


def cost_of_help() -> tuple[float, list[str]]:
    ended = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, timeout=60)
    seconds, *loaded = ended.stderr.split()
    return float(seconds), loaded


@pytest.mark.allow("subprocess")
def test_help_is_cheap_and_imports_no_heavy_library() -> None:
    costs = []
    # The least of some: the others were disturbed by what else the machine does.
    while len(costs) < 12 and min(costs, default=1.0) > CPU_SECONDS:
        seconds, heavy = cost_of_help()
        assert heavy == []
        costs.append(seconds)
    assert min(costs) <= CPU_SECONDS, costs
