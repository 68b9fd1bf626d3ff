"""Try in a guest whether its tools do what they are there for; each proof answers with one line of JSON.

    proofs.py watchdog              as root, and the first: it also puts aside what the leak would push out
    proofs.py limit | agents | forecast
    proofs.py leak-begin            starts a leak and tells its directory; the leak goes on behind it
    proofs.py leak-end DIRECTORY    as root: says how it came out, and takes away what it left

The host sends these files along each time, so that they are its own version. Nothing that they start or write stays.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from forecasting import forecast
from ground import LONGEST_S, NAME, answer, failed, is_contained, last_words, passed, path_of_login, run, status_of
from holding import Holding
from leaking import keep_oldest_recording, leak_begin, leak_end
from plain_agents import agents

MIB = 1 << 20
LIMIT_MIB = 64
MOST_TRIES = 3
# What run-limited says when the kernel ended its program.
REACHED = "it reached its limit"
# Deaf to SIGTERM, and takes everything in one call into the kernel, so that nobody ends it before its limit does.
# Not by huge pages: where memory is in pieces they take ten times as long. Tells where it is.
HOG = """
import json, mmap, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
group = next(line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup") if line.startswith("0::"))
def bound(name):
    try:
        return open("/sys/fs/cgroup" + group + "/" + name).read().strip()
    except OSError:
        return "unknown"
print(json.dumps([group, bound("memory.max"), bound("memory.swap.max")]), flush=True)
mmap.mmap(-1, int(sys.argv[1]) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
"""


def watchdog() -> int:
    """Ask the service for its state, and the program for its self-test."""
    keep_oldest_recording()
    active = subprocess.run(["systemctl", "is-active", "moltfleet-watchdog"], capture_output=True, text=True)
    tried = "its service, and its self-test"
    program = shutil.which("moltfleet-watchdog", path="/usr/local/sbin:/usr/local/bin")
    if program is None:
        return failed(tried, "there is no moltfleet-watchdog")
    test = subprocess.run([program, "--self-test"], capture_output=True, text=True, timeout=LONGEST_S)
    lines = test.stdout.splitlines()
    wrong = [line for line in lines if not line.startswith("ok")]
    is_well = active.returncode == 0 and test.returncode == 0
    said = f"{active.stdout.strip()}; {len(lines) - len(wrong)} of {len(lines)} ok"
    return answer(tried, "; ".join([said, *wrong]), passed=is_well)


def limit() -> int:
    """Let something take twice what its scope may have."""
    if not is_contained():
        return passed("nothing: this guest is too small for limits", "the watchdog alone guards it")
    tried = f"{2 * LIMIT_MIB} MiB at once, deaf to SIGTERM, in run-limited {LIMIT_MIB}M"
    done, was_held = run_hog()
    if isinstance(done, str):
        return failed(tried, done)
    if not done.stdout:
        return failed(tried, f"it did not start: {last_words(done)}")
    group, most, swap = json.loads(done.stdout.splitlines()[0])
    wrong = []
    if "/agents.slice/" not in group:
        wrong.append("it was not in agents.slice")
    if most != str(LIMIT_MIB * MIB):
        wrong.append(f"its MemoryMax was {most}")
    if swap != "0" and Path("/sys/fs/cgroup" + group).parent.joinpath("memory.swap.max").exists():
        wrong.append(f"it could swap {swap}")
    said = f"{REACHED} (exit status {status_of(done)})"
    if REACHED not in done.stderr and was_held and done.returncode != 0:
        # A slow guest's kernel looks for half a second for something to give back before it kills.
        said = f"it was held at its limit until it was ended (exit status {status_of(done)})"
    elif REACHED not in done.stderr:
        said = "nothing stopped it" if done.returncode == 0 else f"something else ended it: {last_words(done)}"
        wrong.append(said)
    return answer(tried, "; ".join(dict.fromkeys([*wrong, said])), passed=not wrong)


def run_hog() -> "tuple[subprocess.CompletedProcess[str] | str, bool]":
    """Run the hog to its end, and say whether it was seen held at its limit; again, when it never got there.

    A text is why there was no end.
    """
    with tempfile.TemporaryDirectory(prefix=f"{NAME}.", dir="/tmp") as directory:
        program = Path(directory) / NAME
        program.symlink_to(os.path.realpath(sys.executable))
        command = ["run-limited", f"{LIMIT_MIB}M", str(program), "-I", "-S", "-c", HOG, str(2 * LIMIT_MIB)]
        for _ in range(MOST_TRIES):
            with Holding() as holding:
                done = run(command, env={**os.environ, "PATH": path_of_login()})
            if isinstance(done, str) or done.returncode == 0 or REACHED in done.stderr or holding.seen:
                break
        return done, holding.seen


def main(arguments: list[str]) -> int:
    """Do what was asked for. Returns 2 for a bad command line."""
    proofs = {
        "watchdog": watchdog,
        "limit": limit,
        "agents": agents,
        "forecast": forecast,
        "leak-begin": leak_begin,
    }
    if len(arguments) == 1 and arguments[0] in proofs:
        return proofs[arguments[0]]()
    if len(arguments) == 2 and arguments[0] == "leak-end":
        return leak_end(Path(arguments[1]))
    sys.stderr.write(__doc__ or "")
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
