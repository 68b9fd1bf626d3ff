"""A leak in a guest: begun, left to whoever ends it, and what became of it."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ground import NAME, answer, failed, path_of_login, run, status_of

RECORDINGS = Path("/var/lib/moltfleet/watchdog")
COUNTS = "backoff.json"
# How the watchdog calls programs of this name.
AGENT = NAME.replace("-", "_") + "-"
ASIDE = Path("/run/moltfleet-proof")
MOST_RECORDINGS = 8
LEAK_MIB, RATE_MIB = 256, 32
# Takes so many MiB a second, up to so many, and tells each.
LEAK = """
import sys, time
rate, most = int(sys.argv[1]), int(sys.argv[2])
kept, began = [], time.monotonic()
while len(kept) < most:
    ahead = len(kept) / rate - (time.monotonic() - began)
    if ahead > 0:
        time.sleep(ahead)
    kept.append(bytearray(b"x") * (1 << 20))
    print(len(kept), flush=True)
"""


def keep_oldest_recording() -> None:
    """Put aside the recording that one more kill would push out."""
    found = sorted(RECORDINGS.glob("kill-*.jsonl"))
    shutil.rmtree(ASIDE, ignore_errors=True)
    if len(found) >= MOST_RECORDINGS:
        ASIDE.mkdir(mode=0o700)
        shutil.copy2(found[0], ASIDE)


def leak_begin() -> int:
    """Start a leak in a scope, and somebody who writes down how it ends; both go on behind this."""
    directory = Path(tempfile.mkdtemp(prefix=f"{NAME}.", dir="/tmp"))
    directory.chmod(0o755)
    shutil.copy2(os.path.realpath(sys.executable), directory / NAME)
    path = path_of_login()
    print(directory, flush=True)
    if os.fork():
        return 0
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    outcome = watch_leak(directory, path)
    (directory / "outcome.new").write_text(json.dumps(outcome))
    (directory / "outcome.new").rename(directory / "outcome")
    return 0


def watch_leak(directory: Path, path: str) -> dict[str, object]:
    """Let it leak until something ends it, or it has twice what it may."""
    most = [str(RATE_MIB), str(2 * LEAK_MIB)]
    command = ["run-limited", f"{LEAK_MIB}M", str(directory / NAME), "-I", "-S", "-c", LEAK, *most]
    began = time.monotonic()
    done = run(command, {**os.environ, "PATH": path})
    seconds = round(time.monotonic() - began, 1)
    if isinstance(done, str):
        return {"problem": done}
    numbers = [line for line in done.stdout.splitlines() if line.isdigit()]
    reached = int(numbers[-1]) if numbers else 0
    said = "" if numbers else done.stderr.strip()[-200:]
    return {"exit": status_of(done), "reached": reached, "seconds": seconds, "problem": said}


def leak_end(directory: Path) -> int:
    """Say how the leak ended: by whom, and at how much."""
    tried = f"a leak of {RATE_MIB} MiB a second in run-limited {LEAK_MIB}M"
    try:
        outcome = json.loads((directory / "outcome").read_bytes()[:4096])
        event = find_event(f"{directory}/{NAME}", wait_s=0.0 if outcome.get("problem") else 20.0)
    except (OSError, ValueError):
        outcome, event = {"problem": "nothing was written down of it"}, None
    clear_up(directory)
    if outcome.get("problem"):
        return failed(tried, str(outcome["problem"]))
    reached = f"{outcome['reached']} MiB after {outcome['seconds']} s, exit status {outcome['exit']}"
    if event is None:
        word = "nothing ended it" if outcome["exit"] == 0 else "it ended, but not by the watchdog"
        return failed(tried, f"{word}: {reached}")
    said = f"{event.get('MOLTFLEET_RESULT')} by the watchdog with {event.get('MOLTFLEET_SIGNALS')}: {reached}"
    return answer(tried, said, passed=event.get("MOLTFLEET_RESULT") == "ended" and outcome["reached"] < LEAK_MIB)


def find_event(executable: str, wait_s: float) -> "dict[str, object] | None":
    """Return what the watchdog has reported of ending a program; it may still be about to."""
    until = time.monotonic() + wait_s
    while True:
        done = subprocess.run(
            ["journalctl", "--boot", "--unit=moltfleet-watchdog", "--reverse", "--lines=50", "--output=json",
             "MOLTFLEET_EVENT=outcome", f"MOLTFLEET_EXECUTABLE={executable}"],
            capture_output=True, text=True,
        )  # fmt: skip
        for line in done.stdout.splitlines():
            event = json.loads(line)
            if isinstance(event, dict):
                return event
        if time.monotonic() >= until:
            return None
        time.sleep(0.5)


def clear_up(directory: Path) -> None:
    """Take away what the proofs left, and bring back what their recordings pushed out."""
    shutil.rmtree(directory, ignore_errors=True)
    for recording in RECORDINGS.glob("kill-*.jsonl"):
        if agent_of(recording).startswith(AGENT):
            recording.unlink(missing_ok=True)
    forget_counts()
    for kept in ASIDE.glob("kill-*.jsonl"):
        shutil.copy2(kept, RECORDINGS / kept.name)
    shutil.rmtree(ASIDE, ignore_errors=True)


def agent_of(recording: Path) -> str:
    """Return whose end a recording is about, as its first line says."""
    try:
        with recording.open("rb") as file:
            return str(json.loads(file.readline(4096))["agent"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def forget_counts() -> None:
    """Forget that programs of ours were ended; a count of nothing needs no file."""
    program = shutil.which("moltfleet-watchdog", path="/usr/local/sbin:/usr/local/bin")
    for name, _, owner in (key.rpartition("@") for key in read_counts()):
        if program and name.startswith(AGENT) and owner.isdigit():
            subprocess.run([program, f"--reset={name}", f"--owner={owner}"], capture_output=True)
    if not read_counts():
        (RECORDINGS / COUNTS).unlink(missing_ok=True)


def read_counts() -> "list[str]":
    """Return for whom the watchdog counts, each as NAME@OWNER; what cannot be read counts somebody."""
    try:
        return list(json.loads((RECORDINGS / COUNTS).read_bytes()[: 64 << 10])["counts"])
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError):
        return ["?"]
