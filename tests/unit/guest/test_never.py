"""Property: in any guest, however it is made up, nobody gets a signal who is no agent or is protected."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fakes.guesttree import SESSION, GuestTree, Scene

AGENT = ("/usr/local/bin/claude", "/home/agent/.local/share/claude/versions/2.1.165")
SYSTEM = (
    *("/usr/sbin/sshd", "/usr/bin/tmux", "/usr/lib/systemd/systemd", "/usr/lib/systemd/systemd-journald"),
    *("/usr/bin/dbus-daemon", "/usr/bin/dockerd", "/usr/sbin/qemu-ga"),
)
OTHERS = ("/usr/bin/bash", "/usr/bin/node", "/usr/bin/python3", "/usr/bin/vim")
SCOPES = ("/agents.slice/a.scope", "/agents.slice/b.scope")
GROUPS = (*SCOPES, SESSION, "/system.slice/ssh.service", "/user.slice/user-1000.slice/session-4.scope", "/init.scope")


@dataclass(frozen=True, slots=True)
class Made:
    """One process of a made-up guest; the parent is one of those before it."""

    executable: str
    cgroup: str
    parent: int
    memory: int
    words: tuple[str, ...]


made = st.builds(
    Made,
    st.sampled_from(AGENT + SYSTEM + OTHERS),
    st.sampled_from(GROUPS),
    st.integers(0, 20),
    st.sampled_from([1, 50, 400, 1500, 3000]),
    st.sampled_from([(), ("claude",), ("/usr/local/bin/claude", "codex")]),
)


def build(tree: GuestTree, processes: list[Made]) -> None:
    for scope in SCOPES:
        used = sum(process.memory for process in processes if process.cgroup == scope)
        tree.scope(scope.rsplit("/", 1)[-1], used, most=2000)
    for number, process in enumerate(processes):
        parent = 100 + process.parent % number if number and process.parent else 1
        tree.process(
            100 + number,
            process.executable,
            parent=parent,
            cgroup=process.cgroup,
            memory=process.memory,
            argv=process.words,
        )


def below_an_agent(processes: list[Made], number: int) -> bool:
    """Whether a process is an agent or stands below one."""
    seen = set()
    while number not in seen:
        seen.add(number)
        if processes[number].executable in AGENT:
            return True
        if not number or not processes[number].parent:
            return False
        number = processes[number].parent % number
    return False


@pytest.mark.parametrize("obedient", [True, False])
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(processes=st.lists(made, min_size=1, max_size=14), available=st.sampled_from([50, 200, 3000]))
def test_only_agents_and_what_they_started_ever_get_a_signal(
    processes: list[Made], available: int, obedient: bool
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        tree = GuestTree(Path(directory))
        build(tree, processes)
        tree.memory(available)
        scene = Scene(tree)
        if obedient:
            for number in range(len(processes)):
                scene.signals.reactions[100 + number] = lambda _, pid=100 + number: tree.end(pid)  # type: ignore[misc]

        scene.run(16)

        for pid, _ in scene.sent:
            process = processes[pid - 100]
            assert process.executable not in SYSTEM
            assert process.cgroup in SCOPES or below_an_agent(processes, pid - 100)
            if process.executable not in AGENT:
                assert process.cgroup not in ("/system.slice/ssh.service", "/init.scope")
        for scope in SCOPES:
            if tree.was_killed_as_a_whole(scope):
                assert not [p for p in processes if p.cgroup == scope and p.executable in SYSTEM]
        assert scene.signals.held == 0 or scene.guard.is_ending
