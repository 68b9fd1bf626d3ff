"""Plans: what each figure is taken from, what is measured, and that libvirt is asked only when it is needed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes import World, a_calm_host, a_world
from moltfleet.config import Config, load_config
from moltfleet.model.admission import Rule
from moltfleet.model.capacity import Verdict
from moltfleet.model.domain import VirtType
from moltfleet.model.errors import HostUnavailable, InvalidInput, NotFound
from moltfleet.model.load import Reservation
from moltfleet.model.mix import parse_mix
from moltfleet.model.plan import Plan, Workload
from moltfleet.model.size import Size
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.plan import PlanRequest, plan

GIB = Size.of_gib


def nowhere() -> Fleet:
    raise AssertionError("this question needs no libvirt")


def thought_of(config: Config | None = None, **request: Any) -> Plan:
    return plan(config or Config(), PlanRequest(**request), nowhere)


def measured(world: World, **request: Any) -> Plan:
    return plan(world.config, PlanRequest(**request), lambda: world.fleet)


def test_64_gib_and_12_gib_are_the_published_example() -> None:
    found = thought_of(hosts=(GIB(64),), memories=(GIB(12),), cpus=8)
    assert (found.capacity.available, found.capacity.max_clones, found.capacity.safe_clones) == (GIB(54), 4, 3)
    assert (found.vcpu_ratio, found.now, found.matrix, found.notes) == (2.0, None, (), ())


def test_what_is_asked_for_wins_over_the_golden_and_that_over_the_config() -> None:
    world = a_world()
    by_config = measured(world, hosts=(GIB(64),)).clone
    by_golden = measured(world, hosts=(GIB(64),), golden="base").clone
    asked = measured(world, hosts=(GIB(64),), golden="base", memories=(GIB(3),), vcpus=1).clone
    assert (by_config.memory, by_config.memory_origin, by_config.vcpus) == (GIB(16), "default", 4)
    assert (by_golden.memory, by_golden.memory_origin, by_golden.vcpus) == (GIB(2), "golden 'base'", 2)
    assert (asked.memory, asked.memory_origin, asked.vcpus, asked.vcpus_origin) == (GIB(3), "--memory", 1, "--vcpus")


def test_settings_of_the_config_name_themselves(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('reserve = "4G"\n[defaults]\nmemory = "6G"\nvcpus = 3\n')
    config = load_config(tmp_path / "m.toml", uri=None, environment={})
    found = thought_of(config, hosts=(GIB(64),))
    assert (found.host.reserve, found.host.reserve_origin) == (GIB(4), "reserve in the config")
    assert (found.clone.memory, found.clone.memory_origin) == (GIB(6), "defaults.memory in the config")
    assert (found.clone.vcpus, found.clone.vcpus_origin) == (3, "defaults.vcpus in the config")


def test_hosts_and_sizes_are_all_combined() -> None:
    found = thought_of(hosts=(GIB(32), GIB(64)), memories=(GIB(12), GIB(16)))
    cells = [(c.host, c.clone, c.max_clones, c.safe_clones) for c in found.matrix]
    assert cells == [
        (GIB(32), GIB(12), 1, 0), (GIB(32), GIB(16), 1, 0), (GIB(64), GIB(12), 4, 3), (GIB(64), GIB(16), 3, 2),
    ]  # fmt: skip
    assert found.capacity == found.matrix[0]
    assert [c.clone for c in thought_of(hosts=(GIB(32), GIB(64))).matrix][:4] == [GIB(n) for n in (8, 12, 16, 24)]


def test_this_host_is_measured_and_every_domain_counts() -> None:
    world = a_world(clones=("crab-1",))
    world.hypervisor.add_foreign("theirs")
    world.hypervisor.start("theirs")
    found = measured(world, memories=(GIB(12),))
    assert (found.host.memory, found.host.memory_origin) == (GIB(64), "/proc/meminfo")
    assert (found.host.cpus, found.host.cpus_origin) == (8, "this machine")
    assert found.now is not None and found.now.admission.admit
    # 54 GiB - 2.25 (crab-1) - 1.25 (theirs) hold four of 12.25 GiB.
    assert found.now.clones == 4
    assert "2 active domains 3.50 GiB" in found.now.admission.rules[0].detail


def test_starts_under_way_count() -> None:
    world = a_world()
    kept = Reservation("crab-1", GIB(40), "ann", 7, world.clock.now())
    reservations = type("Kept", (), {"current": lambda self: (kept,)})()
    fleet = replace(world.fleet, reservations=reservations)
    found = plan(world.config, PlanRequest(), lambda: fleet)
    assert found.now is not None and not found.now.admission.admit
    assert [result.rule for result in found.now.admission.failed] == [Rule.COMMITTED]
    assert found.now.admission.largest == GIB(13.75)


def test_a_host_that_is_thought_of_says_nothing_about_now() -> None:
    assert measured(a_world(), hosts=(GIB(64),), golden="base").now is None


def test_the_disk_is_told_by_what_is_really_there() -> None:
    world = a_world(clones=("crab-1", "crab-2"))
    disk = measured(world, golden="base").disk
    volumes = {volume.name: volume.allocation for volume in world.storage.volumes()}
    assert disk is not None
    assert disk.golden_size == volumes["base.g1.qcow2"] + volumes["base.g1.json"]
    assert (disk.growth, disk.growth_origin) == (GIB(1), "disk_growth, default")
    ram = {name: size for name, size in volumes.items() if name.endswith(".ram")}
    assert disk.ram_image == max(ram.values()) and disk.ram_origin.startswith("the largest of its clones: 'crab-")
    assert disk.pool_free == world.storage.free_space()
    assert disk.clones == world.storage.free_space().bytes // disk.per_clone.bytes


def test_a_clone_that_wrote_more_than_expected_is_what_is_expected() -> None:
    world = a_world(clones=("crab-1",), disk_growth=Size(1))
    disk = measured(world, golden="base").disk
    assert disk is not None
    assert disk.growth == world.storage.get(world.record("crab-1").top).allocation
    assert disk.growth_origin == "the most a clone of it has written: 'crab-1'"


def test_without_a_running_pool_the_disk_is_not_guessed() -> None:
    world = a_world()
    world.storage.has_pool = False
    found = measured(world, golden="base")
    assert found.disk is not None and found.now is not None
    assert (found.disk.pool_free, found.disk.clones) == (None, None)
    assert found.now.admission.rules[3].measured is False


def test_before_the_first_clone_its_ram_is_estimated_from_the_golden() -> None:
    disk = measured(a_world(), golden="base").disk
    assert disk is not None
    assert (disk.ram_image, disk.ram_origin) == (Size(2 << 27), "twice what the golden used when idle")


def test_an_unknown_golden_is_not_found() -> None:
    with pytest.raises(NotFound):
        measured(a_world(), golden="bass")


def test_a_host_without_libvirt_can_still_be_thought_of() -> None:
    world = a_world()

    class Gone:
        def host(self) -> None:
            raise HostUnavailable("libvirt is not running", hint="Start it.")

    fleet = replace(world.fleet, hypervisor=Gone())  # type: ignore[arg-type]
    with pytest.raises(HostUnavailable) as caught:
        plan(world.config, PlanRequest(), lambda: fleet)
    assert caught.value.hint == "Start it. A plan for --host-memory SIZE needs no libvirt."


@pytest.mark.parametrize(
    ("request_", "hint"),
    [
        ({"hosts": (Size.of_mib(64),)}, "64G means GiB"),
        ({"hosts": (GIB(64), Size.of_mib(128))}, "128G means GiB"),
        ({"hosts": (GIB(64),), "memories": (GIB(1), Size.of_mib(12))}, "12G means GiB"),
        ({"hosts": (GIB(64),), "memories": (Size(1),)}, "Example: 12G"),
        ({"hosts": (GIB(64),), "vcpus": 2, "workload": Workload.LIGHT}, "one of the two"),
    ],
)
def test_what_is_no_question_is_refused_before_anything_is_asked(request_: dict[str, Any], hint: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        thought_of(**request_)
    assert caught.value.hint is not None and hint in caught.value.hint


def notes_of(**request: Any) -> str:
    return "\n".join(thought_of(**({"hosts": (GIB(64),), "cpus": 64} | request)).notes)


@pytest.mark.parametrize(
    ("request_", "note"),
    [
        ({"hosts": (GIB(8),)}, "8 GiB of host are no more than the reserve of 10 GiB"),
        ({"hosts": (GIB(20),)}, "Not one clone of 16 GiB fits into the 10 GiB"),
        ({"hosts": (GIB(32),)}, "0 safe, 1 possible at your own risk"),
        ({"memories": (GIB(18),)}, "QEMU takes up to 256 MiB beside each clone's memory"),
        ({"memories": (GIB(18),)}, "up to 2 such clones"),
        ({"cpus": None}, "The host's CPUs are not known"),
        ({"cpus": 4}, "3.0 vCPUs share each CPU: up to 2 do well"),
        ({"cpus": 3}, "A clone's 4 vCPUs are more than the host's 3 CPUs"),
        ({"cpus": 16, "workload": Workload.HEAVY}, "1.5 vCPUs share each CPU: builds"),
        ({"hosts": (GIB(1024),), "memories": (GIB(2),)}, "253 addresses"),
        ({"hosts": (GIB(8), GIB(32))}, "Where 1 is possible and 0 are safe"),
        ({"hosts": (GIB(8), GIB(64))}, "A host with no more than the reserve of 10 GiB"),
    ],
)
def test_what_the_figures_hide_is_noted(request_: dict[str, Any], note: str) -> None:
    assert note in notes_of(**request_)


def test_a_plan_without_catches_has_no_notes() -> None:
    assert notes_of(memories=(GIB(12),)) == ""


def test_an_emulated_host_and_one_that_libvirt_misjudges_are_noted() -> None:
    world = a_world()
    world.hypervisor.facts = replace(
        world.hypervisor.facts, virt_type=VirtType.QEMU, virt_reason="no KVM", memory_note="23.5 GiB by the kernel"
    )
    notes = measured(world).notes
    assert "Guests are emulated (no KVM), and counted with more of QEMU's own memory" in notes
    assert "23.5 GiB by the kernel" in notes


def test_the_hosts_memory_can_be_overridden_for_now_as_well() -> None:
    world = a_world(host_memory="32G")
    world.meter.load = replace(a_calm_host(), available=GIB(60))
    found = measured(world)
    assert found.host.memory_origin == "host_memory in the config"
    assert found.now is not None and found.now.clones == 1 and found.now.admission.warning is not None


def test_a_mix_and_a_wish_are_judged_on_the_host() -> None:
    found = thought_of(hosts=(GIB(64),), mix=parse_mix("2x16G+1x8G"), fit=4)
    assert found.mix is not None and found.mix.verdict(found.capacity.available) is Verdict.POSSIBLE
    assert found.fit is not None and found.fit.verdict is Verdict.NO


@given(st.integers(1024, 2**22), st.integers(64, 2**20), st.integers(64, 2**20), st.integers(0, 2**20), st.booleans())
def test_now_never_grants_more_than_the_plan_says_is_possible(
    host: int, clone: int, running: int, available: int, emulated: bool
) -> None:
    world = a_world(clones=("crab-1",))
    world.hypervisor.facts = replace(world.hypervisor.facts, virt_type=VirtType.QEMU if emulated else VirtType.KVM)
    machine = world.hypervisor.machines["crab-1"]
    machine.spec = replace(machine.spec, memory=Size.of_mib(running))
    world.meter.load = replace(a_calm_host(), total=Size.of_mib(host), available=Size.of_mib(available))
    found = measured(world, memories=(Size.of_mib(clone),))
    assert found.now is not None
    assert found.now.clones <= found.capacity.max_clones
    assert found.now.admission.admit is (found.now.clones > 0)
    if found.now.admission.admit:
        assert found.now.admission.largest >= Size.of_mib(clone)
