"""One step of the density test: so many simulated agents at once, how they get on, and what gave way first.

    density.py AGENTS MEMORY_MIB SHM_MIB DISK_MIB PROCESSES HOLD_S READY_S

All are started at the same moment, each as a person would: through run-limited where there is one. When all have what
they want they work for HOLD_S seconds. One line of JSON (moltfleet.density-stage/1); nothing stays.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from ground import path_of_login

PREFIX = "moltfleet-density."
GREETING_S = 30.0
LAST_WORDS_S = 20.0


@dataclass
class Agent:
    """One simulated agent. ``refused`` is what it was not given, and why; ``at`` when that was known."""

    process: "subprocess.Popen[str]"
    is_ready: bool = False
    refused: "tuple[str, str] | None" = None
    at: float = 0.0

    def listen(self) -> None:
        """Take in what it says, until it says nothing more."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            word, _, rest = line.strip().partition(" ")
            if word == "ready":
                self.is_ready = True
            elif word == "failed":
                what, _, why = rest.partition(" ")
                self.refused, self.at = (what, why), time.monotonic()

    def look(self) -> None:
        """Note it when it has ended by itself: whoever is ended without a word was in the way of others."""
        status = self.process.poll()
        if status is not None and self.refused is None:
            killed = status < 0 or status > 128
            what = "memory" if killed else "other"
            self.refused, self.at = (what, f"it was ended (exit status {status})"), time.monotonic()

    @property
    def is_well(self) -> bool:
        """Whether nothing was refused so far."""
        return self.refused is None


@dataclass
class Peaks:
    """The most of each that was in use; ``greeting_s`` is the longest that sshd took to greet."""

    memory: int = 0
    shm: int = 0
    disk: int = 0
    processes: int = 0
    greeting_s: float = 0.0
    is_over: threading.Event = field(default_factory=threading.Event)


def available() -> tuple[int, int]:
    """Return (total, available) memory in bytes."""
    lines = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    figures = {words[0]: int(words[1]) << 10 for words in lines}
    return figures["MemTotal:"], figures["MemAvailable:"]


def room(path: str) -> tuple[int, int]:
    """Return (size, used) of a file system in bytes; used is what users cannot have."""
    figures = os.statvfs(path)
    return figures.f_blocks * figures.f_frsize, (figures.f_blocks - figures.f_bavail) * figures.f_frsize


def most_processes() -> int:
    """Return how many processes there may be: the kernel's bound, or the user's."""
    import resource

    bounds = [int(Path("/proc/sys/kernel/pid_max").read_text())]
    soft = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    return min([*bounds, *([soft] if soft > 0 else [])])


def measure(peaks: Peaks, folder: str, disk_before: int) -> None:
    """Look at everything once."""
    total, left = available()
    peaks.memory = max(peaks.memory, total - left)
    peaks.shm = max(peaks.shm, room("/dev/shm")[1])
    peaks.disk = max(peaks.disk, room(folder)[1] - disk_before)
    peaks.processes = max(peaks.processes, sum(name.isdigit() for name in os.listdir("/proc")))  # noqa: PTH208


def ask_for_greetings(peaks: Peaks) -> None:
    """Ask sshd for its greeting again and again, until it is over."""
    while not peaks.is_over.wait(0.5):
        began = time.monotonic()
        try:
            with socket.create_connection(("127.0.0.1", 22), timeout=GREETING_S) as made:
                heard = made.recv(4)
        except OSError:
            heard = b""
        peaks.greeting_s = max(peaks.greeting_s, time.monotonic() - began if heard == b"SSH-" else GREETING_S)


def start(number: int, folder: str, load: list[str], path: str) -> Agent:
    """Start one agent, and listen to it."""
    program = str(Path(__file__).parent / "simulated_agent.py")
    command = ["python3", "-EsB", program, str(number), folder, *load]
    limited = shutil.which("run-limited", path=path)
    process = subprocess.Popen(
        [*([limited] if limited else []), *command],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env={**os.environ, "PATH": path},
    )  # fmt: skip
    agent = Agent(process)
    threading.Thread(target=agent.listen, daemon=True).start()
    return agent


def stop(agents: list[Agent]) -> None:
    """Let all of them end, and end those that do not."""
    for agent in agents:
        if agent.process.stdin is not None:
            try:
                agent.process.stdin.close()
            except OSError:
                continue
    until = time.monotonic() + LAST_WORDS_S
    for agent in agents:
        try:
            agent.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            agent.process.terminate()
            agent.process.wait(LAST_WORDS_S)


def watch(agents: list[Agent], peaks: Peaks, folder: str, hold_s: float, ready_s: float) -> None:
    """Look until all have worked for a while, or one was refused something."""
    disk_before, deadline, until = room(folder)[1], time.monotonic() + ready_s, float("inf")
    while time.monotonic() < min(until, deadline if until == float("inf") else until):
        measure(peaks, folder, disk_before)
        for agent in agents:
            agent.look()
        if not all(agent.is_well for agent in agents):
            # The others show within a moment whether it was one or all.
            until = min(until, time.monotonic() + 2.0)
        elif until == float("inf") and all(agent.is_ready for agent in agents):
            until = time.monotonic() + hold_s
        time.sleep(0.2)


def first_refusal(agents: list[Agent]) -> "tuple[str, str] | None":
    """Return what was refused first, and why."""
    refused = [agent for agent in agents if agent.refused is not None]
    if refused:
        return min(refused, key=lambda agent: agent.at).refused
    slow = sum(not agent.is_ready for agent in agents)
    return ("time", f"{slow} not ready in time") if slow else None


def main(arguments: list[str]) -> int:
    """Run the step. Returns 2 for a bad command line."""
    try:
        count, *rest = (int(word) for word in arguments[:5])
        hold_s, ready_s = (float(word) for word in arguments[5:])
    except ValueError:
        sys.stderr.write(__doc__ or "")
        return 2
    # Whoever ends this is not to leave the guest full.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    load, began, peaks, path = [str(figure) for figure in rest], time.monotonic(), Peaks(), path_of_login()
    sizes = {"memory": available()[0], "shm": room("/dev/shm")[0], "processes": most_processes()}
    folder = tempfile.mkdtemp(prefix=PREFIX, dir=Path.home())
    sizes["disk"] = room(folder)[0] - room(folder)[1]
    asking = threading.Thread(target=ask_for_greetings, args=(peaks,), daemon=True)
    agents: list[Agent] = []
    try:
        asking.start()
        agents += [start(number, folder, load, path) for number in range(count)]
        watch(agents, peaks, folder, hold_s, ready_s)
        refusal = first_refusal(agents)
        well = sum(agent.is_ready and agent.is_well for agent in agents)
    finally:
        peaks.is_over.set()
        stop(agents)
        shutil.rmtree(folder, ignore_errors=True)
        for left in Path("/dev/shm").glob(f"{Path(folder).name}.*"):
            left.unlink(missing_ok=True)
    refused = [agent.refused[0] for agent in agents if agent.refused is not None]
    print(json.dumps({
        "schema": "moltfleet.density-stage/1",
        "agents": count,
        "well": well,
        "gave_way": refusal[0] if refusal else None,
        "said": refusal[1] if refusal else "",
        "heap_errors": refused.count("heap"),
        "node": shutil.which("node", path=path) is not None,
        "contained": shutil.which("run-limited", path=path) is not None,
        "peaks": {n: getattr(peaks, n) for n in ("memory", "shm", "disk", "processes")},
        "sizes": sizes,
        "greeting_s": round(peaks.greeting_s, 3),
        "seconds": round(time.monotonic() - began, 1),
    }))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
