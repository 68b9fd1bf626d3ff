"""The contracts, kept by the libvirt adapters as far as the test driver goes; the rest is for the system tests."""

from __future__ import annotations

from contract.domains import DomainContract
from contract.networks import NetworkContract
from contract.storage import StorageContract


class TestLibvirtStorage(StorageContract):
    """LibvirtStorage keeps the contract."""


class TestLibvirtHypervisor(DomainContract):
    """LibvirtHypervisor keeps the contract."""


class TestLibvirtNetworks(NetworkContract):
    """LibvirtNetworks keeps the contract."""
