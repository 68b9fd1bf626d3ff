"""What admission is decided on: measured, with every origin, and nothing made for it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fakes import World, a_calm_host, a_world
from moltfleet.model.domain import VirtType
from moltfleet.model.load import Reservation
from moltfleet.model.records import GoldenRecord
from moltfleet.model.size import Size
from moltfleet.operations import measuring

GIB = Size.of_gib


def golden_of(world: World) -> GoldenRecord:
    record = world.hypervisor.get("base").record
    assert isinstance(record, GoldenRecord)
    return record


def test_every_active_domain_counts_whoever_it_belongs_to() -> None:
    world = a_world(clones=("crab-1", "crab-2"))
    world.hypervisor.add_foreign("theirs")
    world.hypervisor.start("theirs")
    world.hypervisor.destroy("crab-2")
    found = measuring.measure(world.fleet)
    assert {domain.name for domain in found.domains} == {"crab-1", "theirs"}
    assert (found.host, found.reserve, found.reserve_origin) == (a_calm_host(), GIB(10), "default")
    assert (found.pool_free, found.pool_origin) == (world.storage.free_space(), "pool 'moltfleet'")


def test_reservations_are_handed_on() -> None:
    kept = (Reservation("crab-1", GIB(1), "ann", 7, 0.0),)
    assert measuring.measure(a_world().fleet, reservations=kept).reservations == kept


def test_without_a_pool_its_room_is_not_measured() -> None:
    world = a_world(golden=None)
    world.storage.has_pool = False
    found = measuring.measure(world.fleet)
    assert (found.pool_free, found.pool_origin) == (None, "pool 'moltfleet' is not there, or does not run")


def test_settings_name_themselves_as_origins() -> None:
    found = measuring.measure(a_world(reserve="4G", host_memory="16G").fleet)
    assert (found.reserve, found.reserve_origin) == (GIB(4), "reserve in the config")
    assert (found.host.total, found.host.total_origin) == (GIB(16), "host_memory in the config")


def test_no_more_is_available_than_the_host_is_said_to_have() -> None:
    found = measuring.host_load(a_world(host_memory="16G").fleet)
    assert found.available == GIB(16)
    assert found.available_origin == "host_memory in the config; MemAvailable, /proc/meminfo is more: 60 GiB"
    world = a_world(host_memory="16G")
    world.meter.load = replace(a_calm_host(), available=GIB(3))
    assert (measuring.host_load(world.fleet).available, measuring.host_load(world.fleet).available_origin) == (
        GIB(3), "MemAvailable, /proc/meminfo",
    )  # fmt: skip


def test_a_new_clone_needs_its_growth_and_twice_the_idle_memory() -> None:
    world = a_world()
    found = measuring.new_clone(world.fleet, golden_of(world), name="crab-1", memory=GIB(2), vcpus=2)
    assert (found.name, found.memory, found.vcpus, found.emulated) == ("crab-1", GIB(2), 2, False)
    assert (found.disk_growth, found.ram_image) == (GIB(1), Size(2 << 27))


def test_a_full_clone_needs_room_for_the_copy_and_a_cold_one_none_for_ram() -> None:
    world = a_world()
    copied = world.storage.get("base.g1.qcow2").allocation
    found = measuring.new_clone(
        world.fleet, golden_of(world), name="crab-1", memory=GIB(2), vcpus=2, linked=False, with_ram=False
    )
    assert (found.disk_growth, found.ram_image) == (GIB(1) + copied, Size(0))


def test_a_ram_image_is_never_larger_than_the_memory() -> None:
    world = a_world()
    assert measuring.ram_image(golden_of(world), Size.of_mib(100)) == Size.of_mib(100)
    assert measuring.ram_image(None, GIB(2)) == GIB(2)


def test_a_known_clone_grows_no_further_than_its_disk() -> None:
    world = a_world(clones=("crab-1",), disk_growth="100G")
    domain = world.hypervisor.get("crab-1")
    top = world.storage.get(world.record("crab-1").top)
    found = measuring.known_clone(world.fleet, domain, world.record("crab-1"))
    assert (found.disk_growth, found.ram_image) == (top.capacity - top.allocation, Size(0))


def test_saving_ram_anew_needs_room_even_when_the_golden_is_gone() -> None:
    world = a_world(clones=("crab-1",))
    domain = world.hypervisor.get("crab-1")
    assert measuring.known_clone(world.fleet, domain, world.record("crab-1"), with_ram=True).ram_image == Size(2 << 27)
    world.hypervisor.undefine("base")
    assert measuring.known_clone(world.fleet, domain, world.record("crab-1"), with_ram=True).ram_image == GIB(2)


def test_without_kvm_guests_are_emulated() -> None:
    world = a_world(clones=("crab-1",))
    world.hypervisor.facts = replace(world.hypervisor.facts, virt_type=VirtType.QEMU)
    assert measuring.is_emulated(world.fleet)
    assert [domain.emulated for domain in measuring.measure(world.fleet).domains] == [True]


@pytest.mark.parametrize(("emulated", "vcpus", "expected"), [(True, 8, 1), (True, 4, 2), (True, 1, 4), (False, 8, 4)])
def test_emulated_guests_on_their_way_up_do_not_crowd_each_other(emulated: bool, vcpus: int, expected: int) -> None:
    world = World(jobs=4)
    world.hypervisor.facts = replace(world.hypervisor.facts, virt_type=VirtType.QEMU if emulated else VirtType.KVM)
    assert measuring.side_by_side(world.fleet, vcpus) == expected
