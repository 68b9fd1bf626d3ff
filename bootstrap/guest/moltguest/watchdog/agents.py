"""Who is an agent, and who is never touched: told by executable and cgroup alone, as arguments may say anything."""

from __future__ import annotations

import os
import time
from fnmatch import fnmatchcase

from moltguest.settings import Settings
from moltguest.watchdog.cgroups import is_inside
from moltguest.watchdog.processes import Identity, Process, Processes

# What npm calls the agents that are known by name.
PACKAGES = {"claude": "@anthropic-ai/claude-code", "codex": "@openai/codex", "gemini": "@google/gemini-cli"}
INTERPRETERS = ("node", "nodejs", "bun", "deno")

_KEPT_S = 60.0
_MOST_KEPT = 4096

# Where only root can put a program: a name counts for protection nowhere else.
_SYSTEM = ("/usr/bin/", "/usr/sbin/", "/usr/lib/", "/usr/libexec/", "/usr/local/sbin/", "/bin/", "/sbin/", "/lib/")
_GUARDED = (
    *("init", "systemd", "systemd-*", "(sd-pam)", "sshd", "sshd-*", "tmux", "screen", "login", "agetty", "cron"),
    *(
        "dbus-daemon",
        "dbus-broker*",
        "polkitd",
        "rsyslogd",
        "qemu-ga",
        "earlyoom",
        "NetworkManager",
        "Xorg",
        "Xwayland",
    ),
    *("gnome-shell", "gdm*", "dockerd", "containerd*", "runc", "crun", "fail2ban-server"),
)
# Of the system's manager: below a user's own, anybody can make a group of any name.
_GUARDED_GROUPS = ("/init.scope", "/system.slice", "/moltcritical.slice")


class Agents:
    """The agents that a guest's settings name."""

    def __init__(self, settings: Settings) -> None:
        self._names = settings.agents
        self._paths = settings.agent_paths
        self._scripts: dict[Identity, tuple[float, str, str | None]] = {}

    def name(self, process: Process, executable: str | None, processes: Processes) -> str | None:
        """Return the agent's name that a process runs as, None when it is no agent.

        An interpreter is an agent by the file it runs, or by the name that it gave itself: agents that set their title
        lose the former. Nothing is read from the arguments but that one file.
        """
        if not executable:
            return None
        if found := self._by_path(executable):
            return found
        if os.path.basename(executable) not in INTERPRETERS:
            return None
        if process.comm in self._names:
            return process.comm
        return self._by_script(process, executable, processes)

    def _by_script(self, process: Process, executable: str, processes: Processes) -> str | None:
        """The answer is kept for a minute: between fork and exec a process shows its parent's file."""
        now = time.monotonic()
        asked, program, name = self._scripts.get(process.identity, (float("-inf"), "", None))
        if program == executable and now - asked < _KEPT_S:
            return name
        script = processes.script(process.pid)
        name = self._by_path(script) if script else None
        if len(self._scripts) >= _MOST_KEPT:
            self._scripts.clear()
        self._scripts[process.identity] = (now, executable, name)
        return name

    def _by_path(self, path: str) -> str | None:
        base = os.path.basename(path).removesuffix(".exe")
        for name in self._names:
            # Installed beside its versions, an agent's file is named like "2.1.224".
            if base == name or f"/{name}/versions/" in path or _is_of_package(path, PACKAGES.get(name)):
                return name
        return base if any(fnmatchcase(path, pattern) for pattern in self._paths) else None


def _is_of_package(path: str, package: str | None) -> bool:
    if package is None:
        return False
    # With its packages per platform: "@openai/codex-linux-x64".
    start = path.find(f"/node_modules/{package}")
    following = path[start + len(f"/node_modules/{package}") :][:1]
    return start >= 0 and following in ("/", "-")


def protection(process: Process, executable: str | None, cgroup: str, *, is_agent: bool) -> str | None:
    """Return why a process may never be ended, None when it may, should it be an agent's.

    An agent's own executable is not protected by the group it runs in: a service can be an agent.
    """
    if process.pid in (1, os.getpid(), os.getppid()):
        return "it is the system or the watchdog"
    if executable is None:
        return "its executable cannot be told"
    name = os.path.basename(executable)
    if executable.startswith(_SYSTEM) and any(fnmatchcase(name, guarded) for guarded in _GUARDED):
        return f"{name} is a program of the system"
    if is_agent or is_inside(cgroup):
        return None
    for group in _GUARDED_GROUPS:
        if f"{cgroup}/".startswith(f"{group}/"):
            return f"it runs in {group.lstrip('/')}"
    return None
