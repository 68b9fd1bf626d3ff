"""A host in memory for tests of operations."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes import World, a_world


@pytest.fixture
def world() -> Iterator[World]:
    """A host with the golden "base"; whatever a test does, nothing that real libvirt merely allows may happen."""
    made = a_world()
    yield made
    assert made.hypervisor.violations == []


@pytest.fixture
def clone(world: World) -> World:
    """The same host with the warm clone "crab-1"."""
    world.add_clone("crab-1")
    return world
