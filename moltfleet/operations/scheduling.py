"""The bundle of ports that a schedule is put down with, what is asked for, and what is there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.errors import HostUnavailable

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.machine import Machine
    from moltfleet.model.ports import Clock, Progress
    from moltfleet.model.schedule import Accounts, At, Every, Job, Kind

# Its members may use libvirt.
GROUP = "libvirt"


@dataclass(frozen=True, slots=True)
class Scheduling:
    """This machine, its users, and the program that is to be run there.

    ``program`` are the words before a command's name; ``parts`` are the paths that the program consists of.
    """

    config: Config
    machine: Machine
    accounts: Accounts
    clock: Clock
    progress: Progress
    program: tuple[str, ...]
    parts: tuple[str, ...]
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ScheduleRequest:
    """What a user asks for. ``kind`` None is what fits this machine; ``linger`` lets a user's timers outlive a logout.

    ``run_as`` is for the system's systemd: who the program runs as.
    """

    at: At
    survey_every: Every
    kind: Kind | None = None
    textfile: str | None = None
    run_as: str | None = None
    linger: bool = False


@dataclass(frozen=True, slots=True)
class Scheduled:
    """What is there. ``lingering`` is None unless it is a user's own systemd; ``notes`` are what stands in its way."""

    jobs: tuple[Job, ...]
    lingering: bool | None = None
    notes: tuple[str, ...] = ()


def require_root(scheduling: Scheduling) -> None:
    """Refuse to begin what would fail halfway. Raises: HostUnavailable."""
    if not scheduling.machine.is_root():
        raise HostUnavailable(
            "Only root can change the system's timers", hint="Run it with sudo, or use your own: --user."
        )
