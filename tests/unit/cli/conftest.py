"""The command line in a test: no terminal, no settings of this machine, and a small fleet in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import pytest
from click.testing import CliRunner

from fakes import FakeChronicle, FakeLogins, FakeMeter, FakeNights, FakeNotifier, FakeRescues, FakeSamples
from moltfleet.cli.app import app
from moltfleet.cli.invocation import FleetBuilder, HostBuilder, Invocation, SshOpener
from moltfleet.config import Config
from moltfleet.model.domain import Domain, DomainState, Endpoint, HostFacts, VirtType
from moltfleet.model.errors import NotFound
from moltfleet.model.load import DomainUse, Reservation
from moltfleet.model.ports import Progress
from moltfleet.model.records import (
    Attachment,
    CleanPoint,
    CloneRecord,
    Generation,
    GoldenRecord,
    Layer,
    Phase,
    Record,
)
from moltfleet.model.size import Size
from moltfleet.model.vitals import Balloon, Vitals
from moltfleet.model.volumes import Stamp, Volume
from moltfleet.operations.fleet import Fleet

POOL = "/pool"
MANIFEST = (
    b'{"schema": "moltfleet.manifest/1", "kernel": "6.1.0", "packages": {"jq": "1.6"}, "idle_memory_bytes": 1048576}'
)


def volume(name: str, *, mib: int = 100, backing: str | None = None) -> Volume:
    path = f"{POOL}/{name}"
    behind = f"{POOL}/{backing}" if backing else None
    return Volume(name, path, "qcow2", Size.of_gib(50), Size.of_mib(mib), Size.of_mib(mib), behind, "1.0")


def golden_domain(name: str) -> Domain:
    stamp = Stamp(f"{name}.g1.qcow2", "1.0", 100 * 2**20)
    generation = Generation(1, stamp.volume, f"{name}.g1.json", "2026-11-20T08:00:00Z", 2**30, 2**20, stamp)
    record = GoldenRecord("minimal", "debian-12", "agent", 2**34, 4, 50 * 2**30, (generation,))
    return Domain(name, f"uuid-{name}", DomainState.SHUT_OFF, Size.of_gib(4), 4, record)


def clone_domain(name: str, number: int, *, state: DomainState, shed: bool = False) -> Domain:
    clean = CleanPoint((Stamp(f"{name}.clean.qcow2", "1.0", 100 * 2**20),), "2026-11-20T09:00:00Z")
    record = CloneRecord(
        golden="base",
        generation=1,
        golden_volume="base.g1.qcow2",
        phase=Phase.READY,
        linked=True,
        user="agent",
        attachment=Attachment("moltfleet", "moltfleet", f"52:54:00:00:00:0{number}", f"192.168.150.{number}"),
        instance_id=f"iid-{name}",
        host_keys=("ssh-ed25519 AAAA",),
        seed=f"{name}.seed.iso",
        top=f"{name}.1.qcow2",
        created_at="2026-11-20T09:00:00Z",
        next_number=2,
        clean=clean,
        shed=Layer(f"{name}.0.qcow2", "2026-11-20T10:00:00Z") if shed else None,
    )
    return Domain(name, f"uuid-{name}", state, Size.of_gib(16), 4, record, active_disk=f"{POOL}/{name}.1.qcow2")


@dataclass
class MemoryHypervisor:
    """Domains in a dictionary."""

    known: dict[str, Domain]
    snapshots: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def host(self) -> HostFacts:
        return HostFacts(
            "test", True, False, VirtType.KVM, "flags", 9_000_000, 7_002_000, Size.of_gib(64), "a test", 8
        )  # fmt: skip

    def domains(self) -> tuple[Domain, ...]:
        return tuple(self.known.values())

    def memory_use(self) -> tuple[DomainUse, ...]:
        return tuple(
            DomainUse(d.name, d.state, d.memory, d.vcpus, Size.of_gib(1), False)
            for d in self.known.values()
            if d.is_active
        )

    def find(self, name: str) -> Domain | None:
        return self.known.get(name)

    def vitals(self, *, timeout_s: float) -> tuple[Vitals, ...]:
        return tuple(self._vitals(domain) for domain in self.known.values())

    def _vitals(self, domain: Domain) -> Vitals:
        if not domain.is_active:
            return Vitals(domain.name, domain.state)
        balloon = Balloon(domain.memory, Size.of_gib(12), MemoryClock().now() - 2)
        return Vitals(
            domain.name, domain.state, life="1", balloon=balloon, resident=Size.of_gib(1), cpu_s=60.0,
            disk=Size.of_mib(100),
        )  # fmt: skip

    def get(self, name: str) -> Domain:
        if name not in self.known:
            raise NotFound(f"No domain is named {name!r}")
        return self.known[name]

    def write_record(self, name: str, record: Record) -> None:
        self.known[name] = replace(self.known[name], record=record)

    def destroy(self, name: str) -> None:
        self.known[name] = replace(self.known[name], state=DomainState.SHUT_OFF)

    def undefine(self, name: str) -> None:
        del self.known[name]

    def fingerprint(self, name: str) -> str:
        return "{}"

    def fingerprints(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self.fingerprint(name) for name in names}

    def snapshot_names(self, name: str) -> tuple[str, ...]:
        return self.snapshots.get(name, ())


@dataclass
class MemoryStorage:
    """Volumes in a dictionary."""

    known: dict[str, Volume]

    def volumes(self) -> tuple[Volume, ...]:
        return tuple(self.known.values())

    def refresh(self) -> None:
        pass

    def find(self, name: str) -> Volume | None:
        return self.known.get(name)

    def get(self, name: str) -> Volume:
        return self.known[name]

    def path_of(self, name: str) -> str:
        return f"{POOL}/{name}"

    def find_free_space(self) -> Size | None:
        return Size.of_gib(200)

    def find_size(self) -> Size | None:
        return Size.of_gib(500)

    def read(self, name: str, *, limit: int) -> bytes:
        return MANIFEST

    def delete(self, name: str, *, owner: str | None = None) -> bool:
        return self.known.pop(name, None) is not None


@dataclass
class MemoryLocks:
    """Locks that are always free."""

    held: list[str] = field(default_factory=list)

    @contextmanager
    def hold(self, name: str, *, verb: str, wait_s: float = 0.0) -> Iterator[None]:
        self.held.append(f"{verb} {name}")
        yield


class MemoryReservations:
    """Room without end."""

    def current(self) -> tuple[Reservation, ...]:
        return ()

    def is_mine(self, name: str) -> bool:
        return True


@dataclass
class MemorySession:
    """A login that knows a few commands and keeps what was copied."""

    name: str
    copied: list[tuple[str, str, str]]

    def stream(
        self,
        command: str,
        *,
        on_stdout: Callable[[bytes], None],
        on_stderr: Callable[[bytes], None],
        timeout_s: float | None = None,
    ) -> int:
        on_stdout(f"{command} on {self.name}\n".encode())
        on_stderr(b"noise\n")
        return int(self.name[-1]) if command == "number" else 0 if command == "true" else 7

    def put(self, local: Path, remote: str, *, on_bytes: object = None) -> None:
        self.copied.append(("put", str(local), remote))

    def get(self, remote: str, local: Path, *, on_bytes: object = None) -> None:
        self.copied.append(("get", remote, str(local)))


@dataclass
class MemoryGuests:
    """Guests that let everybody in."""

    copied: list[tuple[str, str, str]] = field(default_factory=list)

    @contextmanager
    def login(self, endpoint: Endpoint, *, timeout_s: float) -> Iterator[MemorySession]:
        yield MemorySession(endpoint.name, self.copied)


class MemoryKeys:
    """Keys that are only text."""

    def user_public_keys(self) -> tuple[str, ...]:
        return ("ssh-ed25519 AAAA me",)


class MemoryClock:
    """A clock that stands still."""

    def monotonic(self) -> float:
        return 100.0

    def now(self) -> float:
        return 1_763_629_200.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing here is worth waiting for")


@dataclass
class MemoryFleet:
    """Golden base with base-1 (running), base-2 (running) and base-3 (off), golden lean without clones."""

    hypervisor: MemoryHypervisor
    storage: MemoryStorage
    meter: FakeMeter = field(default_factory=FakeMeter)
    chronicle: FakeChronicle = field(default_factory=FakeChronicle)
    nights: FakeNights = field(default_factory=FakeNights)
    rescues: FakeRescues = field(default_factory=FakeRescues)
    samples: FakeSamples = field(default_factory=FakeSamples)
    notifier: FakeNotifier = field(default_factory=FakeNotifier)
    locks: MemoryLocks = field(default_factory=MemoryLocks)
    guests: MemoryGuests = field(default_factory=MemoryGuests)
    host_logins: FakeLogins = field(default_factory=lambda: FakeLogins(MemoryClock()))
    seen: list[tuple[Config, str]] = field(default_factory=list)

    def build(self, config: Config, uri: str, progress: Progress) -> Fleet:
        self.seen.append((config, uri))
        unused: Any = None
        return Fleet(
            config=config, hypervisor=self.hypervisor, meter=self.meter, storage=self.storage, networks=unused,
            locks=self.locks, reservations=MemoryReservations(), guests=self.guests, keys=MemoryKeys(), seeds=unused,
            images=unused, bootstrap=unused, profiles=unused, samples=self.samples,
            notifier=self.notifier, chronicle=self.chronicle, nights=self.nights,
            rescues=self.rescues, host_logins=self.host_logins,
            clock=MemoryClock(), progress=progress,
        )  # fmt: skip  # type: ignore[arg-type]

    def forget_clones(self) -> None:
        for name in [name for name, domain in self.hypervisor.known.items() if domain.is_clone]:
            del self.hypervisor.known[name]


@pytest.fixture
def fleet() -> MemoryFleet:
    running, off = DomainState.RUNNING, DomainState.SHUT_OFF
    domains = (
        golden_domain("base"),
        golden_domain("lean"),
        clone_domain("base-1", 2, state=running, shed=True),
        clone_domain("base-2", 3, state=running),
        clone_domain("base-3", 4, state=off),
        Domain("theirs", "uuid-theirs", running, Size.of_gib(1), 1, None),
    )
    names = [name for domain in domains if domain.record for name in domain.record.volumes()]
    return MemoryFleet(
        MemoryHypervisor({domain.name: domain for domain in domains}),
        MemoryStorage({name: volume(name) for name in names}),
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command line led to."""

    exit_code: int
    stdout: str
    stderr: str


class Run(Protocol):
    """Run a command line."""

    def __call__(
        self,
        *args: str,
        build_fleet: FleetBuilder = ...,
        interactive: bool = False,
        input: str | None = None,
        open_ssh: SshOpener = ...,
        build_host: HostBuilder | None = None,
        environment: dict[str, str] | None = None,
    ) -> Outcome: ...


def no_fleet(*_: object) -> Fleet:
    raise AssertionError("this command line has no business with the fleet")


def no_ssh(*_: object) -> int:
    raise AssertionError("this command line has no business with the OpenSSH client")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    for name in (
        "NO_COLOR",
        "FORCE_COLOR",
        *(f"MOLTFLEET_{n}" for n in ("JSON", "YES", "VERBOSE", "QUIET", "DRY_RUN")),
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path))

    def invoke(
        *args: str, build_fleet: FleetBuilder = no_fleet, interactive: bool = False, input: str | None = None,
        open_ssh: SshOpener = no_ssh, build_host: HostBuilder | None = None,
        environment: dict[str, str] | None = None,
    ) -> Outcome:  # fmt: skip
        invocation = Invocation(
            build_fleet=build_fleet, open_ssh=open_ssh, interactive=interactive, environment={"HOME": str(tmp_path)}
        )
        if build_host is not None:
            invocation.build_host = build_host
        options: dict[str, Any] = {"obj": invocation, "terminal_width": 80}
        result = CliRunner().invoke(app, list(args), input=input, env=environment, catch_exceptions=False, **options)
        return Outcome(result.exit_code, result.stdout, result.stderr)

    return invoke


@pytest.fixture
def do(run: Run, fleet: MemoryFleet) -> Callable[..., Outcome]:
    """Run a command line on the fleet in memory."""

    def invoke(*args: str, **options: Any) -> Outcome:
        return run(*args, build_fleet=fleet.build, **options)

    return invoke
