"""moltguest.watchdog.agents: by executable and cgroup, never by words."""

from __future__ import annotations

import os

import pytest

from fakes.guesttree import AGENTS, SESSION, GuestTree
from moltguest.settings import Settings
from moltguest.watchdog.agents import Agents, protection
from moltguest.watchdog.processes import Process, Processes

MODULES = "/usr/local/lib/node_modules"


def name_of(tree: GuestTree, executable: str | None, settings: Settings | None = None, **details: object) -> str | None:
    tree.process(30, executable, **details)  # type: ignore[arg-type]
    processes = Processes(str(tree.root))
    process = processes.find(30)
    assert process is not None
    return Agents(settings or Settings()).name(process, processes.executable(30), processes)


@pytest.mark.parametrize(
    ("executable", "name"),
    [
        ("/usr/local/bin/claude", "claude"),
        ("/home/agent/.local/share/claude/versions/2.1.224", "claude"),
        ("/home/agent/.local/share/claude/versions/2.1.224 (deleted)", "claude"),
        (f"{MODULES}/@anthropic-ai/claude-code/bin/claude.exe", "claude"),
        (f"{MODULES}/@anthropic-ai/claude-code-linux-x64/claude", "claude"),
        (f"{MODULES}/@openai/codex/node_modules/@openai/codex-linux-x64/vendor/x/codex/codex", "codex"),
        # As scripts/prove-agents has seen them.
        (f"{MODULES}/@openai/codex-linux-x64/vendor/x86_64-unknown-linux-musl/bin/codex", "codex"),
        ("/home/agent/.codex/packages/app-server-daemon/releases/0.169.0-x86_64-unknown-linux-musl/bin/codex", "codex"),
        ("/usr/bin/env", None),
        ("/opt/gemini", "gemini"),
        ("/usr/bin/node", None),
        ("/usr/bin/python3", None),
        ("/home/agent/claude/run", None),
        ("/home/agent/claude-tool", None),
        (f"{MODULES}/@anthropic-ai/claude-codex/bin/x", None),
        (f"{MODULES}/@openai/other/bin/x", None),
        (None, None),
    ],
)
def test_an_agent_is_known_by_its_executable(tree: GuestTree, executable: str | None, name: str | None) -> None:
    assert name_of(tree, executable) == name


@pytest.mark.parametrize(
    ("package", "name"),
    [
        ("@anthropic-ai/claude-code/cli.js", "claude"),
        ("@google/gemini-cli/bundle/gemini.js", "gemini"),
        ("@openai/codex/bin/codex.js", "codex"),
        ("express/index.js", None),
    ],
)
@pytest.mark.parametrize("interpreter", ["/usr/bin/node", "/home/agent/.nvm/versions/node/v22.1.0/bin/node"])
def test_an_interpreter_is_known_by_the_file_that_it_runs(
    tree: GuestTree, interpreter: str, package: str, name: str | None
) -> None:
    tree.write(f"{MODULES}/{package}".lstrip("/"), "")
    assert name_of(tree, interpreter, argv=(f"{MODULES}/{package}",), comm="MainThread") == name


def test_an_interpreter_that_gave_itself_an_agents_name_is_one(tree: GuestTree) -> None:
    assert name_of(tree, "/usr/bin/node", comm="gemini", argv=()) == "gemini"
    assert name_of(tree, "/usr/bin/python3", comm="gemini") is None


def test_agents_can_be_configured(tree: GuestTree) -> None:
    settings = Settings(agents=("aider",), agent_paths=("/opt/*/run",))

    assert name_of(tree, "/usr/local/bin/claude", settings) is None
    assert name_of(tree, "/home/agent/bin/aider", settings) == "aider"
    assert name_of(tree, "/opt/tool/run", settings) == "run"


def test_a_file_is_asked_for_once_until_another_program_runs(tree: GuestTree) -> None:
    tree.write(f"{MODULES}/@openai/codex/bin/codex.js".lstrip("/"), "")
    tree.process(30, "/usr/bin/node", argv=(f"{MODULES}/@openai/codex/bin/codex.js",))
    processes, agents = Processes(str(tree.root)), Agents(Settings())
    process = processes.find(30)
    assert process is not None
    assert agents.name(process, "/usr/bin/node", processes) == "codex"
    tree.write("proc/30/cmdline", "node\0other.js\0")

    assert agents.name(process, "/usr/bin/node", processes) == "codex"
    assert agents.name(process, "/opt/bun", processes) is None


def a_process(pid: int = 500) -> Process:
    return Process(pid, 1, 1, 0, "S", "x")


@pytest.mark.parametrize(
    ("executable", "cgroup"),
    [
        ("/usr/sbin/sshd", "/system.slice/ssh.service"),
        ("/usr/lib/openssh/sshd-session", SESSION),
        ("/usr/bin/tmux", SESSION),
        ("/usr/bin/tmux", f"{AGENTS}/a.scope"),
        ("/usr/lib/systemd/systemd-journald", "/system.slice/systemd-journald.service"),
        ("/lib/systemd/systemd", "/user.slice/user-1000.slice/user@1000.service/init.scope"),
        ("/usr/bin/dbus-daemon", f"{AGENTS}/a.scope"),
        ("/usr/bin/dockerd", "/system.slice/docker.service"),
        ("/usr/sbin/qemu-ga", "/system.slice/qemu-guest-agent.service"),
        ("/usr/bin/python3.11", "/moltcritical.slice/moltfleet-watchdog.service"),
        ("/usr/bin/earlyoom", "/moltcritical.slice/earlyoom.service"),
        ("/usr/bin/postgres", "/system.slice/postgresql.service"),
        ("/usr/bin/gnome-shell", "/user.slice/user-1000.slice/user@1000.service/session.slice/gnome.service"),
        (None, SESSION),
    ],
)
def test_the_system_is_protected(executable: str | None, cgroup: str) -> None:
    assert protection(a_process(), executable, cgroup, is_agent=False)


def test_the_first_process_and_the_watchdog_are_protected_whatever_they_run() -> None:
    for pid in (1, os.getpid(), os.getppid()):
        assert protection(a_process(pid), "/usr/bin/claude", f"{AGENTS}/a.scope", is_agent=True)


@pytest.mark.parametrize(
    ("executable", "cgroup", "is_agent"),
    [
        ("/usr/bin/node", f"{AGENTS}/a.scope", False),
        ("/usr/bin/bash", SESSION, False),
        # Anybody can put a program of this name there.
        ("/home/agent/bin/sshd", SESSION, False),
        ("/usr/local/bin/tmux", SESSION, False),
        ("/usr/local/bin/claude", "/system.slice/agent.service", True),
        # Anybody can make a group of this name below the own manager.
        ("/usr/bin/bash", "/user.slice/user-1000.slice/user@1000.service/system.slice/x.scope", False),
        ("/usr/bin/node", "/user.slice/user-1000.slice/user@1000.service/agents.slice/a.scope", False),
    ],
)
def test_whatever_an_agent_may_be_made_of_is_not(executable: str, cgroup: str, is_agent: bool) -> None:
    assert protection(a_process(), executable, cgroup, is_agent=is_agent) is None
