"""The running guest: its service managers told what has changed; another root than / has none."""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Collection, Iterable

from moltguest.install.merge import DAEMON

WATCHDOG = "moltfleet-watchdog.service"
# Units that read their configuration when they start, and a part of its path.
_READERS = (("earlyoom.service", "/earlyoom.service.d/"), ("systemd-journald.service", "/journald.conf.d/"))
LINGER = "var/lib/systemd/linger"
_LONGEST_S = 120.0


class System:
    """systemctl, loginctl and docker of this guest."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.is_live = os.path.realpath(root) == "/" and os.path.isdir("/run/systemd/system")
        self.problems: list[str] = []

    def run(self, *argv: str) -> tuple[int, str]:
        """Run a program. Returns its status and what it said; 127 when there is none of that name."""
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_LONGEST_S, check=False
            )
        except FileNotFoundError:
            return 127, f"{argv[0]} is not there"
        except subprocess.SubprocessError as error:
            return 1, str(error)
        return done.returncode, (done.stdout + done.stderr).strip()

    def do(self, *argv: str) -> bool:
        """Run a program that has to succeed; what it said otherwise is kept as a problem."""
        status, said = self.run(*argv)
        if status != 0:
            self.problems.append(f"{' '.join(argv)}: {said.splitlines()[0] if said else f'exit status {status}'}")
        return status == 0

    def is_active(self, unit: str) -> bool:
        """Whether a unit runs."""
        return self.run("systemctl", "is-active", "--quiet", unit)[0] == 0

    def restart_readers(self, paths: Collection[str]) -> None:
        """Restart the units that run, and read one of these paths only when they start."""
        for unit, part in _READERS:
            if any(part in path for path in paths) and self.is_active(unit):
                self.do("systemctl", "restart", unit)

    def take_up(self, changed: Collection[str]) -> None:
        """Make the files that have changed count, as far as that disturbs nobody."""
        self.do("systemctl", "daemon-reload")
        self.do("systemctl", "start", "agents.slice")
        # Made by the generator, if this guest is large enough.
        if os.path.exists("/run/systemd/generator/moltfleet-tmpfs.service"):
            self.do("systemctl", "restart", "moltfleet-tmpfs.service")
        self.restart_readers(changed)
        if DAEMON in changed:
            self._restart_docker()
        for uid in _managers():
            self.run("systemctl", "--user", "--machine", f"{uid}@.host", "daemon-reload")

    def _restart_docker(self) -> None:
        if not self.is_active("docker.service"):
            return
        status, said = self.run("docker", "ps", "--quiet")
        if status == 0 and not said:
            self.do("systemctl", "restart", "docker.service")
        else:
            self.problems.append("containers run: they go below docker.slice when Docker is next started")

    def not_lingering(self) -> list[str]:
        """Return the people whose service managers end when they log out, with what runs in them."""
        return [name for name in _people(self._root) if not os.path.exists(self._mark(name))]

    def linger(self, names: Iterable[str]) -> None:
        """Let these people's service managers stay, and start at boot."""
        for name in names:
            if os.path.exists(self._mark(name)):
                continue
            if not self.is_live or self.run("loginctl", "enable-linger", name)[0] != 0:
                # What loginctl would leave; it counts from the next boot on.
                os.makedirs(os.path.dirname(self._mark(name)), mode=0o755, exist_ok=True)
                with open(self._mark(name), "wb"):
                    pass

    def unlinger(self, names: Iterable[str]) -> None:
        """Take that back."""
        for name in names:
            if self.is_live:
                self.run("loginctl", "disable-linger", name)
            if os.path.exists(self._mark(name)):
                os.unlink(self._mark(name))

    def _mark(self, name: str) -> str:
        return os.path.join(self._root, LINGER, name)


def _people(root: str) -> list[str]:
    """Return the accounts of people, as login.defs(5) has them on Debian and Ubuntu."""
    found = []
    try:
        with open(os.path.join(root, "etc/passwd"), encoding="utf-8", errors="replace") as file:
            for line in file:
                fields = line.rstrip("\n").split(":")
                is_person = len(fields) == 7 and fields[2].isdigit() and 1000 <= int(fields[2]) < 60000
                if is_person and "/" not in fields[0] and not fields[6].endswith(("/nologin", "/false")):
                    found.append(fields[0])
    except FileNotFoundError:
        return []
    return found


def _managers() -> list[int]:
    """Return the users whose service managers run."""
    try:
        names = [name for name in os.listdir("/run/user") if name.isdigit()]
    except OSError:
        return []
    return [uid for uid in map(int, names) if uid and _is_known(uid)]


def _is_known(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True
