"""moltguest.scope: sizes, programs, settings of Node.js, messages, crashes, and what counts as contained."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from fakes.guesttree import GuestTree
from moltguest.limits import GIB, MIB, levels
from moltguest.scope import crashes, message, nodesettings, programs
from moltguest.scope.contain import NotContained, Scope, contain, negotiate, why_not_inside
from moltguest.scope.manager import Refused
from moltguest.scope.message import Property
from moltguest.scope.sizes import size
from moltguest.scope.watch import Observed
from moltguest.watchdog.cgroups import Cgroups

LEVELS = levels(1 * GIB)
SCOPE = Scope("claude-1-a.scope", "claude", LEVELS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("512", 512 * MIB),
        ("512M", 512 * MIB),
        ("8G", 8 * GIB),
        ("8g", 8 * GIB),
        ("8GiB", 8 * GIB),
        ("8GB", 8 * GIB),
        ("1.5G", 1536 * MIB),
        ("1T", 1024 * GIB),
        ("2048K", 2 * MIB),
    ],
)
def test_sizes_are_read_as_people_write_them(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "G", "8X", "-1", "8 G", "1e3", "8G8", "make", "1.G", "٣G"])
def test_what_is_no_size_is_a_command(text: str) -> None:
    assert size(text) is None


def program(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def wrapped(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A place with a wrapper of ours ahead on the PATH, in two places."""
    ours = program(tmp_path / "lib/moltfleet/1.0/bin/contained-agent")
    (tmp_path / "lib/moltfleet/current").symlink_to("1.0")
    for folder in ("sbin", "usr"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "claude").symlink_to(tmp_path / "lib/moltfleet/current/bin/contained-agent")
    assert ours.exists()
    path = os.pathsep.join(str(tmp_path / folder) for folder in ("sbin", "usr", "last"))
    return tmp_path, {"PATH": path, "HOME": str(tmp_path / "home")}


def test_an_agents_own_program_is_found_behind_the_wrappers(wrapped: tuple[Path, dict[str, str]]) -> None:
    top, environment = wrapped
    assert programs.find("claude", environment) is None
    real = program(top / "last/claude")
    assert programs.find("claude", environment) == (str(real), str(real))


def test_an_agent_in_the_home_is_found_where_the_path_does_not_lead(wrapped: tuple[Path, dict[str, str]]) -> None:
    top, environment = wrapped
    real = program(top / "home/.local/bin/claude")
    assert programs.find("claude", {**environment, "PATH": str(top / "usr")}) == (str(real), str(real))


def test_a_script_of_an_agents_name_that_starts_the_agent_comes_to_the_agent(
    wrapped: tuple[Path, dict[str, str]],
) -> None:
    top, environment = wrapped
    script, real = program(top / "usr2/claude"), program(top / "last/claude")
    environment["PATH"] = f"{top / 'usr2'}:{environment['PATH']}"
    first = programs.find("claude", environment)
    assert first == (str(script), str(script))
    second = programs.find("claude", {**environment, programs.TRIED: first[1]})
    assert second == (str(real), f"{script}:{real}")
    # The agent itself starts another one of its kind: it begins anew, and never finds none.
    assert programs.find("claude", {**environment, programs.TRIED: second[1]}) == (str(script), str(script))


def test_directories_and_files_that_cannot_be_run_are_no_programs(wrapped: tuple[Path, dict[str, str]]) -> None:
    top, environment = wrapped
    (top / "last/claude").mkdir(parents=True)
    (program(top / "home/bin/claude")).chmod(0o644)
    assert programs.find("claude", environment) is None
    assert programs.which(str(top / "last"), environment) is None


def test_machine_code_is_told_from_scripts_and_from_node(tmp_path: Path) -> None:
    assert programs.is_native(str(program(tmp_path / "claude", "\x7fELF...")))
    assert not programs.is_native(str(program(tmp_path / "gemini", "#!/usr/bin/env node\n")))
    assert not programs.is_native(str(program(tmp_path / "node", "\x7fELF...")))
    assert not programs.is_native(str(tmp_path / "nothing"))


def test_node_gets_three_quarters_and_half_of_the_processors() -> None:
    found = nodesettings.settings({}, 4000 * MIB, 8)
    assert found["NODE_OPTIONS"] == "--max-old-space-size=3000"
    assert {found[name] for name in nodesettings.WORKERS} == {"4"}
    assert nodesettings.workers(1) == 1


@pytest.mark.parametrize("heap", ["--max-old-space-size=512", "--max_old_space_size=512"])
def test_what_a_user_has_set_for_node_stays(heap: str) -> None:
    found = nodesettings.settings({"NODE_OPTIONS": f"--trace-gc {heap}", "VITEST_MAX_FORKS": "7"}, GIB, 8)
    assert "NODE_OPTIONS" not in found
    assert "VITEST_MAX_FORKS" not in found
    assert found["VITEST_MAX_THREADS"] == "4"


def test_other_options_stay_beside_the_heap_and_a_scope_in_a_scope_gets_its_own() -> None:
    outer = nodesettings.settings({"NODE_OPTIONS": "--trace-gc"}, 4000 * MIB, 8)
    assert outer["NODE_OPTIONS"] == "--trace-gc --max-old-space-size=3000"
    assert not nodesettings.has_heap(outer)
    assert nodesettings.settings(outer, 1000 * MIB, 8)["NODE_OPTIONS"] == "--trace-gc --max-old-space-size=750"


def inside(tree: GuestTree, group: str, **files: int | str) -> None:
    tree.process(70, "/usr/bin/sleep", cgroup=group)
    for name, value in files.items():
        tree.write(f"sys/fs/cgroup{group}/{name.replace('_', '.')}", f"{value}\n")


GROUP = f"/user.slice/user-1000.slice/user@1000.service/agents.slice/{SCOPE.unit}"


def test_a_process_with_the_limits_that_were_asked_for_is_inside(tree: GuestTree) -> None:
    inside(tree, GROUP, memory_max=LEVELS.max, memory_high=LEVELS.high)
    assert why_not_inside(70, SCOPE, str(tree.root)) == ""


@pytest.mark.parametrize(
    ("group", "files", "why"),
    [
        ("/user.slice/session-3.scope", {}, "it runs in /user.slice/session-3.scope"),
        (f"/app.slice/{SCOPE.unit}", {}, f"its group /app.slice/{SCOPE.unit} is not below agents.slice"),
        (GROUP, {}, "its manager may not limit memory"),
        (GROUP, {"memory_max": "max", "memory_high": LEVELS.high}, "its memory.max is max"),
        (GROUP, {"memory_max": LEVELS.max, "memory_high": 5 * MIB}, "its memory.high is 5 MiB"),
    ],
)
def test_anything_less_does_not_count(tree: GuestTree, group: str, files: dict[str, int | str], why: str) -> None:
    inside(tree, group, **files)
    assert why_not_inside(70, SCOPE, str(tree.root)) == why


def test_a_process_that_has_gone_is_not_inside(tree: GuestTree) -> None:
    assert why_not_inside(99, SCOPE, str(tree.root)) == "it runs in no group"


class OldManager:
    """Knows some properties, and refuses a call with any other, naming it or not."""

    def __init__(self, *unknown: str, says_which: bool = True) -> None:
        self.unknown, self.says_which = unknown, says_which
        self.asked: list[list[str]] = []

    def start_scope(self, unit: str, properties: tuple[Property, ...]) -> None:
        self.asked.append([found.name for found in properties])
        for name in self.unknown:
            if name in self.asked[-1]:
                named = f"Cannot set property {name}, or unknown property." if self.says_which else "Unknown property"
                raise Refused("org.freedesktop.DBus.Error.PropertyReadOnly", named)


def asked(manager: OldManager) -> tuple[str, ...]:
    return negotiate(manager, SCOPE.unit, SCOPE.properties(70))  # type: ignore[arg-type]


def test_an_older_systemd_is_asked_again_without_what_it_does_not_know() -> None:
    assert asked(OldManager()) == ()
    older = OldManager("OOMPolicy", "CollectMode")
    assert asked(older) == ("OOMPolicy", "CollectMode")
    assert {"MemoryHigh", "MemoryMax", "MemorySwapMax", "Slice", "PIDs"} <= set(older.asked[-1])
    silent = OldManager("OOMPolicy", says_which=False)
    assert "OOMPolicy" in asked(silent)
    assert {"MemoryHigh", "MemoryMax", "Slice"} <= set(silent.asked[-1])


def test_a_limit_is_never_left_out() -> None:
    with pytest.raises(Refused, match="MemoryMax"):
        asked(OldManager("MemoryMax"))


def test_whoever_cannot_be_contained_is_told_all_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_manager(pid: int, scope: Scope) -> None:
        raise Refused("", "[Errno 2] No such file or directory")

    def no_sudo(pid: int, scope: Scope) -> None:
        raise NotContained("sudo: a password is required")

    monkeypatch.setattr("moltguest.scope.contain.ways", lambda: [("manager", no_manager), ("sudo", no_sudo)])
    with pytest.raises(NotContained, match=r"manager: \[Errno 2\].*; sudo: sudo: a password is required"):
        contain(70, SCOPE)


def reply(kind: int, serial: int, text: str, error: str = "") -> bytes:
    """A message as a manager sends it, put together by hand."""
    fields = b""
    if error:
        raw = error.encode() + b"\0"
        fields += b"\x04\x01s\0" + struct.pack("<I", len(raw) - 1) + raw
        fields += bytes(-len(fields) % 8)
    fields += b"\x05\x01u\0" + struct.pack("<I", serial) + b"\x08\x01g\0\x01s\0"
    body = struct.pack("<I", len(text)) + text.encode() + b"\0"
    head = b"l" + bytes([kind, 0, 1]) + struct.pack("<III", len(body), 9, len(fields))
    return head + fields + bytes(-len(fields) % 8) + body


def test_answers_and_errors_are_told_apart() -> None:
    answer = message.parse(reply(message.RETURN, 7, "/job/1"))
    assert (answer.serial, answer.error, answer.text, answer.is_reply) == (7, "", "/job/1", True)
    refused = message.parse(reply(message.ERROR, 8, "No.", "org.x.Error"))
    assert (refused.serial, refused.error, refused.text) == (8, "org.x.Error", "No.")


@pytest.mark.parametrize("cut", [3, 15, 17, 30])
def test_what_is_no_message_is_refused(cut: int) -> None:
    whole = reply(message.RETURN, 7, "/job/1")
    assert message.lengths(whole[:16]) == len(whole) - 16
    with pytest.raises(ValueError, match="message"):
        message.parse(whole[:cut])


def test_a_message_in_another_byte_order_or_without_end_is_refused() -> None:
    with pytest.raises(ValueError, match="byte order"):
        message.lengths(b"B" + bytes(15))
    with pytest.raises(ValueError, match="too long"):
        message.lengths(b"l\x02\0\x01" + struct.pack("<III", 1 << 30, 1, 0))


def test_the_kernels_kills_are_told_by_the_limit_that_they_are_for(tree: GuestTree) -> None:
    path = tree.scope("claude-1", used=900)
    cgroups = Cgroups(str(tree.root))
    observed = Observed(path, "/agents.slice")
    tree.write("sys/fs/cgroup/agents.slice/memory.events", "oom_kill 3\n")
    observed.slice_kills_before = 3
    assert observed.why_killed(cgroups, GIB, killed=True) == ""

    # The scope went before it could be asked.
    tree.write("sys/fs/cgroup/agents.slice/memory.events", "oom_kill 4\n")
    assert observed.why_killed(cgroups, GIB, killed=True) == "it reached its limit of 1.0 GiB"
    assert observed.why_killed(cgroups, GIB, killed=False) == ""

    tree.write(f"sys/fs/cgroup{path}/memory.events", "oom 0\noom_kill 1\n")
    observed.look(cgroups)
    assert observed.why_killed(cgroups, GIB, killed=True) == "all agents together reached their limit"
    tree.write(f"sys/fs/cgroup{path}/memory.events", "oom 1\noom_kill 1\n")
    observed.look(cgroups)
    assert observed.why_killed(cgroups, GIB, killed=False) == "it reached its limit of 1.0 GiB"
    assert observed.used == observed.peak == 900 * MIB


def test_a_crash_is_one_line_with_its_cause_and_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    observed = Observed("/a", "/b", used=900 * MIB, peak=1000 * MIB)
    crashes.note("claude", 137, observed, "it reached its limit of 1.0 GiB")
    assert not Path(crashes.path(str(tmp_path))).exists()
    monkeypatch.setenv(crashes.SESSION, "wo\nrk")
    crashes.note("claude", 137, observed, "it reached its limit of 1.0 GiB")

    (line,) = Path(crashes.path(str(tmp_path))).read_text().splitlines()
    assert 'session=wo\\nrk program=claude status=137 cause="it reached its limit of 1.0 GiB"' in line
    assert "used=900MiB peak=1000MiB guest_available=" in line


def test_the_crash_log_does_not_grow_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(crashes.SESSION, "work")
    log = Path(crashes.path(str(tmp_path)))
    log.parent.mkdir()
    log.write_text("x" * 99 + "\n" + ("y" * 99 + "\n") * 11000)
    crashes.note("claude", 137, Observed("/a", "/b"), "signal 9")

    lines = log.read_text().splitlines()
    assert log.stat().st_size < 600_000
    assert all(line == "y" * 99 for line in lines[:-1])
    assert "signal 9" in lines[-1]


def test_causes_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashes, "_watchdogs_word", lambda: "")
    assert crashes.cause(137, "it reached its limit") == "it reached its limit"
    assert crashes.cause(134, "") == "aborted, as Node.js does when its heap is full"
    assert crashes.cause(143, "") == "signal 15"
    assert crashes.cause(1, "") == "exit status 1"
    monkeypatch.setattr(crashes, "_watchdogs_word", lambda: "watchdog: ended claude")
    assert crashes.cause(143, "") == "watchdog: ended claude"
