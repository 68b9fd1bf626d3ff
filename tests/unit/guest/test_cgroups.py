"""moltguest.watchdog.cgroups: the groups of agents, and what they use."""

from __future__ import annotations

from pathlib import Path

import pytest

from fakes.guesttree import MIB, GuestTree
from moltguest.watchdog.cgroups import Cgroups, is_inside, unit_of

USERS = "/user.slice/user-1000.slice/user@1000.service/agents.slice"


def test_the_systems_slice_and_those_of_users_are_found(tree: GuestTree) -> None:
    tree.scope("a.scope")
    tree.scope("b.scope", slice=USERS)
    cgroups = Cgroups(str(tree.root))

    assert cgroups.agents_slices() == ["/agents.slice", USERS]
    assert cgroups.units(USERS) == [f"{USERS}/b.scope"]


def test_units_in_slices_below_are_found_and_groups_within_units_are_not(tree: GuestTree) -> None:
    tree.scope("c.service", slice="/agents.slice/agents-night.slice")
    tree.slice()
    tree.scope("a.scope")
    tree.process(30, "/usr/bin/node", cgroup=tree.scope("inner.scope", slice="/agents.slice/a.scope"))
    cgroups = Cgroups(str(tree.root))

    assert cgroups.units("/agents.slice") == ["/agents.slice/a.scope", "/agents.slice/agents-night.slice/c.service"]
    assert cgroups.pids("/agents.slice/a.scope") == [30]


def test_what_can_be_dropped_is_not_used(tree: GuestTree) -> None:
    path = tree.scope("a.scope", 100, cache=50, shmem=30)
    tree.write(f"sys/fs/cgroup{path}/memory.stat", f"anon 1\nfile {80 * MIB}\nshmem {30 * MIB}\nslab_reclaimable 4096")

    usage = Cgroups(str(tree.root)).usage(path)

    assert usage is not None
    assert (usage.used, usage.shmem) == (100 * MIB - 4096, 30 * MIB)


def test_a_group_that_has_gone_is_none(tree: GuestTree) -> None:
    cgroups = Cgroups(str(tree.root))

    assert cgroups.usage("/agents.slice/gone.scope") is None
    assert cgroups.pids("/agents.slice/gone.scope") == []
    assert not cgroups.kill("/agents.slice/gone.scope")


def test_version_1_is_told_apart(tmp_path: Path) -> None:
    tree = GuestTree(tmp_path, unified=False)
    assert not Cgroups(str(tmp_path)).is_unified()
    tree.write("sys/fs/cgroup/cgroup.controllers", "cpu pids\n")
    assert not Cgroups(str(tmp_path)).is_unified(), "memory is with version 1 in a mixed setup"


@pytest.mark.parametrize(
    ("path", "unit"),
    [
        ("/agents.slice/a.scope", "/agents.slice/a.scope"),
        ("/agents.slice/a.scope/inner/x.scope", "/agents.slice/a.scope"),
        ("/agents.slice/agents-b.slice/a.service", "/agents.slice/agents-b.slice/a.service"),
        (f"{USERS}/a.scope", f"{USERS}/a.scope"),
        ("/agents.slice", ""),
        ("/user.slice/user-1000.slice/session-3.scope", ""),
        ("/myagents.slice/a.scope", ""),
        ("", ""),
    ],
)
def test_the_unit_of_a_group(path: str, unit: str) -> None:
    assert unit_of(path) == unit
    assert is_inside(path) == bool(unit)
