"""Guests in memory, scripted to be healthy or to fail in every way that the ladder has a rung for; and SSH to them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from fakes import guestlogins, guesttools
from fakes.clock import FakeClock
from moltfleet.model.domain import CommandResult, Endpoint
from moltfleet.model.errors import DeadlinePassed, GuestUnreachable, HostKeyChanged, LoginRefused
from moltfleet.model.ports import GuestSession, OnBytes, OnSkip

if TYPE_CHECKING:
    from fakes.hypervisor import FakeHypervisor, Machine

FLEET_KEY = "ssh-ed25519 AAAAfleet fleet"
# What the seal removes, and a first boot makes anew.
_IDENTITY = ("machine-id", "host-key", "hostname", "instance-id", "authorized", "random-seed")
# What cloud-init says of a build whose steps failed.
_VERDICT = "('scripts_user', RuntimeError('Runparts: 1 failures (zz-moltfleet-verdict) in 1 attempted commands'))"


@dataclass(slots=True)
class Behaviour:
    """How a guest behaves; without a word it is a healthy one.

    ``cloud_init`` is "done", "disabled", "degraded", "error", "steps" (some failed) or "running" (for ever). ``boot_s``
    is the time until it answers, ``clock_error_s`` what its clock is off whatever it is told, ``way_s`` how long a
    script and its answer are under way, each, ``way_back_s`` how much longer the answer is. ``needs`` is a file without
    which it does not come up. ``answers`` gives results for commands that contain a text, before anything else looks at
    them. ``lacks`` is what keeps it from having the guest tools: "no-systemd", "no-python" or "damaged". ``newer`` is
    the version of jq that its distribution has.
    """

    has_agent: bool = True
    has_address: bool = True
    shows_banner: bool = True
    refuses_key: bool = False
    host_key: str | None = None
    cloud_init: str = "done"
    boot_s: float = 5.0
    powers_off_at_boot: bool = False
    hears_shutdown: bool = True
    shutdown_s: float = 2.0
    clock_error_s: float = 0.0
    way_s: float = 0.0
    way_back_s: float = 0.0
    forgets_nonce: bool = False
    hangs: bool = False
    keeps_identity: bool = False
    needs: str = ""
    missing_commands: tuple[str, ...] = ()
    lacks: str = ""
    newer: str = ""
    answers: dict[str, CommandResult] = field(default_factory=dict)


@dataclass(slots=True)
class Memory:
    """The RAM of a running guest: gone at power-off, back with a restore. Its clock is ahead of the host's."""

    boot_id: str
    booted_at: float
    nonce: str | None = None
    timers_stopped: bool = False
    clock_ahead_s: float = -3600.0


def ok(text: str = "") -> CommandResult:
    """A command that succeeded."""
    return CommandResult(0, text.encode(), b"")


def failed(text: str, code: int = 1) -> CommandResult:
    """A command that failed."""
    return CommandResult(code, b"", text.encode())


class FakeGuest:
    """One running guest: what tests and scripts do inside it."""

    def __init__(self, hypervisor: FakeHypervisor, machine: Machine, behaviour: Behaviour, clock: FakeClock) -> None:
        if machine.running is None:
            raise AssertionError(f"{machine.name} does not run")
        self.machine = machine
        self.behaviour = behaviour
        self.memory = machine.running.memory
        self._running = machine.running
        self._hypervisor = hypervisor
        self._clock = clock

    @property
    def is_up(self) -> bool:
        """Whether it has booted and still is this very guest."""
        alive = self.machine.running is self._running and not self._running.is_paused
        if self.behaviour.needs and not self.read(self.behaviour.needs):
            return False
        return alive and self._clock.now() - self.memory.booted_at >= self.behaviour.boot_s

    @property
    def clock(self) -> float:
        """What its clock shows."""
        return self._clock.now() + self.memory.clock_ahead_s

    def read(self, key: str) -> str:
        """Read a file, as far as the layers that QEMU has open hold it."""
        return self._hypervisor.storage.view(self._running.chain).get(key, "")

    def write(self, key: str, text: str) -> None:
        """Write a file; it lands in the top layer."""
        self._hypervisor.storage.write(self._running.chain[0], key, text)

    def first_boot(self) -> None:
        """What cloud-init and systemd do early."""
        seed = self._seed()
        if seed and not self.read("cloud-init.disabled") and self.read("instance-id") != seed["instance_id"]:
            for key in ("host-key", "hostname", "instance-id", "authorized"):
                self.write(key, seed[key.replace("-", "_")])
        if not self.read("machine-id"):
            self.write("machine-id", uuid.uuid4().hex)

    def _seed(self) -> dict[str, str] | None:
        name = self.machine.spec.seed
        disk = self._hypervisor.storage.disks.get(name) if name else None
        return None if disk is None or not disk.data else json.loads(disk.data)

    def run(self, command: str, input: bytes) -> CommandResult:
        """Answer a command as the guest's shell would; anything unknown succeeds without a word."""
        self._hypervisor.commands.append((self.machine.name, command))
        for text, result in self.behaviour.answers.items():
            if text in command:
                return result
        about_tools = guesttools.answer(self, command, input, lacks=self.behaviour.lacks)
        if about_tools is not None:
            return about_tools
        for text, answer in self._ANSWERS.items():
            if text in command:
                return answer(self, command, input)
        return ok()

    def _before_save(self, _: str, input: bytes) -> CommandResult:
        self.memory.nonce, self.memory.timers_stopped = input.decode().strip(), True
        return ok(json.dumps({"ok": True, "boot_id": self.memory.boot_id}))

    def _after_molt(self, _: str, input: bytes) -> CommandResult:
        epoch, nonce, boot_id, seed = input.decode().split()
        held = None if self.behaviour.forgets_nonce else self.memory.nonce
        verdict = "ok" if held == nonce else "missing" if held is None else "differs"
        boot = "unchecked" if boot_id == "-" else "ok" if boot_id == self.memory.boot_id else "differs"
        good = verdict == "ok" and boot != "differs"
        self._clock.sleep(self.behaviour.way_s)
        if good:
            self.memory.clock_ahead_s = self.behaviour.clock_error_s or float(epoch) - self._clock.now()
            self.memory.timers_stopped = False
        clock = self.clock
        self._clock.sleep(self.behaviour.way_s + self.behaviour.way_back_s)
        answer = {
            "ok": good,
            "nonce": verdict,
            "boot": boot,
            "boot_id": self.memory.boot_id,
            "clock": clock,
            "reseeded": good and len(seed) >= 64,
        }
        return CommandResult(0 if good else 1, json.dumps(answer).encode(), b"")

    def _cloud_init(self, _: str, __: bytes) -> CommandResult:
        how = self.behaviour.cloud_init
        if self.read("cloud-init.disabled"):
            return ok("disabled\n")
        if how == "running":
            self._clock.sleep(3.0)
            return ok('running\n{"v1": {"stage": "modules-config"}}')
        errors = {"error": ["apt: no such package 'jk'"], "steps": [_VERDICT]}.get(how, [])
        recoverable = {"WARNING": ["no locale"], "DEPRECATED": ["old key"]} if how == "degraded" else {}
        status = {"v1": {"stage": None, "modules-final": {"errors": errors, "recoverable_errors": recoverable}}}
        return ok(("disabled" if how == "disabled" else "done") + "\n" + json.dumps(status))

    def _switch_off(self, _: str, __: bytes) -> CommandResult:
        self.write("cloud-init.disabled", "yes")
        return ok()

    def _identity(self, _: str, __: bytes) -> CommandResult:
        mac = self.machine.spec.attachment.mac
        facts = {key: self.read(key) for key in ("machine-id", "host-key", "hostname", "instance-id")}
        facts |= {"boot-id": self.memory.boot_id, "mac": mac}
        return ok("".join(f"{key} {value.replace(' ', ':')}\n" for key, value in facts.items() if value))

    def _seal(self, command: str, _: bytes) -> CommandResult:
        for key in _IDENTITY:
            if not (self.behaviour.keeps_identity and key == "machine-id"):
                self.write(key, "")
        return ok()

    def _verify(self, _: str, __: bytes) -> CommandResult:
        report = {
            "missing_commands": list(self.behaviour.missing_commands),
            "failed_services": {},
            "failed_steps": [],
            "idle_kib": 123_456,
            "kernel": "6.1.0-fake",
            "cloud_init": "22.4.2",
            "packages": {"jq": self.read("jq") or "1.6"},
            "npm_packages": {"npm": "10.9.9"},
        }
        code = 1 if self.behaviour.missing_commands else 0
        return CommandResult(code, json.dumps(report).encode(), b"")

    def _renew(self, command: str, _: bytes) -> CommandResult:
        """Only what the distribution has newer is: ``newer`` says what version of jq that is."""
        if "--packages" in command and self.behaviour.newer:
            self.write("jq", self.behaviour.newer)
        return ok()

    def _mktemp(self, _: str, __: bytes) -> CommandResult:
        return ok("/tmp/moltfleet.abc123\n")

    def _log_end(self, _: str, __: bytes) -> CommandResult:
        if self.behaviour.cloud_init == "steps":
            said = (
                "step codex failed with 1",
                "step npm failed with 2: E404 \x1b[31m",
                "step codex failed with 1: no npm",
            )
            return ok("\n".join(said))
        return ok("Err: no such package\x1b[31m 'jk'\n")

    # The first text that a command contains decides.
    _ANSWERS: ClassVar[dict[str, Callable[[FakeGuest, str, bytes], CommandResult]]] = {
        "before-save.sh": _before_save,
        "after-molt.sh": _after_molt,
        "/run/cloud-init/result.json": _cloud_init,
        "cloud-init.disabled": _switch_off,
        "logins.sh": guestlogins.answer,
        "identity.sh": _identity,
        "seal.sh": _seal,
        "verify.py": _verify,
        "renew.py": _renew,
        "mktemp": _mktemp,
        "cloud-init-output.log": _log_end,
    }


class FakeSession:
    """An open login; it dies with the guest that it was made to."""

    def __init__(self, guest: FakeGuest, clock: FakeClock) -> None:
        self.guest = guest
        self.files: dict[str, bytes] = {}
        self.is_closed = False
        self._clock = clock

    def run(self, command: str, *, input: bytes = b"", timeout_s: float = 60.0, limit: int = 1 << 20) -> CommandResult:
        self._require_open()
        if self.guest.behaviour.hangs:
            self._clock.sleep(timeout_s)
            raise DeadlinePassed(f"Command did not end in the guest within {timeout_s:.0f} s")
        result = self.guest.run(command, input)
        return CommandResult(result.exit_code, result.stdout[:limit], result.stderr[:limit])

    def stream(
        self,
        command: str,
        *,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        timeout_s: float | None = None,
    ) -> int:
        result = self.run(command, timeout_s=60.0 if timeout_s is None else timeout_s)
        for sink, data in ((on_stdout, result.stdout), (on_stderr, result.stderr)):
            if data:
                sink(data)
        return result.exit_code

    def put(self, local: Path, remote: str, *, on_bytes: OnBytes | None = None, on_skip: OnSkip | None = None) -> None:
        self._require_open()
        self.guest.write(remote, local.read_text())

    def get(
        self,
        remote: str,
        local: Path,
        *,
        on_bytes: OnBytes | None = None,
        on_skip: OnSkip | None = None,
        limit: int | None = None,
    ) -> None:
        self._require_open()
        local.write_text(self.guest.read(remote))

    def write(self, remote: str, content: bytes, *, mode: int = 0o644) -> None:
        self._require_open()
        self.files[remote] = content

    def close(self) -> None:
        self.is_closed = True

    def _require_open(self) -> None:
        if self.is_closed or not self.guest.is_up:
            raise GuestUnreachable(f"Connection to {self.guest.machine.name!r} was lost")


class FakeGuests:
    """The Guests port: SSH to whichever running guest has the endpoint's address."""

    def __init__(self, hypervisor: FakeHypervisor, clock: FakeClock) -> None:
        self._hypervisor = hypervisor
        self._clock = clock
        self.sessions: list[FakeSession] = []

    def banner(self, endpoint: Endpoint, *, timeout_s: float) -> str | None:
        guest = self._hypervisor.guest_at(endpoint)
        if guest is not None and guest.is_up and guest.behaviour.shows_banner:
            return "SSH-2.0-OpenSSH_9.2"
        self._clock.sleep(timeout_s)
        return None

    @contextmanager
    def login(self, endpoint: Endpoint, *, timeout_s: float) -> Iterator[GuestSession]:
        guest = self._hypervisor.guest_at(endpoint)
        if guest is None or not guest.is_up or not guest.behaviour.shows_banner:
            self._clock.sleep(timeout_s)
            raise GuestUnreachable(f"{endpoint.name!r} cannot be reached at {endpoint.host}:{endpoint.port}")
        shown = guest.behaviour.host_key or guest.read("host-key")
        if shown not in endpoint.host_keys:
            raise HostKeyChanged(f"{endpoint.name!r} shows another host key than the pinned one")
        if guest.behaviour.refuses_key or FLEET_KEY not in guest.read("authorized"):
            raise LoginRefused(f"{endpoint.name!r} does not accept the fleet key")
        session = FakeSession(guest, self._clock)
        self.sessions.append(session)
        try:
            yield session
        finally:
            session.close()
