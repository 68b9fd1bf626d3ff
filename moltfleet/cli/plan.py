"""`moltfleet plan`: how many clones fit, and whether one more may start now; changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from moltfleet.cli.command import FleetCommand, parse_size, size_option
from moltfleet.cli.completing import complete_goldens
from moltfleet.cli.invocation import Invocation, pass_invocation

if TYPE_CHECKING:
    from moltfleet.model.size import Size
    from moltfleet.operations.plan import PlanRequest

_MOST_CLONES = 100_000
_MOST_SIZES = 50


def _parse_sizes(value: str | tuple[Size, ...]) -> tuple[Size, ...]:
    """Read sizes with commas between them, each once."""
    if isinstance(value, tuple):
        return value
    words = value.split(",")
    if len(words) > _MOST_SIZES:
        raise click.BadParameter(f"more than {_MOST_SIZES} sizes")
    return tuple(dict.fromkeys(parse_size(word) for word in words))


def _sizes_option(name: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(name, type=_parse_sizes, metavar="SIZE[,SIZE]...", default=(), help=help)


@click.command(
    "plan",
    cls=FleetCommand,
    example="moltfleet plan\n"
    "moltfleet plan --host-memory 64G --host-cpus 8 --memory 12G\n"
    "moltfleet plan --hosts 32G,64G,128G --memory 12G,16G\n"
    "moltfleet plan --golden base --fit 5",
)
@size_option("--host-memory", "Memory of a host to think of; libvirt is not asked then.")
@click.option("--host-cpus", "cpus", type=click.IntRange(1, 8192), metavar="N", help="CPUs of the host.")
@_sizes_option("--memory", "Memory of a clone; several give a matrix.  [default: the golden's or the config's]")
@click.option("--vcpus", type=click.IntRange(1, 512), metavar="N", help="Virtual CPUs of a clone, likewise.")
@_sizes_option("--hosts", "Hosts to compare, by their memory; several give a matrix.")
@click.option("--mix", metavar="NxSIZE[+NxSIZE]...", help="Clones of several sizes, such as 2x16G+4x8G.")
@click.option(
    "--workload",
    type=click.Choice(["light", "standard", "heavy", "browser"]),
    help="What clones do, instead of --vcpus: 2, 4, 8 or 4 of them.",
)
@click.option(
    "--golden", metavar="NAME", shell_complete=complete_goldens, help="Golden whose sizes count, on the disk too."
)
@click.option(
    "--fit",
    type=click.IntRange(1, _MOST_CLONES),
    metavar="N",
    help="Say what would have to give so that N clones fit.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json", "csv", "markdown"]),
    default="table",
    show_default=True,
    help="How to write the answer; memory is in MiB in json and csv.",
)
@pass_invocation
def plan_command(invocation: Invocation, /, *, form: str, **options: Any) -> None:
    """Tell how many clones fit on a host, and whether one more may start now.

    What the reserve leaves is divided by a clone's memory: so many clones are possible, and one less is safe, as its
    room is there for a leak. With --host-memory or --hosts the host is only thought of; else it is the one that clones
    run on, and each rule by which a start is admitted is shown with its arithmetic. Nothing is changed.
    """
    from moltfleet.cli.plan_document import plan_document
    from moltfleet.cli.plan_text import plan_csv, plan_markdown, plan_text
    from moltfleet.operations.plan import plan

    invocation.json = invocation.json or form == "json"
    found = plan(invocation.config, _request(**options), lambda: invocation.fleet)
    texts = {"table": plan_text, "csv": plan_csv, "markdown": plan_markdown}
    text = "" if invocation.json else texts[form](found)
    invocation.show(plan_document(found), text)


def _request(  # noqa: PLR0913 - the options of the command
    *,
    host_memory: Size | None,
    cpus: int | None,
    memory: tuple[Size, ...],
    vcpus: int | None,
    hosts: tuple[Size, ...],
    mix: str | None,
    workload: str | None,
    golden: str | None,
    fit: int | None,
) -> PlanRequest:
    from moltfleet.model.mix import parse_mix
    from moltfleet.model.plan import Workload
    from moltfleet.operations.plan import PlanRequest

    if host_memory and hosts:
        raise click.UsageError("--host-memory and --hosts exclude each other")
    if fit and (len(hosts) > 1 or len(memory) > 1):
        raise click.UsageError("--fit is about one host and one size of clone")
    return PlanRequest(
        hosts=(host_memory,) if host_memory else hosts,
        hosts_origin="--host-memory" if host_memory else "--hosts",
        cpus=cpus,
        memories=memory,
        vcpus=vcpus,
        workload=Workload(workload) if workload else None,
        mix=None if mix is None else parse_mix(mix),
        golden=golden,
        fit=fit,
    )
