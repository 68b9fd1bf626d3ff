"""What all trials in a guest share: how they answer, run programs, and find out where something runs."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

TOOLS = "/usr/local/lib/moltfleet/current"
NAME = "moltfleet-proof"
LONGEST_S = 120.0


def answer(tried: str, happened: str, *, passed: bool) -> int:
    """Print what came out."""
    print(json.dumps({"passed": passed, "tried": tried, "happened": happened}))
    return 0


def passed(tried: str, happened: str) -> int:
    """Print that it came out as it must."""
    return answer(tried, happened, passed=True)


def failed(tried: str, happened: str) -> int:
    """Print that it did not."""
    return answer(tried, happened, passed=False)


def status_of(done: "subprocess.CompletedProcess[str]") -> int:
    """Return an exit status as a shell shows it: 128 + n for signal n."""
    return 128 - done.returncode if done.returncode < 0 else done.returncode


def last_words(done: "subprocess.CompletedProcess[str]") -> str:
    """Return how a program ended, for one line."""
    return f"{done.stderr.strip()[-200:]} (exit status {status_of(done)})"


def is_contained() -> bool:
    """Whether this guest is large enough for limits by slice and scope."""
    sys.path.insert(0, TOOLS)
    from moltguest.thisguest import look

    return look().limits.contained


def path_of_login() -> str:
    """Return the PATH that somebody has who logs in."""
    shell = pwd.getpwuid(os.getuid()).pw_shell or "/bin/sh"
    try:
        done = subprocess.run(
            [shell, "-lc", 'printf "\\n%s" "$PATH"'],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True,
        )  # fmt: skip
        return done.stdout.rsplit("\n", 1)[-1]
    except (OSError, subprocess.SubprocessError):
        return os.environ.get("PATH", "")


def run(command: list[str], env: dict[str, str]) -> "subprocess.CompletedProcess[str] | str":
    """Run a program to its end; a text is why there was none."""
    try:
        return subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=LONGEST_S, env=env,
        )  # fmt: skip
    except FileNotFoundError:
        return f"there is no {command[0]}"
    except subprocess.TimeoutExpired:
        return f"not done after {LONGEST_S:.0f} s"
    except OSError as error:
        return f"{command[0]}: {error.strerror}"


def group_of(pid: int) -> str:
    """Return a process's cgroup, empty when it has gone."""
    try:
        lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    except OSError:
        return ""
    return next((line[3:] for line in lines if line.startswith("0::")), "")
