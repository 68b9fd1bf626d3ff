"""A guest in which agents leak: the guest tools are put there, and programs named like agents take memory.

It is made with virsh alone, and is nobody's clone: what is looked at is the watchdog.
"""

from __future__ import annotations

import base64
import io
import json
import shlex
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.conftest import Lab as PlainLab
from lab.guest import ADDRESS, Guest
from moltfleet.adapters.resources import find_directory

from .conftest import LONGEST_S, REPOSITORY, Lab

MIB = 1 << 20
# In this time an agent's end has come, or it never comes.
ENDED_S = 120
# An agent by its executable; whatever it is given to run is only words. The swap file is there to be left alone.
INSTALL = """
set -e
mkdir -p /opt/agents /opt/guest
base64 -d | tar -xz -C /opt/guest
mv /opt/guest/leak.py /opt/agents/
cp "$(readlink -f /usr/bin/python3)" /opt/agents/claude
fallocate -l 1G /swap && chmod 600 /swap && mkswap -q /swap && swapon /swap
python3 /opt/guest/install.py install --version test
"""
# A pane of the operator's, in which something goes on, and a look at who is there.
OPERATOR = """
tmux new-session -d -s work -n operator 'while :; do date +%s >> /tmp/alive; sleep 1; done'
tmux split-window -d -t work:operator 'exec bash'
"""
PEOPLE = "pgrep -x sshd --oldest; tmux display-message -p '#{pid}'; tmux list-panes -t work:operator -F '#{pane_pid}'"
COUNTERS = "awk '/^(pswpin|pswpout|oom_kill) /' /proc/vmstat"
# Where scopes of the ordinary user's own agents are, and those that nothing is to hold back.
AGENTS = "/sys/fs/cgroup/user.slice/user-1000.slice/user@1000.service/agents.slice"
UNLIMITED = "/sys/fs/cgroup/bench.slice"
BELOW = "--quiet --scope --slice"
# One login after the other, and how many milliseconds each took.
LOGGING_IN = """
while :; do
    began=$(date +%s%N)
    timeout 60 ssh "$@" true </dev/null && echo $((($(date +%s%N) - began) / 1000000)) || echo failed
    sleep 2
done
"""


def pack() -> str:
    """The guest tools and the leak, as text."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", dereference=True) as tar:
        tar.add(find_directory("bootstrap") / "guest", arcname=".", filter=_without_caches)
        tar.add(REPOSITORY / "scripts/lib/leak.py", arcname="leak.py")
    return base64.encodebytes(packed.getvalue()).decode()


def _without_caches(entry: tarfile.TarInfo) -> tarfile.TarInfo | None:
    return None if "__pycache__" in entry.name else entry


@dataclass(frozen=True, slots=True)
class Leak:
    """How a leak ended: the watchdog's outcome, and what the kernel saw of all agents together, in bytes."""

    outcome: dict[str, Any]
    peak: int
    kernel_kills: int

    @property
    def overshoot(self) -> float:
        """How far above its end the memory came, as a part of that."""
        term = int(self.outcome["MOLTFLEET_THRESHOLD"])
        return (self.peak - term) / term


@dataclass(slots=True)
class LeakingGuest:
    """A guest with a watchdog, and an operator's session of tmux."""

    lab: Lab
    guest: Guest
    limits: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def boot(cls, lab: Lab, folder: Path, image: Path) -> LeakingGuest:
        """Boot one of 4 GiB."""
        guest = Guest(PlainLab(lab.name), "leaky", folder)
        guest.define(image, 4096, vcpus=2)
        guest.virsh("start", guest.name)
        guest.wait_for_login(LONGEST_S / 4)
        leaking = cls(lab, guest)
        guest.connect()
        leaking.shell("cloud-init status --wait >/dev/null")
        return leaking

    def settle_in(self) -> None:
        """Bring the tools and the leak there; the watchdog runs and the operator works when this returns."""
        self.lab.run(*self._ssh(f"sudo sh -c {shlex.quote(INSTALL)}"), input=pack())
        self.shell(OPERATOR)
        self.limits = json.loads(self.root("moltfleet-limits --json"))

    def _ssh(self, command: str) -> tuple[str, ...]:
        return ("ssh", *self.guest.shared, *self.guest.ssh_options(), f"agent@{ADDRESS}", command)

    def shell(self, command: str, *, check: bool = True) -> str:
        """What a shell command prints, run as the ordinary user."""
        return self.lab.run(*self._ssh(command), check=check).stdout.strip()

    def root(self, command: str, *, check: bool = True) -> str:
        """Likewise, as root."""
        return self.shell(f"sudo sh -c {shlex.quote(command)}", check=check)

    def start(self, unit: str, manner: str, *numbers: int) -> None:
        """Start an agent in a scope of its own, with this guest's limits, in a window of tmux.

        No other agent's scope is left then. ``numbers`` are MiB a second, and MiB at once.
        """
        scope = self.limits["scope"]
        limits = f"-p MemoryHigh={scope['high']} -p MemoryMax={scope['max']} -p MemorySwapMax=0"
        # A slice made anew counts from zero.
        self.shell("systemctl --user stop agents.slice")
        self.in_window(unit, f"systemd-run --user {BELOW}=agents.slice --unit={unit} {limits} {leak(manner, *numbers)}")

    def start_unlimited(self, unit: str, manner: str, *numbers: int) -> None:
        """Likewise, below a slice that has no limits, and is not where agents belong."""
        self.root("systemctl stop bench.slice")
        command = f"sudo systemd-run {BELOW}=bench.slice --unit={unit} --uid=agent {leak(manner, *numbers)}"
        self.in_window(unit, command)

    def in_window(self, name: str, command: str) -> None:
        """Run a command in a window of the operator's session; it stays when the command has ended."""
        self.shell(f"tmux new-window -d -n {name} -t work {shlex.quote(command + '; exec cat')}")

    def leak(self, unit: str, manner: str, *numbers: int) -> Leak:
        """Let an agent leak until it has ended."""
        self.start(unit, manner, *numbers)
        peak, kernel_kills = self.see_through(AGENTS, unit)
        return Leak(self.outcome(unit), peak, kernel_kills)

    def see_through(self, group: str, unit: str) -> tuple[int, int]:
        """Wait until a scope has begun and ended; returns the most that its slice held, and the kernel kills in it."""
        self.wait_until(f"test -d {group}/{unit}.scope")
        self.wait_until(f"! test -d {group}/{unit}.scope")
        peak, *events = self.root(f"cd {group}; cat memory.peak memory.events").splitlines()
        return int(peak), next(int(line.split()[1]) for line in events if line.startswith("oom_kill "))

    def wait_until(self, condition: str) -> None:
        """Wait until a shell condition holds, looked at in the guest."""
        self.root(f"for i in $(seq {5 * ENDED_S}); do if {condition}; then exit 0; fi; sleep 0.2; done; exit 1")

    def outcome(self, group: str) -> dict[str, Any]:
        """How the ending of a group came out, once it has."""
        return self.event("outcome", lambda event: group in event["MOLTFLEET_GROUP"])

    def event(self, kind: str, is_it: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """One event of the watchdog's, once it is there."""
        deadline = time.monotonic() + ENDED_S
        while True:
            if found := [event for event in self.events(kind) if is_it(event)]:
                return found[0]
            assert time.monotonic() < deadline, f"there is no such {kind}"
            time.sleep(0.5)

    def events(self, kind: str) -> list[dict[str, Any]]:
        """The watchdog's events of one kind, as the journal has them, the latest first."""
        matches = f"--unit=moltfleet-watchdog MOLTFLEET_EVENT={kind}"
        text = self.root(f"journalctl --boot --reverse --output=json {matches}")
        return [json.loads(line) for line in text.splitlines()]

    def state(self) -> dict[str, Any]:
        """What the watchdog knows."""
        document: dict[str, Any] = json.loads(self.root("cat /run/moltfleet/watchdog/state.json"))
        return document

    def window(self, name: str) -> str:
        """What can be read in a window."""
        return self.shell(f"tmux capture-pane -p -t work:{name}")

    @contextmanager
    def logging_in(self) -> Iterator[Logins]:
        """Log in over and over until the context ends; the last login ends after whatever goes on in it."""
        argv = self.lab.argv(("bash", "-c", LOGGING_IN, "-", *self.guest.ssh_options(), f"agent@{ADDRESS}"))
        running = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert running.stdout is not None
        lines, logins = running.stdout, Logins()
        listener = threading.Thread(target=lambda: logins.took.extend(line.strip() for line in lines), daemon=True)
        listener.start()
        try:
            yield logins
            logins.wait_for_more(1)
        finally:
            running.terminate()
            running.wait(timeout=60)
            listener.join(60)

    @contextmanager
    def nobody_else_suffers(self) -> Iterator[Logins]:
        """Log in over and over until the context ends; then see who still is there, and what the kernel had to do."""
        looking = f"{PEOPLE}; {COUNTERS}; wc -l < /tmp/alive"
        *before, beats = self.shell(looking).splitlines()
        with self.logging_in() as logins:
            yield logins
        *after, more_beats = self.shell(looking).splitlines()
        assert after == before, "sshd, tmux and its panes are the same; nothing was swapped, nobody OOM-killed"
        assert int(more_beats) > int(beats), "the operator's pane went on"


def leak(manner: str, *numbers: int) -> str:
    """The command that leaks."""
    return f"/opt/agents/claude -I -S /opt/agents/leak.py {manner} {' '.join(map(str, numbers))}"


@dataclass(slots=True)
class Logins:
    """How long each login took, in milliseconds; "failed" for one that did not come about."""

    took: list[str] = field(default_factory=list)

    def wait_for_more(self, count: int) -> None:
        """Wait until so many more have come about, or not."""
        wanted, deadline = len(self.took) + count, time.monotonic() + LONGEST_S / 4
        while len(self.took) < wanted:
            assert time.monotonic() < deadline, self.took
            time.sleep(0.1)

    @property
    def longest_s(self) -> float:
        """Seconds that the longest took; none may have failed."""
        assert self.took and "failed" not in self.took, self.took
        return max(map(int, self.took)) / 1000
