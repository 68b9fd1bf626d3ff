"""Golden updates: the next generation beside the old one, and nobody who stands on that notices; pruning old ones."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fakes import World, failed
from moltfleet.model.errors import Busy, GuestFailed, InvalidInput, NotFound, WrongState
from moltfleet.model.lineage import Change
from moltfleet.model.recipe import CloudConfig, Renewal, Script
from moltfleet.model.records import GoldenRecord
from moltfleet.model.requests import BuildRequest, UpdateRequest
from moltfleet.model.size import Size
from moltfleet.operations import delete, golden_build, golden_delete, golden_prune, golden_update, listing
from moltfleet.operations.clones import get_golden
from moltfleet.operations.tools_archive import pack


@pytest.fixture
def two(world: World) -> World:
    """The host with golden "two", built with jq 1.6, of which the distribution has 1.7 by now."""
    golden_build.build(world.fleet, BuildRequest("two", "debian-12", profile="minimal"))
    world.hypervisor.commands.clear()
    world.hypervisor.behave("two.build", newer="1.7")
    return world


def request(**changes: object) -> UpdateRequest:
    return UpdateRequest("two", **changes)  # type: ignore[arg-type]


def commands(world: World, text: str) -> list[str]:
    return [command for name, command in world.hypervisor.commands if text in command and name == "two.build"]


def own(world: World) -> set[str]:
    """Volumes of the golden, its clones and its builds."""
    return {name for name in world.storage.names() if not name.startswith(("image.", "stage.", "base."))}


def test_an_update_is_the_next_generation_with_what_is_newer(two: World) -> None:
    updated = golden_update.update(two.fleet, request())
    assert (updated.before, updated.number, updated.view.generations) == (1, 2, (1, 2))
    assert updated.packages == (Change("jq", "1.6", "1.7"),)
    assert (updated.npm_packages, updated.tools) == ((), None)
    assert own(two) == {"two.g1.qcow2", "two.g1.json", "two.g2.qcow2", "two.g2.json"}
    assert two.hypervisor.machines["two"].disk == two.storage.path_of("two.g2.qcow2")


def test_the_new_generation_stands_alone_and_is_sealed_and_proven(two: World) -> None:
    golden_update.update(two.fleet, request())
    assert two.storage.disks["two.g2.qcow2"].backing is None
    content = two.storage.content("two.g2.qcow2")
    assert {content.get(key) for key in ("machine-id", "host-key", "authorized")} == {""}
    identities = [name for name, command in two.hypervisor.commands if "identity.sh" in command]
    assert sorted(identities) == ["two.build", "two.probe-1", "two.probe-2"]


def test_running_clones_and_the_generation_under_them_are_not_written_to(two: World) -> None:
    two.add_clone("crab-1", golden="two")
    two.guest("crab-1").write("work", "of a day")
    before = {name: (disk.mtime, dict(disk.written)) for name, disk in two.storage.disks.items() if name in own(two)}
    record, running = two.record("crab-1"), two.hypervisor.machines["crab-1"].running
    two.clock.sleep(60)
    updated = golden_update.update(two.fleet, request())
    after = {name: (two.storage.disks[name].mtime, dict(two.storage.disks[name].written)) for name in before}
    assert after == before
    assert two.record("crab-1") == record
    assert two.hypervisor.machines["crab-1"].running is running
    assert updated.behind == ("crab-1",)


def test_new_clones_get_the_new_generation_and_old_ones_are_shown_behind(two: World) -> None:
    two.add_clone("crab-1", golden="two")
    golden_update.update(two.fleet, request())
    two.add_clone("crab-2", golden="two")
    seen = {view.name: (view.generation, view.latest_generation) for view in listing.list_clones(two.fleet)}
    assert seen == {"crab-1": (1, 2), "crab-2": (2, 2)}
    view = listing.view_golden(two.fleet, "two")
    assert (view.clones, view.behind) == (("crab-1", "crab-2"), ("crab-1",))


def test_the_guest_is_booted_once_more_after_new_packages(two: World) -> None:
    golden_update.update(two.fleet, request())
    renewing = commands(two, "renew.py")
    assert [command.partition("renew.py")[2] for command in renewing] == [" --packages --clis"]
    # The programs are brought in twice: a boot empties /tmp.
    assert len(commands(two, "mktemp")) == 2


def test_quick_renews_the_clis_alone_and_packages_the_packages_alone(two: World) -> None:
    golden_update.update(two.fleet, request(renewal=Renewal(packages=False), scripts=(Script("x.sh", b"true"),)))
    golden_update.update(two.fleet, request(renewal=Renewal(clis=False)))
    asked = [command.partition("renew.py")[2] for command in commands(two, "renew.py")]
    assert asked == [" --clis", " --packages"]


def test_without_anything_new_no_generation_is_made(two: World) -> None:
    two.hypervisor.behave("two.build", newer="")
    updated = golden_update.update(two.fleet, request())
    assert (updated.is_published, updated.number, updated.view.generations) == (False, 1, (1,))
    assert own(two) == {"two.g1.qcow2", "two.g1.json"}
    assert "two.build" not in two.hypervisor.machines


def test_scripts_and_user_data_are_news_by_themselves_and_stand_in_the_manifest(two: World) -> None:
    two.hypervisor.behave("two.build", newer="")
    documents = (CloudConfig("mine.yaml", "packages: [tmux]\n"),)
    golden_update.update(two.fleet, request(user_data=documents, scripts=(Script("harden.sh", b"true"),)))
    _, manifest = listing.show_golden(two.fleet, "two")
    assert (manifest["updated_from"], manifest["update_scripts"]) == (1, ["harden.sh"])
    assert manifest["update_user_data"] == ["mine.yaml"]
    assert (manifest["source"], manifest["profile"]) == ("debian-12", "minimal")
    assert len(commands(two, "user-script")) == 1


def test_user_data_reaches_the_seed_of_the_build(two: World, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds: list[bytes] = []
    upload = two.storage.upload

    def watch(name: str, source: object, **options: object) -> None:
        if name == "two.build.seed.iso":
            seeds.append(source.getvalue())  # type: ignore[attr-defined]
        upload(name, source, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(two.storage, "upload", watch)
    golden_update.update(two.fleet, request(user_data=(CloudConfig("mine.yaml", "packages: [tmux]\n"),)))
    assert [json.loads(seed)["documents"] for seed in seeds] == [["packages: [tmux]\n"]]


def test_the_record_of_the_golden_stays_what_it_was(two: World) -> None:
    _, before = get_golden(two.fleet, "two")
    golden_update.update(two.fleet, request())
    _, after = get_golden(two.fleet, "two")
    assert replace(after, generations=before.generations) == before


def test_new_guest_tools_are_news(two: World) -> None:
    _, manifest = listing.show_golden(two.fleet, "two")
    content = json.dumps({**manifest, "guest_tools": "0.0-old"}).encode()
    two.storage.disks["two.g1.json"].data = content
    two.hypervisor.behave("two.build", newer="")
    updated = golden_update.update(two.fleet, request())
    assert updated.tools == Change("guest tools", "0.0-old", pack(two.fleet).version)
    assert updated.number == 2


def test_a_golden_without_tools_does_not_get_any(two: World) -> None:
    golden_build.build(two.fleet, BuildRequest("bare", "debian-12", profile="minimal", tools=False))
    two.hypervisor.behave("bare.build", newer="1.7")
    updated = golden_update.update(two.fleet, UpdateRequest("bare"))
    assert (updated.number, updated.tools) == (2, None)


@pytest.mark.parametrize("text", [b"{nonsense", b"[]", b'{"schema": "moltfleet.manifest/1"}'])
def test_a_generation_that_does_not_tell_what_it_held_is_renewed_all_the_same(two: World, text: bytes) -> None:
    two.storage.disks["two.g1.json"].data = text
    updated = golden_update.update(two.fleet, request())
    assert (updated.number, updated.packages) == (2, None)


def test_a_profile_that_is_no_more_promises_nothing(two: World) -> None:
    machine = two.hypervisor.machines["two"]
    assert isinstance(machine.record, GoldenRecord)
    machine.record = replace(machine.record, profile="adopted")
    two.hypervisor.behave("two.build", missing_commands=())
    assert golden_update.update(two.fleet, request()).number == 2


def test_a_guest_without_python_is_not_renewed_and_that_is_said(two: World) -> None:
    golden_build.build(two.fleet, BuildRequest("bare", "debian-12", profile="minimal", tools=False))
    two.hypervisor.behave("bare.build", answers={"command -v python3": failed("")})
    golden_update.update(two.fleet, UpdateRequest("bare", scripts=(Script("x.sh", b"true"),)))
    assert not any("renew.py" in command for _, command in two.hypervisor.commands)
    assert any("neither its packages nor its CLIs" in text for text in two.progress.texts("warn"))


def test_a_renewal_that_fails_is_told_with_its_end_and_leaves_nothing(two: World) -> None:
    two.hypervisor.behave("two.build", answers={"renew.py": failed("E: no route to deb.debian.org")})
    with pytest.raises(GuestFailed, match="Renewing failed in the guest with exit status 1") as caught:
        golden_update.update(two.fleet, request())
    assert caught.value.excerpt == "E: no route to deb.debian.org"
    assert own(two) == {"two.g1.qcow2", "two.g1.json"}
    assert set(two.hypervisor.machines) == {"base", "two"}


def test_an_update_that_is_not_sealed_leaves_the_generation_before_in_service(two: World) -> None:
    two.hypervisor.behave("two.build", keeps_identity=True)
    with pytest.raises(GuestFailed, match="is not sealed"):
        golden_update.update(two.fleet, request())
    assert listing.view_golden(two.fleet, "two").generations == (1,)


def test_a_generation_that_was_written_to_is_not_built_on(two: World) -> None:
    two.clock.sleep(60)
    two.storage.write(two.storage.path_of("two.g1.qcow2"), "virus", "yes")
    with pytest.raises(WrongState, match="was written to since it was built"):
        golden_update.update(two.fleet, request())


def test_bad_requests_are_refused_before_anything_starts(two: World) -> None:
    with pytest.raises(NotFound):
        golden_update.update(two.fleet, UpdateRequest("three"))
    with pytest.raises(InvalidInput, match="longer than 256 KiB"):
        golden_update.update(two.fleet, request(user_data=(CloudConfig("big", "x" * 300_000),)))
    two.locks.hold_by_other("two", verb="build")
    with pytest.raises(Busy):
        golden_update.update(two.fleet, request())
    assert two.hypervisor.commands == []


def test_a_dry_run_tells_who_would_be_behind_and_changes_nothing(two: World) -> None:
    two.add_clone("crab-1", golden="two")
    before = two.storage.names()
    lines = golden_update.plan_update(two.fleet, request(renewal=Renewal(packages=False)))
    assert lines == (
        "two: generation 2 from generation 1",
        "renewed: the agents' CLIs; 0 cloud-config document(s), 0 script(s) on top",
        "would stay as they are, and be behind: crab-1",
    )
    assert two.storage.names() == before


# Pruning


@pytest.fixture
def three(two: World) -> World:
    """Generations 1 (with a clone), 2 and 3 of "two"."""
    two.add_clone("crab-1", golden="two")
    golden_update.update(two.fleet, request())
    two.hypervisor.behave("two.build", newer="1.8")
    golden_update.update(two.fleet, request())
    return two


def generations(world: World) -> tuple[int, ...]:
    return listing.view_golden(world.fleet, "two").generations


def test_pruning_deletes_what_nobody_stands_on_and_never_the_newest(three: World) -> None:
    (gone,) = golden_prune.prune(three.fleet, ())
    assert (gone.golden, gone.number) == ("two", 2)
    assert gone.allocation > Size(0)
    assert generations(three) == (1, 3)
    assert not {"two.g2.qcow2", "two.g2.json"} & three.storage.names()
    delete.delete(three.fleet, ["crab-1"])
    assert [spare.number for spare in golden_prune.prune(three.fleet, ("two",))] == [1]
    assert golden_prune.prune(three.fleet, ("two",)) == ()
    assert generations(three) == (3,)


def test_what_would_be_pruned_is_told_with_what_it_gives_back(three: World) -> None:
    lines = golden_prune.plan_prune(three.fleet, ("two",))
    assert lines[0].startswith("two: would delete generation 2 of 20")
    assert lines[-1].endswith(" in all")
    assert generations(three) == (1, 2, 3)
    golden_prune.prune(three.fleet, ())
    assert golden_prune.plan_prune(three.fleet, ()) == ("Every generation is the newest of its golden, or in use.",)


def test_a_generation_under_somebodys_own_volume_stays(three: World) -> None:
    three.storage.create_overlay("theirs.qcow2", backing="two.g2.qcow2")
    assert golden_prune.prune(three.fleet, ()) == ()
    assert generations(three) == (1, 2, 3)


def test_a_generation_that_a_foreign_domain_is_defined_on_stays(three: World) -> None:
    three.hypervisor.add_foreign("theirs", disk=three.storage.path_of("two.g2.qcow2"))
    assert golden_prune.prune(three.fleet, ()) == ()


def test_a_generation_that_turns_out_to_be_used_is_the_goldens_again(
    three: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golden_prune, "_used", lambda fleet, backings: frozenset())
    gone = golden_prune.prune(three.fleet, ("two",))
    assert [spare.number for spare in gone] == [2]
    assert generations(three) == (1, 3)
    assert get_golden(three.fleet, "two")[1].going == ()
    assert any("Generation 1 of 'two' stays" in text for text in three.progress.texts("warn"))


def test_a_busy_golden_is_told_alone_and_passed_over_among_others(three: World) -> None:
    three.locks.hold_by_other("two", verb="build")
    with pytest.raises(Busy):
        golden_prune.prune(three.fleet, ("two",))
    assert golden_prune.prune(three.fleet, ()) == ()
    assert any("Golden 'two' is left alone" in text for text in three.progress.texts("warn"))
    with pytest.raises(NotFound):
        golden_prune.prune(three.fleet, ("none",))


def test_a_golden_with_old_generations_is_deleted_with_all_of_them(three: World) -> None:
    delete.delete(three.fleet, ["crab-1"])
    golden_delete.delete_golden(three.fleet, "two")
    assert own(three) == set()
