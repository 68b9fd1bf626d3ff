"""Agents started by their plain names, and where they run: as installed, or stand-ins of the same names."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ground import LONGEST_S, NAME, TOOLS, answer, group_of, is_contained, last_words, passed, path_of_login, run

STAND_IN = "#!/bin/sh\nexec sed -n 's/^0::/inside /p' /proc/self/cgroup\n"


def agents() -> int:
    """Start each agent by its plain name, and look where it runs; one that is not installed has a stand-in."""
    sys.path.insert(0, TOOLS)
    from moltguest import settings

    names = settings.read()[0].agents
    if not is_contained():
        return passed("nothing: this guest is too small for limits", "the watchdog alone guards it")
    wrong, installed, started = [], [], []
    with tempfile.TemporaryDirectory(prefix=f"{NAME}.") as directory:
        for name in names:
            is_real = any(find_real(name, path) for path in paths())
            (installed if is_real else started).append(name)
            wrong += [f"{name}: {found}" for found in where(name, directory) if "/agents.slice/" not in found]
    parts = [f"{', '.join(installed)} as installed"] if installed else []
    parts += [f"stand-ins named {', '.join(started)}"] if started else []
    tried = "the plain command: " + "; ".join(parts)
    return answer(tried, "; ".join(wrong) or f"each ran in a scope below agents.slice: {len(names)}", passed=not wrong)


def paths() -> set[str]:
    """Return the PATHs that people have here: of a login, and of a command over SSH."""
    return {path_of_login(), os.environ.get("PATH", "")}


def where(name: str, directory: str) -> list[str]:
    """Return the groups that an agent runs in when it is started by its name."""
    found = []
    for path in paths():
        real = find_real(name, path)
        found.append(where_real(name, real, path, directory) if real else where_stand_in(name, path, directory))
    return found


def find_real(name: str, path: str) -> "str | None":
    """Return the agent's own program on a PATH, which is none of the tools; None when it is not installed."""
    for directory in path.split(":"):
        found = os.path.realpath(os.path.join(directory, name))  # noqa: PTH118
        if os.access(found, os.X_OK) and Path(found).is_file() and not found.startswith("/usr/local/lib/moltfleet/"):
            return found
    return None


def where_stand_in(name: str, path: str, directory: str) -> str:
    """Return the group that a program of this name runs in when it is the last one on the PATH."""
    program = Path(directory) / name
    program.write_text(STAND_IN)
    program.chmod(0o755)
    done = run([shutil.which(name, path=f"{path}:{directory}") or name], {**os.environ, "PATH": f"{path}:{directory}"})
    if isinstance(done, str):
        return done
    told = [line.removeprefix("inside ") for line in done.stdout.splitlines() if line.startswith("inside ")]
    return told[-1] if told else f"it did not start: {last_words(done)}"


def where_real(name: str, real: str, path: str, directory: str) -> str:
    """Return the last group that an agent was seen in while it told its version."""
    # What it may write is to go with the directory.
    environment = {**os.environ, "PATH": path, "HOME": directory}
    child = subprocess.Popen(
        [shutil.which(name, path=path) or name, "--version"], env=environment,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    seen, until = "", time.monotonic() + LONGEST_S
    while child.poll() is None and time.monotonic() < until:
        for pid in [child.pid, *below(child.pid)]:
            if runs(pid, real):
                seen = group_of(pid) or seen
        time.sleep(0.005)
    if child.poll() is None:
        child.kill()
    child.wait()
    return seen or "it was too short to be seen"


def below(parent: int) -> list[int]:
    """Return all processes that a process has started, and those that they have."""
    found = []
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        try:
            found += [int(word) for word in task.read_text().split()]
        except OSError:
            continue
    return [pid for child in found for pid in [child, *below(child)]]


def runs(pid: int, real: str) -> bool:
    """Whether a process runs a file, by itself or through an interpreter."""
    try:
        executable = str(Path(f"/proc/{pid}/exe").readlink())
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")[1:3]
    except OSError:
        return False
    is_tool = Path(executable).name.startswith(("sh", "dash", "bash", "python", "systemd", "sudo"))
    return executable == real or (not is_tool and any(os.path.realpath(word) == real for word in words))
