"""This guest's memory, settings and limits, looked at once; and the program that shows them."""

from __future__ import annotations

import sys
from dataclasses import asdict, dataclass

from moltguest import settings as configuration
from moltguest.limits import MIB, Limits, derive
from moltguest.settings import Settings

USAGE = "usage: moltfleet-limits [--json | --shell] [--root DIR] [--total-mib MIB]"


@dataclass(frozen=True, slots=True)
class Guest:
    """What this guest is. ``problems`` are lines about its configuration file, for whoever asked."""

    limits: Limits
    settings: Settings
    problems: tuple[str, ...]


def look(root: str = "/") -> Guest:
    """Return this guest's limits. Raises: OSError or ValueError when its memory cannot be read."""
    settings, problems = configuration.read(root)
    return Guest(derive(memory_total(root), settings), settings, problems)


def memory_total(root: str = "/") -> int:
    """Return MemTotal in bytes. Raises: OSError, or ValueError when /proc/meminfo says none."""
    with open(root.rstrip("/") + "/proc/meminfo", "rb") as file:
        for line in file:
            if line.startswith(b"MemTotal:"):
                return int(line.split()[1]) << 10
    raise ValueError("/proc/meminfo says nothing of MemTotal")


def document(limits: Limits) -> dict[str, object]:
    """Return the limits as a JSON document; every amount is bytes."""
    return {"schema": "moltfleet.limits/1", **asdict(limits)}


def assignments(limits: Limits) -> str:
    """Return the limits as shell assignments, NAME=BYTES or NAME=NUMBER, for templates to be filled from."""
    values: dict[str, int] = {}
    for name, value in asdict(limits).items():
        if isinstance(value, dict):
            values.update({f"{name}_{part}": number for part, number in value.items()})
        elif isinstance(value, int):
            values[name] = int(value)
    return "".join(f"{name.upper()}={value}\n" for name, value in values.items())


def table(limits: Limits) -> str:
    """Return the limits for a person, in MiB."""
    groups = (("an agent's scope", limits.scope), ("all agents", limits.agents), ("outside a scope", limits.outside))
    lines = [f"{'MiB':<18}{'warn':>8}{'end':>8}{'slow':>8}{'most':>8}"]
    for name, levels in groups:
        figures = (levels.warn, levels.term, levels.high, levels.max)
        lines.append(f"{name:<18}" + "".join(f"{figure // MIB:>8}" for figure in figures))
    reserve, containers = limits.reserve // MIB, limits.docker_max // MIB
    lines += [
        f"memory {limits.total // MIB}, kept from agents {reserve}, containers {containers}",
        f"/dev/shm {limits.shm.size // MIB}, /tmp {limits.tmp.size // MIB} where it is in memory",
        *limits.notes,
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str]) -> int:
    """Show the limits of this guest, or of one with ``--total-mib``. Returns 2 when the command line is no good."""
    form, root, total_mib, rest = "", "/", 0, list(arguments)
    while rest:
        word = rest.pop(0)
        if word in ("--json", "--shell"):
            form = word
        elif word == "--root" and rest:
            root = rest.pop(0)
        elif word == "--total-mib" and rest and rest[0].isdigit():
            total_mib = int(rest.pop(0))
        else:
            sys.stderr.write(USAGE + "\n")
            return 2
    try:
        settings, problems = configuration.read(root)
        limits = derive(total_mib * MIB or memory_total(root), settings)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"moltfleet-limits: {error}\n")
        return 1
    sys.stderr.write("".join(f"{problem}\n" for problem in problems))
    sys.stdout.write(_written(limits, form))
    return 0


def _written(limits: Limits, form: str) -> str:
    if form == "--json":
        import json

        return json.dumps(document(limits)) + "\n"
    return assignments(limits) if form == "--shell" else table(limits)
