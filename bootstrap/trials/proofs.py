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
from pathlib import Path

from forecasting import forecast
from ground import LONGEST_S, answer, failed, is_contained, last_words, passed, path_of_login, run, status_of
from leaking import keep_oldest_recording, leak_begin, leak_end
from plain_agents import agents

MIB = 1 << 20
LIMIT_MIB = 128
# Deaf to SIGTERM: what ends it is a limit, or what kills at one. Tells where it is, then how far it came.
HOG = """
import json, signal, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
group = next(line.split(":", 2)[2].strip() for line in open("/proc/self/cgroup") if line.startswith("0::"))
def bound(name):
    try:
        return open("/sys/fs/cgroup" + group + "/" + name).read().strip()
    except OSError:
        return "unknown"
print(json.dumps([group, bound("memory.max"), bound("memory.swap.max")]), flush=True)
kept = []
for count in range(int(sys.argv[1])):
    kept.append(bytearray(b"x") * (1 << 20))
    print(count + 1, flush=True)
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
    """Let something take twice what its scope may have, as fast as it can."""
    if not is_contained():
        return passed("nothing: this guest is too small for limits", "the watchdog alone guards it")
    tried = f"{2 * LIMIT_MIB} MiB at full speed, deaf to SIGTERM, in run-limited {LIMIT_MIB}M"
    command = ["run-limited", f"{LIMIT_MIB}M", "python3", "-I", "-S", "-c", HOG, str(2 * LIMIT_MIB)]
    done = run(command, env={**os.environ, "PATH": path_of_login()})
    if isinstance(done, str):
        return failed(tried, done)
    lines = done.stdout.splitlines()
    if not lines:
        return failed(tried, f"it did not start: {last_words(done)}")
    group, most, swap = json.loads(lines[0])
    reached = int(lines[-1]) if len(lines) > 1 else 0
    wrong = []
    if "/agents.slice/" not in group:
        wrong.append("it was not in agents.slice")
    if most != str(LIMIT_MIB * MIB):
        wrong.append(f"its MemoryMax was {most}")
    if swap != "0" and Path("/sys/fs/cgroup" + group).parent.joinpath("memory.swap.max").exists():
        wrong.append(f"it could swap {swap}")
    if reached >= 2 * LIMIT_MIB or done.returncode == 0:
        wrong.append("nothing stopped it")
    said = f"stopped at {reached} MiB (exit status {status_of(done)})"
    return answer(tried, "; ".join([*wrong, said]), passed=not wrong)


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
