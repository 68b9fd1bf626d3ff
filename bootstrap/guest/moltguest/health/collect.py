"""One look at the guest, put together; whatever cannot be seen is said, and keeps nothing else from being seen."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from moltguest import samples
from moltguest.backoff import boot_id
from moltguest.health import findings, guards, trends
from moltguest.health.agents import read_cpu, read_population
from moltguest.health.counts import read_counts
from moltguest.health.facts import Facts
from moltguest.health.kills import read_kills
from moltguest.health.memory import count_cpus, read_load, read_memory, read_pressure, read_uptime
from moltguest.health.places import Ask, read_places
from moltguest.health.programs import NoPrograms, Programs, RealPrograms
from moltguest.health.report import Health, Level
from moltguest.health.sessions import read_sessions
from moltguest.thisguest import look
from moltguest.watchdog.cgroups import Cgroups
from moltguest.watchdog.files import printable, read

VERSION = "usr/local/lib/moltfleet/version"


@dataclass(frozen=True, slots=True)
class Senses:
    """What a look is made with. ``now`` is time.monotonic's clock, ``time_of_day`` the epoch's."""

    root: str = "/"
    now: Callable[[], float] = time.monotonic
    time_of_day: Callable[[], float] = time.time
    programs: Programs | None = None
    statvfs: Ask = os.statvfs
    user: int | None = None

    @property
    def asked(self) -> Programs:
        """The programs to ask: none of them knows another root."""
        return self.programs or (RealPrograms() if self.root == "/" else NoPrograms())


def collect(senses: Senses) -> Health:
    """Return a report of this moment. Raises: OSError or ValueError when even the memory cannot be read."""
    root, now = senses.root, senses.now()
    guest = look(root)
    everybody = read_population(root, guest.limits, guest.settings, now)
    memory = read_memory(root, everybody.used)
    pressure = read_pressure(root)
    uptime_s = read_uptime(root)
    cgroups = Cgroups(root)
    record = trends.record_of(now, memory.available, memory.total, everybody.agents)
    sessions = read_sessions(senses.asked, senses.time_of_day(), everybody.terminals, root=root, me=senses.user)
    facts = Facts(
        version=_line(root, VERSION),
        limits=guest.limits,
        memory=memory,
        pressure=pressure["memory"],
        places=read_places(root, senses.statvfs),
        counts=read_counts(root, everybody.table, everybody.members),
        kills=read_kills(root, cgroups, senses.asked, uptime_s),
        watchdog=guards.read_watchdog(root, now),
        containment=guards.read_containment(root, cgroups, guest.limits, everybody.table),
        agents=everybody.agents,
        heaps=everybody.heaps,
        v8_deaths=sessions.v8_deaths,
        sessions=sessions.found,
        trends=trends.read_trends(samples.read(root), record, guest.limits, everybody.agents),
    )
    found = findings.diagnose(facts)
    return Health(
        host=_line(root, "proc/sys/kernel/hostname"),
        version=facts.version,
        boot_id=boot_id(root),
        time=round(senses.time_of_day(), 1),
        uptime_s=round(uptime_s, 1),
        cpus=count_cpus(root),
        level=found[0].level if found else Level.OK,
        verdict=trends.worst(facts.trends).verdict,
        memory=memory,
        pressure=pressure,
        load=read_load(root),
        places=facts.places,
        counts=facts.counts,
        kills=facts.kills,
        watchdog=facts.watchdog,
        containment=facts.containment,
        agents=facts.agents,
        sessions=facts.sessions,
        trends=facts.trends,
        findings=found,
        unseen=(*guest.problems, *_unseen(facts, everybody.unreadable, senses)),
        agents_cpu_s=read_cpu(cgroups),
    )


def _line(root: str, name: str) -> str:
    data = read(f"{root.rstrip('/')}/{name}", 256) or b""
    return printable(data.decode("utf-8", "replace").strip(), 80)


def _unseen(facts: Facts, unreadable: int, senses: Senses) -> list[str]:
    said = []
    if facts.pressure is None:
        said.append("pressure: this kernel does not measure it (CONFIG_PSI, psi=1)")
    if unreadable:
        said.append(f"{unreadable} processes cannot be read")
    if facts.kills.total and not facts.kills.recent:
        said.append("which processes the kernel ended: its log cannot be read")
    if (os.geteuid() if senses.user is None else senses.user) != 0:
        said.append("not root: other users' executables, open files and sessions are not seen")
    return said
