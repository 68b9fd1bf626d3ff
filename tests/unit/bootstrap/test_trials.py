"""The trials of bootstrap/trials/, on this machine: what they tell of things that hold, and of things that do not."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from moltguest.scope.supervise import unit_name

pytestmark = pytest.mark.allow("subprocess")

ROOT = Path(__file__).parents[3]
TRIALS = ROOT / "bootstrap/trials"
Trial = Callable[[str], ModuleType]


@pytest.fixture
def trial(monkeypatch: pytest.MonkeyPatch) -> Trial:
    """Import one of the modules as the guest's Python would."""
    monkeypatch.syspath_prepend(str(TRIALS))
    for name in ("ground", "holding", "leaking", "plain_agents", "forecasting", "proofs", "density", "simulated_agent"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module


def told(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """The one answer that was printed."""
    document = json.loads(capsys.readouterr().out)
    assert isinstance(document, dict)
    return document


def program(path: Path, text: str) -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


# The forecast


def test_the_real_health_check_calls_the_leak_a_leak_and_the_idle_guest_well(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    forecasting = trial("forecasting")
    check = str(ROOT / "bootstrap/guest/bin/vm-health-check")
    monkeypatch.setattr(forecasting.shutil, "which", lambda name, path: check)
    forecasting.forecast()
    assert told(capsys)["passed"] is True


def test_a_health_check_that_sees_nothing_fails(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    forecasting = trial("forecasting")
    blind = program(tmp_path / "blind", '#!/bin/sh\necho \'{"verdict": "ok"}\'\n')
    monkeypatch.setattr(forecasting.shutil, "which", lambda name, path: str(blind))
    forecasting.forecast()
    answer = told(capsys)
    assert (answer["passed"], answer["happened"]) == (False, "the leak is called ok, the idle guest ok")


def test_a_guest_that_has_just_booted_is_written_with_times_since_then(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    forecasting = trial("forecasting")
    monkeypatch.setattr(forecasting.time, "monotonic", lambda: 40.0)
    forecasting.write_guest(tmp_path / "guest", 0.5)
    lines = (tmp_path / "guest/run/moltfleet/watchdog/samples").read_text().splitlines()
    times = [float(line.split()[0]) for line in lines]
    assert min(times) == 0.0 and max(times) == 40.0 and times == sorted(times)


# Agents by their plain names


def test_a_stand_in_without_a_wrapper_is_found_outside(trial: Trial, tmp_path: Path) -> None:
    found = trial("plain_agents").where_stand_in("claude", "/usr/bin:/bin", str(tmp_path))
    assert "/agents.slice/" not in found


def test_a_wrapper_that_does_not_start_it_is_told_with_its_last_words(trial: Trial, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    program(tmp_path / "bin/claude", "#!/bin/sh\necho no such agent >&2\nexit 127\n")
    found = trial("plain_agents").where_stand_in("claude", f"{tmp_path}/bin:/usr/bin:/bin", str(tmp_path))
    assert found == "it did not start: no such agent (exit status 127)"


def test_only_what_is_none_of_the_tools_is_the_real_one(trial: Trial, tmp_path: Path) -> None:
    find = trial("plain_agents").find_real
    program(tmp_path / "claude", "#!/bin/sh\n")
    (tmp_path / "codex").symlink_to("/usr/local/lib/moltfleet/current/bin/contained-agent")
    assert find("claude", f"/nowhere:{tmp_path}") == str(tmp_path / "claude")
    assert find("codex", str(tmp_path)) is None
    assert find("gemini", str(tmp_path)) is None


def test_a_real_agent_is_seen_where_it_runs(trial: Trial, tmp_path: Path) -> None:
    plain = trial("plain_agents")
    real = tmp_path / "claude"
    real.symlink_to("/usr/bin/sleep")
    program(tmp_path / "wrapper", "#!/bin/sh\nexec sleep 0.5\n").rename(tmp_path / "agent")
    seen = plain.where_real("agent", "/usr/bin/sleep", f"{tmp_path}:/usr/bin:/bin", str(tmp_path))
    assert seen == (plain.group_of(os.getpid()) or "it was too short to be seen")


# The limit

INSIDE = "/user.slice/user-1000.slice/user@1000.service/agents.slice/python3-7.scope"


BITES = "run-limited: moltfleet-proof was killed: it reached its limit of 64 MiB\n"


def hog(group: str = INSIDE, most: str = str(64 << 20), *, code: int = 137, said: str = BITES) -> object:
    return subprocess.CompletedProcess([], code, json.dumps([group, most, "0"]) + "\n", said)


@pytest.mark.parametrize(
    ("done", "passed", "words"),
    [
        (hog(), True, "it reached its limit (exit status 137)"),
        (hog(said="Killed"), False, "something else ended it: Killed (exit status 137)"),
        (hog("/user.slice/session-3.scope"), False, "it was not in agents.slice"),
        (hog(most="max"), False, "its MemoryMax was max"),
        (hog(code=0, said=""), False, "nothing stopped it"),
        (subprocess.CompletedProcess([], 125, "", "could not be contained"), False, "it did not start: could not"),
        ("there is no run-limited", False, "there is no run-limited"),
    ],
)
def test_only_what_was_inside_and_stopped_proves_the_limit(
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    done: object,
    passed: bool,
    words: str,
) -> None:
    proofs = trial("proofs")
    monkeypatch.setattr(proofs, "is_contained", lambda: True)
    monkeypatch.setattr(proofs, "run", lambda command, env: done)
    proofs.limit()
    answer = told(capsys)
    assert answer["passed"] is passed and words in answer["happened"]


def test_where_the_watchdog_was_quicker_than_the_limit_it_is_tried_again(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proofs = trial("proofs")
    monkeypatch.setattr(proofs, "is_contained", lambda: True)
    answers = iter([hog(said="Killed"), hog()])
    monkeypatch.setattr(proofs, "run", lambda command, env: next(answers))
    proofs.limit()
    assert told(capsys)["passed"] is True


def test_what_was_held_at_its_limit_until_the_watchdog_ended_it_proves_the_limit_too(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    proofs, holding = trial("proofs"), trial("holding")
    scope = tmp_path / "moltfleet_proof-7-ab.scope"
    scope.mkdir()

    def held(command: object, env: object) -> object:
        (scope / "memory.events").write_text("low 0\nhigh 3\nmax 12\noom 0\noom_kill 0\n")
        time.sleep(4 * holding.OFTEN_S)
        return hog(said="")

    monkeypatch.setattr(proofs, "is_contained", lambda: True)
    monkeypatch.setattr(proofs, "Holding", lambda: holding.Holding(tmp_path))
    monkeypatch.setattr(proofs, "run", held)
    proofs.limit()
    answer = told(capsys)
    assert (answer["passed"], answer["happened"]) == (
        True,
        "it was held at its limit until it was ended (exit status 137)",
    )


def test_the_scopes_that_are_looked_for_are_those_that_run_limited_makes(trial: Trial) -> None:
    assert fnmatch(unit_name(trial("ground").NAME), trial("holding").SCOPES)


@pytest.mark.parametrize("text", ["max 0\n", "", "max\n", "max many\n"])
def test_what_was_never_at_its_limit_was_not_held(trial: Trial, tmp_path: Path, text: str) -> None:
    (tmp_path / "memory.events").write_text(text)
    assert trial("holding").count_held(tmp_path / "memory.events") == 0
    assert trial("holding").count_held(tmp_path / "nothing") == 0


def test_what_is_to_reach_the_limit_takes_all_of_it_and_is_deaf(trial: Trial) -> None:
    hog = [sys.executable, "-I", "-S", "-c", trial("proofs").HOG]
    bounded = subprocess.run(["prlimit", f"--as={96 << 20}", *hog, "128"], capture_output=True, text=True, check=False)
    assert (bounded.returncode, len(json.loads(bounded.stdout))) == (1, 3)
    assert "Cannot allocate memory" in bounded.stderr
    assert subprocess.run([*hog, "1"], capture_output=True, check=False).returncode == 0


def test_a_guest_too_small_for_limits_is_told_so(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    proofs = trial("proofs")
    monkeypatch.setattr(proofs, "is_contained", lambda: False)
    proofs.limit()
    assert told(capsys) == {
        "passed": True,
        "tried": "nothing: this guest is too small for limits",
        "happened": "the watchdog alone guards it",
    }


# The leak


@pytest.mark.parametrize(
    ("script", "exit_code", "reached"),
    [("for i in 1 2 3; do echo $i; done; exit 143", 143, 3), ("echo 512", 0, 512)],
)
def test_a_leak_is_told_with_its_end(trial: Trial, tmp_path: Path, script: str, exit_code: int, reached: int) -> None:
    program(tmp_path / "run-limited", f"#!/bin/sh\n{script}\n")
    outcome = trial("leaking").watch_leak(tmp_path, f"{tmp_path}:/usr/bin:/bin")
    assert (outcome["exit"], outcome["reached"], outcome["problem"]) == (exit_code, reached, "")


def test_a_leak_that_cannot_be_started_is_told_as_that(trial: Trial, tmp_path: Path) -> None:
    leaking = trial("leaking")
    assert leaking.watch_leak(tmp_path, "/nowhere")["problem"] == "there is no run-limited"
    program(tmp_path / "run-limited", "#!/bin/sh\necho no systemd >&2\nexit 1\n")
    assert leaking.watch_leak(tmp_path, f"{tmp_path}:/usr/bin:/bin")["problem"] == "no systemd"


OUTCOME = {"exit": 143, "reached": 220, "seconds": 7.0, "problem": ""}
EVENT = {"MOLTFLEET_RESULT": "ended", "MOLTFLEET_SIGNALS": "SIGTERM"}


@pytest.mark.parametrize(
    ("outcome", "event", "passed", "words"),
    [
        (OUTCOME, EVENT, True, "ended by the watchdog with SIGTERM: 220 MiB"),
        (OUTCOME, None, False, "it ended, but not by the watchdog"),
        ({**OUTCOME, "exit": 0, "reached": 512}, None, False, "nothing ended it"),
        ({**OUTCOME, "reached": 256}, EVENT, False, "256 MiB"),
        (OUTCOME, {**EVENT, "MOLTFLEET_RESULT": "stuck"}, False, "stuck by the watchdog"),
        ({**OUTCOME, "problem": "there is no run-limited"}, None, False, "there is no run-limited"),
        (None, None, False, "nothing was written down of it"),
    ],
)
def test_only_a_leak_that_the_watchdog_ended_in_time_passes(
    trial: Trial,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    outcome: dict[str, object] | None,
    event: dict[str, object] | None,
    passed: bool,
    words: str,
) -> None:
    leaking = trial("leaking")
    monkeypatch.setattr(leaking, "find_event", lambda executable, wait_s: event)
    monkeypatch.setattr(leaking, "ASIDE", tmp_path / "aside")
    directory = tmp_path / "moltfleet-proof.x"
    directory.mkdir()
    if outcome is not None:
        (directory / "outcome").write_text(json.dumps(outcome))
    leaking.leak_end(directory)
    answer = told(capsys)
    assert answer["passed"] is passed and words in answer["happened"]
    assert not directory.exists()


def test_the_recording_of_the_leak_goes_and_the_one_that_it_pushed_out_comes_back(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    leaking = trial("leaking")
    recordings, aside = tmp_path / "watchdog", tmp_path / "aside"
    recordings.mkdir()
    monkeypatch.setattr(leaking, "RECORDINGS", recordings)
    monkeypatch.setattr(leaking, "ASIDE", aside)
    names = [f"kill-2026112{day}T080000-7.jsonl" for day in range(8)]
    for name in names:
        (recordings / name).write_text(name)
    leaking.keep_oldest_recording()
    (recordings / names[0]).unlink()
    for number, agent in enumerate(("moltfleet_proof-7-0a", "moltfleet_proof-9-0b")):
        own = recordings / f"kill-20261129T080000-{number}.jsonl"
        own.write_text(json.dumps({"agent": agent}) + "\n{}\n")
    leaking.clear_up(tmp_path / "gone")
    assert sorted(path.name for path in recordings.iterdir()) == names
    assert not aside.exists()


@pytest.mark.parametrize("text", ['{"agent": "claude-7-0a"}', '{"agent": 7}', "[]", "", "\xff"])
def test_no_other_recording_is_removed(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    leaking = trial("leaking")
    monkeypatch.setattr(leaking, "RECORDINGS", tmp_path)
    monkeypatch.setattr(leaking, "ASIDE", tmp_path / "aside")
    precious = tmp_path / "kill-20261129T080000-9.jsonl"
    precious.write_text(text, encoding="latin-1")
    leaking.clear_up(tmp_path / "gone")
    assert precious.exists()


@pytest.mark.parametrize(
    ("text", "stays"), [('{"counts": {}}', False), ('{"counts": {"claude@1000": {}}}', True), ("[]", True), ("", True)]
)
def test_a_count_of_nothing_leaves_no_file(
    trial: Trial, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, stays: bool
) -> None:
    leaking = trial("leaking")
    monkeypatch.setattr(leaking, "RECORDINGS", tmp_path)
    (tmp_path / "backoff.json").write_text(text)
    leaking.forget_counts()
    assert (tmp_path / "backoff.json").exists() is stays


# The density test


def test_a_step_with_small_agents_goes_well_and_leaves_nothing(trial: Trial, tmp_path: Path) -> None:
    argv = [sys.executable, "-EsB", str(TRIALS / "density.py"), "2", "2", "1", "1", "2", "0.5", "60"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, check=True)
    step = json.loads(done.stdout)
    assert (step["schema"], step["agents"], step["well"], step["gave_way"]) == (
        "moltfleet.density-stage/1",
        2,
        2,
        None,
    )
    assert step["peaks"]["shm"] > 0 and step["peaks"]["processes"] > 4
    assert list(tmp_path.glob("moltfleet-density.*")) == []


@pytest.mark.parametrize("what", ["shm", "disk"])
def test_a_full_place_is_refused_by_its_name(trial: Trial, what: str) -> None:
    agent = trial("simulated_agent")
    with pytest.raises(agent.Refused) as caught:
        agent.fill(Path("/dev/full"), 1, what)
    assert caught.value.args == (what, "No space left on device")


def test_processes_that_are_refused_are_told(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = trial("simulated_agent")

    def refuse() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(agent.os, "fork", refuse)
    with pytest.raises(agent.Refused) as caught:
        agent.start_processes(2)
    assert caught.value.args == ("processes", "Resource temporarily unavailable")


def agents(trial: Trial, *scripts: str) -> list[Any]:
    """Agents that say what a script says, listened to until they end."""
    density = trial("density")
    made = []
    for script in scripts:
        process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        made.append(density.Agent(process))
        made[-1].listen()
        process.wait()
        made[-1].look()
    return made


def test_what_was_refused_first_is_what_gave_way(trial: Trial) -> None:
    found = agents(trial, "echo failed shm No space left on device; exit 1", "echo failed disk full; exit 1")
    assert trial("density").first_refusal(found) == ("shm", "No space left on device")


@pytest.mark.parametrize(
    ("script", "what"),
    [("kill -KILL $$", "memory"), ("echo ready; exit 143", "memory"), ("exit 3", "other"), ("exit 0", "other")],
)
def test_one_that_ends_without_a_word_was_ended(trial: Trial, script: str, what: str) -> None:
    (refused, said) = trial("density").first_refusal(agents(trial, script))
    assert refused == what and said.startswith("it was ended (exit status ")


def test_a_bad_command_line_is_said(trial: Trial) -> None:
    for name, arguments in (("proofs.py", ["nothing"]), ("density.py", ["many"]), ("density.py", [])):
        argv = [sys.executable, "-EsB", str(TRIALS / name), *arguments]
        assert subprocess.run(argv, capture_output=True).returncode == 2
