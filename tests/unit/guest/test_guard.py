"""The watchdog over a guest of files: who is ended, how, and what is left alone."""

from __future__ import annotations

import itertools
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from fakes.guesttree import MIB, SESSION, GuestTree, Scene
from moltguest.watchdog.guard import Guard
from moltguest.watchdog.processes import Processes

CLAUDE = "/home/agent/.local/share/claude/versions/2.1.224"


def a_leaking_scope(tree: GuestTree, *, used: int = 1800, most: int = 2000) -> str:
    """A scope over its term (1748 of 2000 MiB) with an agent that has most of the memory."""
    scope = tree.scope("run-claude.scope", used, most=most)
    tree.process(100, CLAUDE, memory=used - 100, cgroup=scope, terminal=0x8801)
    tree.process(101, "/usr/bin/bash", parent=100, memory=5, cgroup=scope)
    return scope


def test_an_agent_over_its_term_is_asked_to_end_and_its_children_follow(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    assert scene.sent == [(100, "SIGTERM")]
    assert tree.was_killed_as_a_whole(scope)
    assert scene.log.kinds()[-2:] == ["asked", "outcome"]
    fields = scene.log.of("outcome")[0].fields
    assert (fields["result"], fields["agent"], fields["pid"], fields["owner"]) == ("ended", "claude", 100, 1000)
    assert (fields["threshold"], fields["peak"]) == (1748 * MIB, 1800 * MIB)
    assert fields["signals"] == "SIGTERM cgroup.kill"


def test_an_agent_below_its_term_is_only_warned_about(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree, used=1700)

    scene.run(60)

    assert scene.sent == []
    assert scene.log.kinds() == ["warn"]


def test_a_warning_comes_again_only_after_it_was_over(tree: GuestTree, scene: Scene) -> None:
    for used in (1700, 1690, 1100, 900, 1700):
        a_leaking_scope(tree, used=used)
        scene.tick(5)

    assert scene.log.kinds() == ["warn", "warn"]


def test_caches_that_can_be_dropped_are_nobodys_leak(tree: GuestTree, scene: Scene) -> None:
    tree.scope("build.scope", 300, most=2000, cache=1650)

    scene.run(30)

    assert scene.log.kinds() == []
    (group,) = scene.guard.census.groups
    assert group.used == 300 * MIB


def test_files_in_memory_count_as_the_agents_own(tree: GuestTree, scene: Scene) -> None:
    scope = tree.scope("run-claude.scope", 1800, most=2000, shmem=1700)
    tree.process(100, CLAUDE, memory=90, cgroup=scope)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    assert scene.sent == [(100, "SIGTERM")]


def test_one_that_does_not_obey_is_killed_after_its_grace(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree)

    scene.tick(1)
    scene.tick(0.9)
    assert scene.sent == [(100, "SIGTERM")]
    scene.run(20)

    assert scene.sent == [(100, "SIGTERM"), (100, "SIGKILL")]
    outcome = scene.log.of("outcome")[0].fields
    # 100 MiB to its high at no growth at all: the longest grace.
    assert outcome["result"] == "ended" and 10 <= float(outcome["seconds"]) < 11


def test_one_that_grows_on_is_killed_before_it_reaches_its_limit(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree, used=1500)
    for used in range(1500, 2000, 20):
        tree.scope("run-claude.scope", used, most=2000)
        scene.tick(0.1)
        if (100, "SIGKILL") in scene.sent:
            break

    assert scene.sent == [(100, "SIGTERM"), (100, "SIGKILL")]
    # Asked at 1748; at 200 MiB/s it would be over in a second, and is given 0.3 s of it.
    assert used <= 1840
    assert scope


def test_those_who_grow_on_without_their_agent_are_not_waited_for(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree, used=1500)
    scene.signals.reactions[100] = lambda _: tree.end(100)
    for used in range(1500, 2000, 20):
        tree.scope("run-claude.scope", used, most=2000)
        scene.tick(0.1)
        if tree.was_killed_as_a_whole(scope):
            break

    assert scene.sent == [(100, "SIGTERM")]
    # A second to follow would end at 1960.
    assert used <= 1860


def test_one_that_gave_its_memory_back_is_left_alone(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree)
    scene.signals.reactions[100] = lambda _: tree.scope("run-claude.scope", 200, most=2000) and None

    scene.run(30)

    assert scene.sent == [(100, "SIGTERM")]
    assert scene.log.of("outcome")[0].fields["result"] == "recovered"


def test_one_that_recovered_between_the_look_and_the_signal_gets_none(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree)
    scene.signals.opening = lambda _: tree.scope("run-claude.scope", 200, most=2000) and None

    scene.tick()

    assert scene.sent == []
    assert scene.log.of("outcome")[0].fields["result"] == "recovered"
    assert scene.signals.held == 0


def test_a_number_that_is_somebody_elses_by_now_gets_no_signal(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree)

    def reuse(pid: int) -> None:
        tree.process(pid, CLAUDE, cgroup=scope, memory=1700)

    scene.signals.opening = reuse
    scene.tick()

    assert scene.sent == []
    assert scene.log.of("outcome")[0].fields["result"] == "changed"


@pytest.mark.parametrize("change", ["program", "group", "protected"])
def test_one_that_is_not_what_it_was_gets_no_signal(tree: GuestTree, scene: Scene, change: str) -> None:
    scope = a_leaking_scope(tree)
    start = tree.start - 1

    def become(pid: int) -> None:
        executable = {"program": "/usr/bin/vim", "group": CLAUDE, "protected": "/usr/sbin/sshd"}[change]
        tree.process(pid, executable, cgroup=SESSION if change == "group" else scope, start=start)

    scene.signals.opening = become
    scene.tick()

    assert scene.sent == []


def test_one_that_turns_into_another_program_in_its_grace_is_not_killed(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree)
    start = tree.start - 1
    scene.signals.reactions[100] = lambda _: tree.process(100, "/usr/bin/vim", cgroup=scope, start=start) and None

    scene.tick()
    tree.scope("run-claude.scope", 1000, most=2000)
    scene.run(15)

    assert scene.sent == [(100, "SIGTERM")]


@pytest.mark.parametrize("takes_s", [2, 5])
def test_one_that_takes_its_time_to_end_is_waited_for(tree: GuestTree, scene: Scene, takes_s: int) -> None:
    scope = a_leaking_scope(tree, used=1900)
    start = tree.start - 1
    # Its memory is being freed: it is there still, and runs no program any more.
    scene.signals.reactions[100] = lambda _: tree.process(100, None, cgroup=scope, start=start) and None

    scene.run(takes_s)
    assert scene.log.of("outcome") == []
    tree.end(100)
    tree.end(101)
    scene.run(2)

    assert scene.sent == [(100, "SIGTERM")]
    assert scene.log.of("outcome")[0].fields["result"] == "ended"


def test_one_on_its_way_out_does_not_keep_its_group_from_being_ended_at_once(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree)
    tree.process(102, None, cgroup=scope)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    assert scene.sent == [(100, "SIGTERM")]
    assert tree.was_killed_as_a_whole(scope)


def test_one_that_never_gets_gone_is_told(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree, used=1900)
    start = tree.start - 1
    scene.signals.reactions[100] = lambda _: tree.process(100, None, cgroup=scope, start=start) and None

    scene.run(30)

    assert scene.log.of("outcome")[0].fields["result"] == "stuck"


def test_a_child_that_holds_the_memory_goes_alone(tree: GuestTree, scene: Scene) -> None:
    scope = tree.scope("run-claude.scope", 1800, most=2000)
    tree.process(100, CLAUDE, memory=300, cgroup=scope)
    tree.process(101, "/usr/bin/ugrep", parent=100, memory=1400, cgroup=scope)

    def obey(_: signal.Signals) -> None:
        tree.end(101)
        tree.scope("run-claude.scope", 400, most=2000)

    scene.signals.reactions[101] = obey
    scene.run(30)

    assert scene.sent == [(101, "SIGTERM")]
    assert not tree.was_killed_as_a_whole(scope)
    fields = scene.log.of("outcome")[0].fields
    assert (fields["result"], fields["whole"]) == ("ended", 0)
    assert scene.backoff.wait_s("claude@1000", scene.now) == 0.0


def test_the_agent_goes_too_when_its_child_was_not_enough(tree: GuestTree, scene: Scene) -> None:
    scope = tree.scope("run-claude.scope", 1800, most=2000)
    tree.process(100, CLAUDE, memory=300, cgroup=scope)
    tree.process(101, "/usr/bin/ugrep", parent=100, memory=1400, cgroup=scope)
    scene.signals.reactions[101] = lambda _: tree.end(101)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(5)

    assert scene.sent == [(101, "SIGTERM"), (100, "SIGTERM")]
    assert [event.fields["result"] for event in scene.log.of("outcome")] == ["not-enough", "ended"]


def test_three_hundred_children_of_which_none_is_large_go_with_their_agent(tree: GuestTree, scene: Scene) -> None:
    scope = tree.scope("run-claude.scope", 1800, most=2000)
    tree.process(100, CLAUDE, memory=60, cgroup=scope)
    for pid in range(1000, 1300):
        tree.process(pid, "/usr/bin/node", parent=100, memory=6, cgroup=scope)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    assert scene.sent == [(100, "SIGTERM")]
    assert tree.was_killed_as_a_whole(scope)


def test_without_a_group_kill_each_one_is_killed(tree: GuestTree, scene: Scene) -> None:
    scope = tree.scope("run-claude.scope", 1800, most=2000, killable=False)
    tree.process(100, CLAUDE, memory=1700, cgroup=scope)
    tree.process(101, "/usr/bin/node", parent=100, memory=5, cgroup=scope)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    assert scene.sent == [(100, "SIGTERM"), (101, "SIGSTOP"), (101, "SIGKILL")]


def test_whoever_is_protected_in_a_group_survives_its_end(tree: GuestTree, scene: Scene) -> None:
    scope = a_leaking_scope(tree)
    tree.process(102, "/usr/bin/tmux", parent=100, memory=5, cgroup=scope)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    assert scene.sent == [(100, "SIGTERM"), (101, "SIGSTOP"), (101, "SIGKILL")]
    assert not tree.was_killed_as_a_whole(scope)


def test_a_group_of_nobody_that_may_be_ended_is_told_and_not_looked_at_all_the_time(
    tree: GuestTree, scene: Scene
) -> None:
    scope = tree.scope("odd.scope", 1900, most=2000)
    tree.process(102, "/usr/bin/tmux", memory=1800, cgroup=scope)

    scene.run(14)

    assert scene.sent == []
    assert scene.log.kinds().count("nobody") == 1


def test_an_agent_in_no_scope_goes_with_everything_below_it(tree: GuestTree, scene: Scene) -> None:
    tree.process(50, "/usr/bin/bash", memory=10)
    tree.process(100, CLAUDE, parent=50, memory=1200)
    tree.process(101, "/usr/bin/node", parent=100, memory=600)
    tree.process(102, "/usr/bin/node", parent=101, memory=600)
    tree.process(60, "/usr/bin/bash", memory=3000)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    # Its end is at 2237 MiB in this guest.
    assert scene.sent == [
        *((100, "SIGTERM"), (101, "SIGSTOP"), (102, "SIGSTOP"), (101, "SIGKILL"), (102, "SIGKILL")),
    ]
    assert scene.log.of("uncontained")[0].message == (
        "Agent claude (pid 100) runs in no scope: start it as run-limited claude"
    )


def test_pages_that_processes_share_count_once(tree: GuestTree, scene: Scene) -> None:
    tree.process(100, CLAUDE, memory=900, share=300)
    for pid in range(101, 105):
        tree.process(pid, CLAUDE, parent=100, memory=900, share=200)

    scene.run(30)

    assert scene.sent == []
    (group,) = scene.guard.census.groups
    assert group.used < 2237 * MIB


def test_one_process_that_is_over_by_itself_is_not_asked_for_its_share(
    tree: GuestTree, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(Processes, "share", lambda _, pid: asked.append(pid))
    tree.process(100, CLAUDE, memory=2400)
    tree.process(101, "/usr/bin/node", parent=100, memory=20)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(3)

    assert scene.sent[0] == (100, "SIGTERM")
    assert asked == []
    # Files in memory may be anybody's.
    tree.process(200, CLAUDE, shmem=2400)
    scene.run(20)
    assert 200 in asked


def test_children_that_are_forked_meanwhile_go_too(tree: GuestTree, scene: Scene) -> None:
    tree.process(100, CLAUDE, memory=2400)
    tree.process(101, "/usr/bin/node", parent=100, memory=1)
    scene.signals.reactions[100] = lambda _: tree.end(100)

    def fork(number: signal.Signals) -> None:
        if number is signal.SIGSTOP:
            tree.process(102, "/usr/bin/node", parent=101, memory=1)
        else:
            tree.end(101)

    scene.signals.reactions[101] = fork
    scene.run(3)

    assert [pid for pid, name in scene.sent if name == "SIGKILL"] == [101, 102]


def test_a_child_stays_its_agents_when_its_parent_has_ended(tree: GuestTree, scene: Scene) -> None:
    tree.process(100, CLAUDE, memory=100)
    tree.process(101, "/usr/bin/bash", parent=100, memory=5)
    tree.process(102, "/usr/bin/node", parent=101, memory=10)
    scene.tick()
    start = tree.start
    tree.end(101)
    tree.process(102, "/usr/bin/node", parent=1, memory=2300, start=start)

    scene.run(20)

    assert scene.sent[0] == (102, "SIGTERM")


def test_an_agent_that_leaves_its_scope_is_told_and_still_watched(tree: GuestTree, scene: Scene) -> None:
    scope = tree.scope("run-x.scope", 500, most=2000)
    tree.process(100, "/opt/agent", memory=400, cgroup=scope)
    scene.tick()
    tree.process(100, "/opt/agent", memory=2400, cgroup=SESSION, start=tree.start)
    tree.scope("run-x.scope", 100, most=2000)

    scene.run(20)

    event = scene.log.of("uncontained")[0]
    assert event.message == "Agent agent (pid 100) has left its scope run-x.scope"
    assert (100, "SIGTERM") in scene.sent


@pytest.mark.parametrize(
    ("executable", "argv", "comm"),
    [
        ("/usr/bin/python3", ("leak.py", "claude"), "python3"),
        ("/usr/bin/bash", ("-c", "claude --continue; node /usr/lib/node_modules/@openai/codex/bin/codex.js"), "bash"),
        ("/usr/bin/python3", ("/usr/local/bin/claude",), "claude"),
        ("/usr/bin/vim", ("/home/agent/.local/share/claude/versions/2.1.224",), "claude"),
        ("/usr/bin/node", ("server.js", "/usr/local/bin/claude"), "node"),
        ("/usr/bin/node", ("-e", "claude"), "node"),
        ("/home/agent/claude/server", (), "server"),
        ("/usr/bin/node", ("/home/agent/claude.js",), "node"),
    ],
)
def test_whoever_is_an_agent_in_words_only_is_left_alone(
    tree: GuestTree, scene: Scene, executable: str, argv: tuple[str, ...], comm: str
) -> None:
    tree.write("home/agent/claude.js", "")
    tree.process(100, executable, argv=argv, comm=comm, memory=3500)
    tree.memory(200)

    scene.run(30)

    assert scene.sent == []
    assert scene.guard.census.groups == []


def test_when_all_agents_together_are_too_large_the_one_that_grows_goes(tree: GuestTree, scene: Scene) -> None:
    tree.slice(most=2560)
    idle = tree.scope("idle.scope", 1300, most=2000)
    leaking = tree.scope("leaking.scope", 400, most=2000)
    tree.process(100, CLAUDE, memory=1200, cgroup=idle)
    tree.process(200, CLAUDE, memory=900, cgroup=leaking)
    scene.signals.reactions[200] = lambda _: tree.end(200)
    scene.tick()
    for used in (600, 800, 950):
        tree.scope("leaking.scope", used, most=2000)
        tree.slice(used=1300 + used, most=2560)
        scene.tick(5)

    assert scene.sent == [(200, "SIGTERM")]
    assert scene.log.of("asked")[0].fields["reason"] == "agents"


def test_when_the_guest_runs_out_the_largest_growing_agent_goes_once_per_cool_down(
    tree: GuestTree, scene: Scene
) -> None:
    for number, used in ((1, 700), (2, 800), (3, 600)):
        scope = tree.scope(f"a{number}.scope", used, most=2000)
        tree.process(100 * number, CLAUDE, memory=used, cgroup=scope)
    scene.tick()
    tree.memory(200)

    scene.run(14)
    assert [pid for pid, name in scene.sent if name == "SIGTERM"] == [200]
    scene.run(20)
    assert [pid for pid, name in scene.sent if name == "SIGTERM"] == [200, 100]


def test_a_small_agent_is_not_blamed_for_what_somebody_else_uses(tree: GuestTree, scene: Scene) -> None:
    tree.process(60, "/usr/bin/dockerd", memory=3700, cgroup="/system.slice/docker.service")
    scope = tree.scope("a.scope", 150, most=2000)
    tree.process(100, CLAUDE, memory=120, cgroup=scope)
    tree.memory(100)

    scene.run(50)

    assert scene.sent == []
    assert scene.log.kinds() == ["nobody"]


def test_one_group_over_its_own_term_does_not_wait_for_anothers_cool_down(tree: GuestTree, scene: Scene) -> None:
    for number in (1, 2):
        scope = tree.scope(f"a{number}.scope", 1800, most=2000)
        tree.process(100 * number, CLAUDE, memory=1700, cgroup=scope)
        scene.signals.reactions[100 * number] = lambda _, number=number: tree.end(100 * number)  # type: ignore[misc]

    scene.run(4)

    assert sorted(scene.sent) == [(100, "SIGTERM"), (200, "SIGTERM")]


def test_one_that_cannot_be_killed_is_told_and_tried_again_later(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree)
    scene.signals.reactions[100] = lambda _: None

    scene.run(24)

    assert scene.log.of("outcome")[0].fields["result"] == "stuck"
    assert len(scene.sent) == 2
    scene.run(15)
    assert len(scene.sent) > 2


def test_a_dry_run_says_what_it_would_do_and_does_nothing(tree: GuestTree) -> None:
    scene = Scene(tree, dry=True)
    scope = a_leaking_scope(tree)

    scene.run(14)

    assert scene.sent == []
    assert not tree.was_killed_as_a_whole(scope)
    assert [event.fields["result"] for event in scene.log.of("outcome")] == ["dry-run"]
    assert not (tree.root / "run").exists()


def test_the_person_in_front_of_the_agent_reads_why(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree)

    scene.run(15)

    ((terminal, message),) = scene.told
    assert terminal == 0x8801
    assert message == (
        "claude was ended: 1.8 GiB used, 1.7 GiB allowed. Start it again in 3 s. More: journalctl -u moltfleet-watchdog"
    )


def test_the_last_minutes_are_kept_with_the_kill(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree, used=500)
    scene.run(30)
    a_leaking_scope(tree)
    scene.run(15)

    path = Path(str(scene.log.of("outcome")[0].fields["recording"]))
    lines = path.read_text().splitlines()
    assert '"moltfleet.recording/1"' in lines[0] and len(lines) > 10
    assert path.stat().st_size <= 64 << 10


def test_an_agent_that_is_ended_again_and_again_is_not_to_be_started_any_more(tree: GuestTree, scene: Scene) -> None:
    waits = []
    for _ in range(4):
        a_leaking_scope(tree)
        scene.run(15)
        waits.append(scene.log.of("outcome")[-1].fields["restart_wait"])
        scene.restart()
        tree.drop("/agents.slice/run-claude.scope")

    assert waits == [3.0, 5.0, 10.0, -1.0]
    assert "too often" in scene.told[-1][1]
    assert scene.backoff.disabled(scene.now) == ["claude@1000"]


def test_a_full_disk_costs_the_recording_and_nothing_else(
    tree: GuestTree, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", refuse)
    a_leaking_scope(tree)

    scene.run(30)

    assert scene.log.of("outcome")[0].fields["result"] == "ended"
    problems = [event.message for event in scene.log.of("problem")]
    assert len(problems) == 3 and all("No space" in text or "recording" in text for text in problems)


def test_a_guest_without_cgroups_of_version_2_is_polled_and_told_so(tmp_path: Path) -> None:
    tree = GuestTree(tmp_path, unified=False)
    scene = Scene(tree)
    tree.process(100, CLAUDE, memory=2400, cgroup="/")
    scene.signals.reactions[100] = lambda _: tree.end(100)

    scene.run(5)

    assert scene.sent == [(100, "SIGTERM")]
    assert scene.log.of("problem")[0].message == (
        "cgroups are not version 2: agents are found by their executables only, and polled"
    )


def test_entries_that_cannot_be_read_are_told_once(
    tree: GuestTree, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    real = os.open

    def refuse(path: str, *rest: int) -> int:
        if str(path).endswith("/70/stat"):
            raise PermissionError(13, "Permission denied")
        return real(path, *rest)

    monkeypatch.setattr("os.open", refuse)
    tree.process(70, "/usr/bin/vim")
    a_leaking_scope(tree)

    scene.run(30)

    assert [event.message for event in scene.log.of("problem")] == [
        "1 processes cannot be read: /proc hides them, or a capability is missing"
    ]
    assert (100, "SIGTERM") in scene.sent


def test_a_program_that_was_replaced_on_disk_is_known_still(tree: GuestTree, scene: Scene) -> None:
    tree.process(100, f"{CLAUDE} (deleted)", memory=2400)

    scene.run(3)

    assert scene.sent[0] == (100, "SIGTERM")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "x" * 4000, ") S 1 1 1 0", "\udcff\udcfe"])
def test_names_are_data(tree: GuestTree, scene: Scene, name: str) -> None:
    scope = tree.scope("run-claude.scope", 1800, most=2000)
    tree.process(100, "/opt/" + name.replace("/", "")[:200], comm=name, memory=1700, cgroup=scope)

    scene.run(15)

    assert scene.sent[0] == (100, "SIGTERM")
    for event in scene.log.written:
        assert event.message.isprintable() and len(event.message) < 300
        assert all(str(value).isprintable() for value in event.fields.values())
    assert all(message.isprintable() for _, message in scene.told)


def test_a_thousand_processes_are_no_trouble(tree: GuestTree, scene: Scene) -> None:
    for pid in range(1000, 2000):
        tree.process(pid, "/usr/bin/node" if pid % 2 else "/usr/bin/vim", memory=1)
    tree.process(100, CLAUDE, memory=2400)

    scene.tick()

    assert scene.sent[0] == (100, "SIGTERM")


def test_time_that_stands_still_or_goes_back_ends_nobody_too_early(tree: GuestTree, scene: Scene) -> None:
    a_leaking_scope(tree, used=1000)
    for step in (5, 0, -3600, 0, 7200, 1):
        scene.tick(step)

    assert scene.sent == []
    assert scene.guard.census.groups[0].growth.rate == 0


def test_a_changed_configuration_is_taken_up(tree: GuestTree, scene: Scene) -> None:
    scope = tree.scope("a.scope", 900, most=2000)
    tree.process(100, CLAUDE, memory=800, cgroup=scope)
    scene.run(5)
    assert scene.sent == []

    tree.settings("WATCHDOG_KILL_MB=800\nWATCHDOG_WARN_MB=x\n")
    scene.run(15)

    assert (100, "SIGTERM") in scene.sent
    assert "guest.conf:2: WATCHDOG_WARN_MB: 'x' is not a number" in scene.log.of("problem")[0].message


def test_limits_follow_the_guests_memory(tree: GuestTree, scene: Scene) -> None:
    scene.tick()
    tree.memory(7000, total=8192)
    scene.tick(11)

    assert scene.guard.limits.total == 8192 * MIB


def test_what_the_kernel_ended_is_told(tree: GuestTree, scene: Scene) -> None:
    tree.slice(kernel_kills=2)
    tree.write("proc/vmstat", "oom_kill 5\n")
    scene.tick()
    tree.slice(kernel_kills=3)
    tree.write("proc/vmstat", "oom_kill 8\n")
    scene.tick(11)

    said = [event.message for event in scene.log.of("kernel-kill")]
    assert "The kernel ended 1 process for want of memory in /agents.slice" in said
    assert "The kernel ended 2 processes for want of memory in the guest" in said


def test_the_state_is_there_for_whoever_looks(tree: GuestTree, scene: Scene) -> None:
    import json

    scope = tree.scope("a.scope", 900, most=2000)
    tree.process(100, CLAUDE, memory=800, cgroup=scope)
    scene.run(12)

    state = json.loads((tree.root / "run/moltfleet/watchdog/state.json").read_text())

    assert state["schema"] == "moltfleet.watchdog/1"
    (group,) = state["groups"]
    assert (group["agent"], group["contained"], group["used"]) == ("claude", True, 900 * MIB)
    assert (group["term"], group["max"]) == (1748 * MIB, 2000 * MIB)


def test_it_looks_often_only_when_it_has_to(tree: GuestTree, scene: Scene) -> None:
    assert scene.tick() == pytest.approx(0.25 * (3686 - 286) / 500, abs=0.01), "an agent may come at any time"
    a_leaking_scope(tree, used=1000)
    assert scene.tick(1) == pytest.approx(0.25 * 748 / 500, abs=0.01)
    a_leaking_scope(tree, used=1700)
    assert scene.tick(60) == 0.1
    tree.memory(16000, total=16384)
    tree.drop("/agents.slice/run-claude.scope")
    assert scene.tick(60) == 5.0


def test_where_looking_is_slow_it_is_done_seldom_but_not_while_memory_goes_away(tree: GuestTree, scene: Scene) -> None:
    # Every look at all processes takes 0.3 s.
    clock = itertools.count(0, 0.3)
    scene.guard = Guard(replace(scene.world, stopwatch=lambda: next(clock)), dry=False)
    scene.tick()
    tree.process(100, CLAUDE, memory=600)
    scene.run(25)
    assert scene.guard.census.groups == []

    tree.memory(3000)
    scene.run(4)
    assert [group.name for group in scene.guard.census.groups] == ["claude"]


def test_a_slow_look_at_all_processes_does_not_keep_the_next_look_at_memory_away(
    tree: GuestTree, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    passed = [0.0]
    guard = Guard(replace(scene.world, stopwatch=lambda: passed[0]), dry=False)
    monkeypatch.setattr(guard.census, "discover", lambda: passed.__setitem__(0, passed[0] + 0.5) or [])
    a_leaking_scope(tree, used=1700)

    assert guard.tick() == pytest.approx(0.1)
    assert passed == [0.5]


def test_a_scope_that_comes_right_after_a_look_is_looked_into_soon(tree: GuestTree, scene: Scene) -> None:
    scene.tick()
    scope = a_leaking_scope(tree, used=300)
    scene.tick(0.2)
    assert scene.guard.census.groups[0].name == "run-claude"

    scene.run(3)
    assert (scene.guard.census.groups[0].key, scene.guard.census.groups[0].name) == (scope, "claude")
