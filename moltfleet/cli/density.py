"""`moltfleet density`: how many agents one clone of a golden carries, tried step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import FleetCommand, size_option
from moltfleet.cli.completing import complete_goldens
from moltfleet.cli.density_text import density_document, density_text
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.density import STEPS, AgentLoad
from moltfleet.model.errors import ExitCode
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.size import Size

_MOST_AGENTS = 500
_LOAD = AgentLoad()


def _steps(_: click.Context, __: click.Parameter, value: str | None) -> tuple[int, ...]:
    if value is None:
        return STEPS
    words = value.split(",")
    if not all(word.strip().isdecimal() and word.strip().isascii() for word in words):
        raise click.BadParameter(f"{printable(value)!r} is no list of numbers such as 4,5,10.")
    steps = tuple(int(word.strip()[:6]) for word in words)
    if steps[0] < 1 or steps[-1] > _MOST_AGENTS or list(steps) != sorted(set(steps)):
        raise click.BadParameter(f"the numbers are to rise, from 1 to {_MOST_AGENTS} at most.")
    return steps


@click.command(
    "density",
    cls=FleetCommand,
    changes=True,
    example="moltfleet density base\nmoltfleet density base --memory 8G --agents 2,4,8 --agent-memory 300M",
)
@click.argument("golden", shell_complete=complete_goldens)
@click.option("--agents", "steps", metavar="N,N...", callback=_steps, help="The steps.  [default: 4,5,10,15,20]")
@size_option("--agent-memory", "Memory that each agent takes.  [default: 500M]")
@size_option("--agent-shm", "What each puts into /dev/shm.  [default: 64M]")
@size_option("--agent-disk", "What each writes to the disk.  [default: 100M]")
@click.option(
    "--agent-processes",
    type=click.IntRange(1, 1000),
    default=_LOAD.processes,
    show_default=True,
    metavar="N",
    help="Processes that each has.",
)
@click.option(
    "--hold",
    "hold_s",
    type=click.FloatRange(1, 3600),
    default=20.0,
    show_default=True,
    metavar="SECONDS",
    help="How long all of a step work together.",
)
@size_option("--memory", "Memory of the clone.  [default: the golden's]")
@click.option("--vcpus", type=click.IntRange(1, 512), metavar="N", help="Its virtual CPUs.  [default: the golden's]")
@size_option("--disk", "Its disk, at least the golden's.  [default: the golden's]")
@admission_options
@pass_invocation
def density_command(invocation: Invocation, /, *, golden: str, **options: Any) -> None:
    """Try how many agents one clone carries: 4, 5, 10, 15 and 20 simulated ones at once.

    A clone is made for it, admitted like any other, and deleted afterwards. In each step all agents start at the same
    moment, each in a scope of its own, and take memory, shared memory, disk and processes. The first step at which
    something gives way ends the test, and says what it was. Exits with 1 unless every criterion passed.
    """
    from moltfleet.operations.density import DensityRequest, measure, plan_density

    request = DensityRequest(golden=golden, load=_load(options), **options)
    if invocation.dry_run:
        invocation.show_plan(plan_density(invocation.fleet, request))
        return
    density = measure(invocation.fleet, request)
    invocation.show(density_document(density), density_text(density))
    for note in density.notes:
        invocation.progress.warn(note)
    click.get_current_context().exit(int(ExitCode.OK if density.passed else ExitCode.FAILED))


def _load(options: dict[str, Any]) -> AgentLoad:
    """Take the options about one agent out."""
    sizes: dict[str, Size] = {
        name: options.pop(f"agent_{name}") or getattr(_LOAD, name) for name in ("memory", "shm", "disk")
    }
    return AgentLoad(**sizes, processes=options.pop("agent_processes"))
