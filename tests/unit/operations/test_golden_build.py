"""Golden builds: what is published, what is used again, and what a failure leaves (nothing but caches)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from fakes import World, failed
from moltfleet.model.errors import AlreadyExists, Busy, GuestFailed, InvalidInput, MoltfleetError, NotFound, WrongState
from moltfleet.model.recipe import CloudConfig, Script
from moltfleet.model.records import GoldenRecord
from moltfleet.model.requests import BuildRequest
from moltfleet.model.size import Size
from moltfleet.operations import golden_build, listing
from moltfleet.operations.tools_archive import pack


def request(name: str = "two", **changes: object) -> BuildRequest:
    return BuildRequest(name, "debian-12", profile="minimal", **changes)  # type: ignore[arg-type]


def leftovers(world: World) -> set[str]:
    """Volumes that are neither the first golden's nor a cache."""
    return {name for name in world.storage.names() if not name.startswith(("image.", "stage.", "base."))}


def test_a_build_publishes_a_shut_off_read_only_golden_and_leaves_nothing_else(world: World) -> None:
    view = golden_build.build(world.fleet, request())
    assert (view.name, view.generation, view.clones) == ("two", 1, ())
    assert set(world.hypervisor.machines) == {"base", "two"}
    machine = world.hypervisor.machines["two"]
    assert machine.spec.is_disk_readonly and machine.running is None
    assert leftovers(world) == {"two.g1.qcow2", "two.g1.json"}


def test_a_published_image_stands_alone_and_is_sealed(world: World) -> None:
    golden_build.build(world.fleet, request())
    assert world.storage.disks["two.g1.qcow2"].backing is None
    content = world.storage.content("two.g1.qcow2")
    assert {key: content.get(key) for key in ("machine-id", "host-key", "authorized")} == {
        "machine-id": "",
        "host-key": "",
        "authorized": "",
    }


def test_a_build_boots_its_two_probes_with_addresses_of_their_own(world: World) -> None:
    golden_build.build(world.fleet, request())
    identities = [command for command in world.hypervisor.commands if "identity.sh" in command[1]]
    assert sorted(name for name, _ in identities) == ["two.build", "two.probe-1", "two.probe-2"]


def test_the_manifest_says_what_the_golden_was_made_from(world: World) -> None:
    golden_build.build(world.fleet, request(packages=("jq",), scripts=(Script("setup.sh", b"true"),)))
    _, manifest = listing.show_golden(world.fleet, "two")
    assert manifest["schema"] == "moltfleet.manifest/1"
    assert (manifest["source"], manifest["extra_packages"], manifest["scripts"]) == ("debian-12", ["jq"], ["setup.sh"])
    assert (manifest["packages"], manifest["npm_packages"]) == ({"jq": "1.6"}, {"npm": "10.9.9"})


def manifest(world: World) -> dict[str, object]:
    return dict(listing.show_golden(world.fleet, "two")[1])


def installed(world: World) -> list[str]:
    return [name for name, command in world.hypervisor.commands if "install.py install" in command]


def test_guest_tools_go_in_above_the_first_stage_and_stand_in_the_manifest(world: World) -> None:
    golden_build.build(world.fleet, request())
    version = pack(world.fleet).version
    assert manifest(world)["guest_tools"] == version
    assert world.storage.content("two.g1.qcow2")["tools"] == version
    assert "tools" not in world.storage.content(stage(world))


def test_a_build_on_a_kept_stage_gets_its_tools_too(world: World) -> None:
    golden_build.build(world.fleet, request(tools=False))
    assert manifest(world)["guest_tools"] is None
    golden_build.build(world.fleet, request())
    assert manifest(world)["guest_tools"] == pack(world.fleet).version
    assert installed(world) == ["two.build"]


def test_tools_come_after_the_scripts_and_before_the_seal(world: World) -> None:
    golden_build.build(world.fleet, request(scripts=(Script("setup.sh", b"true"),)))
    marks = ("user-script", "install.py install", "verify.py", "BASE_MB", "seal.sh")
    order = [next((m for m in marks if m in command), None) for _, command in world.hypervisor.commands]
    seen = [mark for mark in order if mark is not None]
    assert sorted(set(seen), key=seen.index) == list(marks)


def test_what_the_idle_guest_uses_is_told_to_its_limits(world: World) -> None:
    golden_build.build(world.fleet, request())
    (command,) = [command for _, command in world.hypervisor.commands if "BASE_MB" in command]
    assert command.endswith(f" sh {123_456 // 1024}")


@pytest.mark.parametrize("lack", ["no-systemd", "no-python"])
def test_a_guest_that_cannot_have_tools_is_built_without_and_that_is_said(world: World, lack: str) -> None:
    world.hypervisor.behave("two.build", lacks=lack)
    golden_build.build(world.fleet, request())
    assert manifest(world)["guest_tools"] is None
    assert any("Golden gets no guest tools" in text for text in world.progress.texts("warn"))


def test_tools_that_were_asked_for_and_cannot_be_fail_the_build(world: World) -> None:
    world.hypervisor.behave("two.build", lacks="no-systemd")
    with pytest.raises(WrongState, match="cannot have the tools: it does not run systemd"):
        golden_build.build(world.fleet, request(tools=True))
    assert leftovers(world) == set()


def test_profile_none_leaves_an_image_as_it_is_unless_told_otherwise(world: World) -> None:
    golden_build.build(world.fleet, replace(request(), profile="none"))
    assert manifest(world)["guest_tools"] is None and installed(world) == []
    golden_build.build(world.fleet, replace(request(tools=True), profile="none"))
    assert installed(world) == ["two.build"]


def test_tools_that_do_not_install_fail_the_build_with_what_the_guest_said(world: World) -> None:
    world.hypervisor.behave("two.build", answers={"install.py install": failed("no room")})
    with pytest.raises(GuestFailed, match=r"could not be installed in 'two\.build'") as caught:
        golden_build.build(world.fleet, request())
    assert caught.value.excerpt == "no room"
    assert leftovers(world) == set()


def test_a_second_build_is_the_next_generation_and_leaves_clones_of_the_first_alone(world: World) -> None:
    golden_build.build(world.fleet, request())
    clone = world.add_clone("crab-1", golden="two")
    view = golden_build.build(world.fleet, request())
    assert (view.generation, view.generations, view.clones) == (2, (1, 2), ("crab-1",))
    assert world.record("crab-1") == clone
    assert world.hypervisor.machines["two"].disk == world.storage.path_of("two.g2.qcow2")


def test_a_second_build_uses_the_first_stage_again(world: World) -> None:
    golden_build.build(world.fleet, request())
    before = world.storage.disks[stage(world)].mtime
    golden_build.build(world.fleet, request(packages=("tmux",)))
    assert world.storage.disks[stage(world)].mtime == before


def test_other_user_data_makes_another_stage(world: World) -> None:
    golden_build.build(world.fleet, request())
    golden_build.build(world.fleet, request(user_data=(CloudConfig("mine.yaml", "packages: [tmux]"),)))
    assert len([n for n in world.storage.names() if n.startswith("stage.") and n.endswith(".qcow2")]) == 2


def test_a_stage_that_was_written_to_is_not_used_again(world: World) -> None:
    golden_build.build(world.fleet, request())
    world.clock.sleep(60)
    world.storage.write(world.storage.path_of(stage(world)), "virus", "yes")
    golden_build.build(world.fleet, request())
    assert "virus" not in world.storage.content("two.g2.qcow2")


def stage(world: World) -> str:
    (name,) = (n for n in world.storage.names() if n.startswith("stage.") and n.endswith(".qcow2"))
    return name


def test_a_build_without_guest_agent_shuts_down_to_freeze_its_stage(world: World) -> None:
    world.hypervisor.behave("two.build", has_agent=False)
    assert golden_build.build(world.fleet, request()).generation == 1


def test_a_failing_script_is_named_with_the_end_of_its_output(world: World) -> None:
    world.hypervisor.behave("two.build", answers={"user-script": failed("line 1\nboom\x1b[2J")})
    with pytest.raises(GuestFailed, match=r"Script 'setup.sh' failed in the guest with exit status 1") as caught:
        golden_build.build(world.fleet, request(scripts=(Script("setup.sh", b"false"),)))
    assert caught.value.excerpt == "line 1\nboom?[2J"
    assert leftovers(world) == set()
    assert "two.build" not in world.hypervisor.machines


def test_a_missing_command_is_named(world: World) -> None:
    world.hypervisor.behave("two.build", missing_commands=("jq",))
    with pytest.raises(GuestFailed, match="command jq is missing"):
        golden_build.build(world.fleet, request())
    assert leftovers(world) == set()


def test_a_failed_service_is_named(world: World) -> None:
    report = {"missing_commands": [], "failed_services": {"docker": "failed"}, "failed_steps": []}
    world.hypervisor.behave("two.build", answers={"verify.py": failed("")})
    answer = failed("")
    answers = {"verify.py": type(answer)(1, json.dumps(report).encode(), b"")}
    world.hypervisor.behave("two.build", answers=answers)
    with pytest.raises(GuestFailed, match="service docker is not active"):
        golden_build.build(world.fleet, request())


def test_a_golden_that_keeps_an_identity_is_not_published(world: World) -> None:
    world.hypervisor.behave("two.build", keeps_identity=True)
    with pytest.raises(GuestFailed, match="is not sealed: a clone and the build share machine-id"):
        golden_build.build(world.fleet, request())
    assert leftovers(world) == set()
    assert set(world.hypervisor.machines) == {"base"}


def test_an_unsealed_second_generation_leaves_the_first_in_service(world: World) -> None:
    golden_build.build(world.fleet, request())
    world.hypervisor.behave("two.build", keeps_identity=True)
    with pytest.raises(GuestFailed):
        golden_build.build(world.fleet, request(packages=("tmux",)))
    assert listing.view_golden(world.fleet, "two").generations == (1,)
    assert leftovers(world) == {"two.g1.qcow2", "two.g1.json"}


def test_a_probe_that_does_not_come_up_fails_the_build(world: World) -> None:
    world.hypervisor.behave("two.probe-2", shows_banner=False)
    with pytest.raises(MoltfleetError, match=r"SSH server of 'two\.probe-2'"):
        golden_build.build(world.fleet, request())
    assert set(world.hypervisor.machines) == {"base"}
    assert leftovers(world) == set()


def test_failing_cloud_init_ends_the_build_at_once_with_its_log(world: World) -> None:
    world.hypervisor.behave("two.build", cloud_init="error")
    started = world.clock.now()
    with pytest.raises(GuestFailed, match="no such package") as caught:
        golden_build.build(world.fleet, request())
    assert caught.value.excerpt and "\x1b" not in caught.value.excerpt
    assert world.clock.now() - started < 60


def test_a_name_of_another_domain_is_refused(world: World) -> None:
    world.hypervisor.add_foreign("theirs")
    with pytest.raises(AlreadyExists, match="'theirs' is taken by another domain"):
        golden_build.build(world.fleet, request("theirs"))


@pytest.mark.parametrize("name", ["", "Two", "two.build", "a" * 49, "../x", "<&\"'"])
def test_a_bad_name_is_refused_before_anything_is_fetched(world: World, name: str) -> None:
    with pytest.raises(InvalidInput):
        golden_build.build(world.fleet, request(name))
    assert world.images.fetched == []


def test_a_missing_image_leaves_nothing(world: World) -> None:
    with pytest.raises(NotFound):
        golden_build.build(world.fleet, BuildRequest("two", "missing", profile="minimal"))
    assert leftovers(world) == set()


def test_a_disk_smaller_than_its_image_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="smaller than its image"):
        golden_build.build(world.fleet, request(disk=Size.of_gib(1)))


def test_user_data_beyond_any_seed_is_refused(world: World) -> None:
    with pytest.raises(InvalidInput, match="longer than 256 KiB"):
        golden_build.build(world.fleet, request(user_data=(CloudConfig("big", "x" * 300_000),)))


def test_the_same_golden_is_built_once_at_a_time(world: World) -> None:
    world.locks.hold_by_other("two", verb="build")
    with pytest.raises(Busy):
        golden_build.build(world.fleet, request())


def test_an_image_is_uploaded_once(world: World) -> None:
    golden_build.build(world.fleet, request())
    (image,) = (n for n in world.storage.names() if n.startswith("image.") and n.endswith(".qcow2"))
    before = world.storage.disks[image].mtime
    world.clock.sleep(60)
    golden_build.build(world.fleet, request("three"))
    assert world.storage.disks[image].mtime == before


def test_a_dry_run_changes_nothing(world: World) -> None:
    before = world.storage.names()
    lines = golden_build.plan_build(world.fleet, request())
    assert lines[0] == "two: generation 1 from debian-12"
    assert world.storage.names() == before and world.images.fetched == []


def test_the_record_holds_the_defaults_of_clones(world: World) -> None:
    golden_build.build(world.fleet, request(memory=Size.of_gib(8), vcpus=3, disk=Size.of_gib(20), user="dev"))
    record = world.hypervisor.get("two").record
    assert isinstance(record, GoldenRecord)
    assert (record.memory, record.vcpus, record.disk, record.user) == (8 << 30, 3, 20 << 30, "dev")
