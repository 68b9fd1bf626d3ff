"""The contracts, kept by the fakes: what the unit tests of the operations stand on."""

from __future__ import annotations

import pytest

from contract.domains import ChainContract, DomainContract, SavingContract
from contract.host import Host
from contract.logins import LoginsContract
from contract.networks import NetworkContract
from contract.rescues import RescuesContract
from contract.samples import SamplesContract
from contract.storage import ContentContract, StorageContract
from fakes import FakeClock, FakeLogins, FakeRescues, FakeSamples, World, a_world


def host_of(world: World) -> Host:
    def make_snapshot(name: str, label: str) -> None:
        world.hypervisor.machines[name].snapshots += (label,)

    return Host(
        hypervisor=world.hypervisor,
        storage=world.storage,
        networks=world.networks,
        prefix="contract-",
        define_foreign=world.hypervisor.add_foreign,
        make_snapshot=make_snapshot,
    )


@pytest.fixture
def host() -> Host:
    return host_of(a_world(golden=None))


class TestFakeStorage(StorageContract, ContentContract):
    """FakeStorage keeps the contract."""


class TestFakeHypervisor(DomainContract, ChainContract, SavingContract):
    """FakeHypervisor keeps the contract."""


class TestFakeNetworks(NetworkContract):
    """FakeNetworks keeps the contract."""


class TestFakeSamples(SamplesContract):
    """FakeSamples keeps the contract."""

    @pytest.fixture
    def samples(self) -> FakeSamples:
        return FakeSamples()


class TestFakeRescues(RescuesContract):
    """FakeRescues keeps the contract."""

    @pytest.fixture
    def rescues(self) -> FakeRescues:
        return FakeRescues(limit=10_000)


class FakeHome:
    """The home of FakeLogins."""

    def __init__(self) -> None:
        self.logins = FakeLogins(FakeClock())

    def put(self, path: str, content: bytes) -> None:
        self.logins.has(path, content.decode())

    def kept(self) -> list[bytes]:
        return self.logins.kept


class TestFakeLogins(LoginsContract):
    """FakeLogins keeps the contract."""

    @pytest.fixture
    def home(self) -> FakeHome:
        return FakeHome()
