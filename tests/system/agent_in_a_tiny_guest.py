"""To be run by name. `agent` and `each` on real clones of a guest that has no tools, no tmux and no git."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

from .conftest import User

# To a warm clone that runs; emulated guests on a busy machine get a second try, and a third.
LONGEST_S = 3.0
FLOOD = r"printf '\033]0;owned\007'; head -c 3000000 /dev/zero | tr '\0' x; printf '\nend\n'"


def test_a_new_clone_is_made_and_entered(alice: User, tiny: str, remove: Callable[[str], str]) -> None:
    before = {clone["name"] for clone in alice.json("list")["clones"]}
    document = alice.json("agent", "--golden", tiny)
    name = remove(document["clone"])
    assert name not in before and document["act"] == "created"
    assert alice.clone(name)["warm"] == "warm"
    # What the guest is without its tools.
    assert document["session"] is None
    assert [program["installed"] for program in document["programs"]] == [False, False, False]
    assert document["ssh"] == alice.clone(name)["ssh"]
    said = alice.run("agent", name)
    assert said.stdout.startswith(f"{name}: no claude, no codex, no gemini, ")
    assert f"No agent-session in {name}: this is a plain shell" in said.stderr


def test_a_clone_is_found_by_a_part_of_its_name_in_time(alice: User, crab: str) -> None:
    durations = []
    for _ in range(3):
        started = time.monotonic()
        said = alice.run("agent", crab[1:-1])
        durations.append(time.monotonic() - started)
        assert said.stdout.startswith(f"{crab}: ")
    assert min(durations) <= LONGEST_S, durations
    assert alice.json("agent", "--attach")["clone"] == crab


def test_a_clone_that_is_off_is_started(alice: User, crab: str) -> None:
    alice.run("stop", crab)
    assert alice.run("agent", crab, "--dry-run").stdout.startswith(f"{crab}: would be started\n")
    assert alice.clone(crab)["state"] == "shut off"
    assert alice.json("agent", crab)["act"] == "started"
    assert alice.clone(crab)["state"] == "running"


def test_another_user_gets_in_at_once(alice: User, bob: User, crab: str) -> None:
    said = bob.run("agent", crab)
    assert f"{crab}: " in said.stdout
    assert alice.run("agent", crab).stdout.startswith(f"{crab}: ")


def test_many_run_at_once_and_one_failure_leaves_the_others(
    alice: User, tiny: str, crab: str, remove: Callable[[str], str]
) -> None:
    prawn = remove("prawn")
    alice.run("create", tiny, prawn)
    tasks = alice.write("tasks", "write it\nfail\n")
    line = 'echo "$MOLTFLEET_TASK in $MOLTFLEET_CLONE"; mkdir -p out; hostname >out/name; [ "$MOLTFLEET_TASK" != fail ]'
    words = ("each", crab, prawn, "--tasks", tasks, "--fetch", "out", "--", line)
    done = alice.run("--json", *words, code=1)
    first, second = json.loads(done.stdout)["results"]
    assert (first["clone"], first["outcome"], first["stdout"]) == (crab, "done", f"write it in {crab}\n")
    assert (second["clone"], second["outcome"], second["exit_status"]) == (prawn, "failed", 1)
    for result in (first, second):
        path = f"{result['fetched']['directory']}/artifacts-1/name"
        assert alice.lab.run("cat", path, user=alice.name).stdout == f"{result['clone']}\n"


def test_a_deadline_ends_the_command_in_the_guest_too(alice: User, crab: str) -> None:
    (result,) = alice.json("each", crab, "--timeout", "8", "--", "sleep 4321", code=6)["results"]
    assert (result["outcome"], result["exit_status"]) == ("late", None)
    assert alice.run("exec", crab, "--timeout", "8", "--", "sleep 4321", code=6).stdout == ""
    deadline = time.monotonic() + 60
    while alice.shell(crab, "ps | grep -c '[s]leep 4321'", check=False) != "0":
        assert time.monotonic() < deadline, "it goes on in the guest"
        time.sleep(1)


def test_a_flood_is_bounded_and_drives_no_terminal(alice: User, crab: str) -> None:
    (result,) = alice.json("each", crab, "--", FLOOD)["results"]
    assert result["truncated"] and len(result["stdout"]) == 2**20 and result["stdout"].endswith("\nend\n")
    shown = alice.run("each", crab, "--", FLOOD)
    assert "\x1b" not in shown.stdout + shown.stderr and len(shown.stdout) < 4000
    assert "end" in shown.stdout
