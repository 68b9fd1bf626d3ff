"""A lab with real libvirt and QEMU, the installed command as ordinary users run it, and goldens built once.

The command is run as members of group libvirt, never as root: root would prove nothing about permissions. What it
claims is checked from outside: over SSH, by virsh, and in the bytes of the volumes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = Path("/var/cache/moltfleet/images")
COMMAND = Path(sys.executable).parent / "moltfleet"
POOL = "/var/lib/libvirt/images/moltfleet"
# Nothing in the lab takes this long; a hang must fail a test, and not the whole run.
LONGEST_S = 1200.0
SEPARATOR = "-next-"

Completed = subprocess.CompletedProcess[str]


@dataclass(slots=True)
class Lab:
    """A running lab."""

    name: str

    def argv(self, argv: tuple[str, ...], *, user: str | None = None) -> list[str]:
        """The command that runs ``argv`` inside."""
        as_user = ["--user", user] if user else []
        return [str(REPOSITORY / "scripts/lab"), "exec", "--name", self.name, *as_user, "--", *argv]

    def run(self, *argv: str, user: str | None = None, input: str | None = None, check: bool = True) -> Completed:
        """Run a program inside, as root unless told otherwise."""
        done = subprocess.run(
            self.argv(argv, user=user),
            input=input or "",
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )
        assert not check or done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def out(self, *argv: str) -> str:
        """What a program run as root inside prints."""
        return self.run(*argv).stdout.strip()

    def virsh(self, *arguments: str) -> str:
        """What virsh prints: the witness that is not ours."""
        return self.out("virsh", "-q", "-c", "qemu:///system", *arguments)

    def virsh_each(self, *commands: str) -> list[str]:
        """What each of many commands of virsh prints; one process for all, as each takes a quarter of a second."""
        if not commands:
            return []
        text = self.virsh("; ".join(f"{command}; echo {SEPARATOR}" for command in commands))
        *answers, rest = text.split(SEPARATOR)
        assert (len(answers), rest) == (len(commands), ""), commands
        return answers

    def control(self, command: str, *arguments: str) -> None:
        """One of the lab's own commands."""
        self._control([command], arguments)

    def repo(self, act: str, *arguments: str) -> str:
        """The lab's apt repository."""
        return self._control(["repo", act], arguments)

    def _control(self, command: list[str], arguments: tuple[str, ...]) -> str:
        argv = [str(REPOSITORY / "scripts/lab"), *command, "--name", self.name, *arguments]
        done = subprocess.run(argv, timeout=LONGEST_S, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def volumes(self) -> set[str]:
        """Names of all volumes in our pool."""
        self.virsh("pool-refresh", "moltfleet")
        return {line.split()[0] for line in self.virsh("vol-list", "moltfleet").splitlines() if line.strip()}

    def domains(self) -> set[str]:
        """Names of all domains."""
        return set(self.virsh("list", "--all", "--name").split())

    def digest(self, volume: str) -> str:
        """SHA-256 of a volume's file."""
        return self.out("sha256sum", f"{POOL}/{volume}").split()[0]


@dataclass(slots=True)
class User:
    """An ordinary user of the lab's libvirt, with moltfleet installed."""

    lab: Lab
    name: str
    settings: tuple[str, ...] = ()
    uri: str | None = None

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line."""
        uri = ("-c", self.uri) if self.uri else ()
        return self.lab.argv((str(COMMAND), *uri, *self.settings, *arguments), user=self.name)

    def run(self, *arguments: str, code: int = 0, input: str = "") -> Completed:
        """Run moltfleet and expect an exit code."""
        done = subprocess.run(
            self.argv(*arguments), input=input, capture_output=True, text=True, timeout=LONGEST_S, check=False
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        """Run moltfleet with --json and parse its one document."""
        return json.loads(self.run("--json", *arguments, code=code).stdout)

    def clone(self, name: str) -> dict[str, Any]:
        """One clone of ``list --json``."""
        return next(clone for clone in self.json("list")["clones"] if clone["name"] == name)

    def shell(self, clone: str, command: str, *, check: bool = True) -> str:
        """What a shell command in a clone prints, through ``moltfleet ssh``, and so the OpenSSH client."""
        done = self._exec(clone, command)
        assert not check or done.returncode == 0, f"{clone}: {command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def _exec(self, clone: str, command: str) -> Completed:
        return subprocess.run(
            self.argv("ssh", clone, "--", "sh", "-c", command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LONGEST_S,
            check=False,
        )

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start moltfleet and do not wait."""
        return subprocess.Popen(
            self.argv(*arguments), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def write(self, path: str, content: str) -> str:
        """Write a file into the home directory; returns its absolute path."""
        home = self.lab.run("sh", "-c", "echo $HOME", user=self.name).stdout.strip()
        full = f"{home}/{path}"
        self.lab.run("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat > "$1"', "-", full, user=self.name, input=content)
        return full

    def configure(self, text: str) -> None:
        """Write moltfleet.toml."""
        self.write(".config/moltfleet/moltfleet.toml", text)


# Tests are not to depend on how much memory the machine has beside them.
TINY_CONFIG = """\
jobs = 2
reserve = "1G"
[defaults]
memory = "192M"
vcpus = 1
disk = "1G"
profile = "none"
"""


@dataclass(slots=True)
class Labs:
    """The labs of a session, each taken down at its end."""

    up: list[str] = field(default_factory=list)

    def start(self, name: str) -> Lab:
        """Bring one up, from nothing."""
        lab = Lab(f"{name}-{os.getpid()}")
        lab.control("up")
        self.up.append(lab.name)
        return lab


@pytest.fixture(scope="session")
def labs() -> Iterator[Labs]:
    """Make labs that are taken down whatever happens."""
    labs = Labs()
    try:
        yield labs
    finally:
        for name in labs.up:
            Lab(name).control("down")


@pytest.fixture(scope="session")
def lab(labs: Labs) -> Lab:
    """The lab that most tests share."""
    return labs.start("system")


@pytest.fixture(scope="session")
def alice(lab: Lab) -> User:
    """A member of group libvirt."""
    user = User(lab, "mf-alice")
    user.configure(TINY_CONFIG)
    return user


@pytest.fixture(scope="session")
def bob(lab: Lab) -> User:
    """Another member of group libvirt, with a fleet key of his own."""
    user = User(lab, "mf-bob")
    user.configure(TINY_CONFIG)
    return user


@pytest.fixture(scope="session")
def carol(lab: Lab) -> User:
    """A user who is not in group libvirt."""
    return User(lab, "mf-carol")


@pytest.fixture(scope="session")
def tiny(alice: User) -> str:
    """A golden of the tiny guest."""
    alice.run("golden", "build", "tiny", "--image", str(IMAGES / "tiny.qcow2"))
    return "tiny"


@pytest.fixture
def crab(alice: User, tiny: str) -> Iterator[str]:
    """A fresh, ready clone of the tiny golden, gone after the test."""
    alice.run("create", tiny, "crab")
    yield "crab"
    alice.lab.control("up")
    alice.run("delete", "crab", "--yes")


@pytest.fixture
def remove(alice: User) -> Iterator[Callable[[str], str]]:
    """Register clones that the test makes itself, to be deleted after it."""
    names: list[str] = []

    def register(name: str) -> str:
        names.append(name)
        return name

    yield register
    known = {clone["name"] for clone in alice.json("list")["clones"]}
    for name in names:
        if name in known:
            alice.run("delete", name, "--yes")


# The rest is about full guests: Debian with cloud-init and systemd, in a lab of their own whose apt has what is needed.
# With most packages of the profile inside; earlyoom is installed in the guest.
FURNISHED = IMAGES / "debian-bookworm-furnished.qcow2"
FULL_PACKAGES = """
    nftables fail2ban unattended-upgrades tmux git curl ca-certificates python3-systemd
    qemu-guest-agent sudo python3 tree earlyoom
"""
FULL_CONFIG = """\
jobs = 1
reserve = "1G"
[defaults]
memory = "768M"
vcpus = 1
disk = "8G"
profile = "minimal"
"""
APT = """\
#cloud-config
apt:
  preserve_sources_list: false
  sources_list: |
    {line}
"""


@pytest.fixture(scope="session")
def full_lab(labs: Labs) -> Lab:
    """A lab whose apt repository has what the profile needs."""
    lab = labs.start("guests")
    lab.repo("add", *FULL_PACKAGES.split())
    return lab


@pytest.fixture(scope="session")
def owner(full_lab: Lab) -> User:
    """The user who builds goldens of full guests."""
    user = User(full_lab, "mf-alice")
    user.configure(FULL_CONFIG)
    return user


@pytest.fixture(scope="session")
def apt(owner: User) -> str:
    """User-data that points a guest's apt at the lab."""
    return owner.write("apt.yaml", APT.format(line=owner.lab.repo("line").strip()))


@pytest.fixture(scope="session")
def river(owner: User, apt: str) -> str:
    """A golden of the full guest with the minimal profile and the guest tools."""
    owner.run("golden", "build", "river", "--image", str(FURNISHED), "--user-data", apt)
    return "river"
