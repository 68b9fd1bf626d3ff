"""Base images in the pool: what an interrupted upload left goes with the next build of any image."""

from __future__ import annotations

import pytest

from fakes import Disk, Killed, Process, World, effects_told_to
from fakes.soundness import CACHES
from moltfleet.model.requests import BuildRequest
from moltfleet.model.volumes import marker_volume
from moltfleet.operations import golden_build

HALF = "image.0123456789abcdef.qcow2"


def build(world: World, name: str = "two", image: str = "debian-12") -> None:
    golden_build.build(world.fleet, BuildRequest(name, image, profile="minimal"))


def caches(world: World) -> set[str]:
    return {name for name in world.storage.names() if name.startswith(CACHES)}


def half_uploaded(world: World) -> None:
    world.storage.put(Disk(HALF, "raw", 1 << 30, data=b"half of it"))


def test_half_an_image_goes_with_the_next_build_of_another(world: World) -> None:
    half_uploaded(world)
    build(world)
    assert HALF not in world.storage.names()
    assert any(HALF in text for text in world.progress.texts("say"))


@pytest.mark.parametrize("kind", ["image", "stage"])
def test_a_marker_without_its_volume_goes(world: World, kind: str) -> None:
    marker = f"{kind}.0123456789abcdef.qcow2.json"
    world.storage.put(Disk(marker, "raw", 2, data=b"{}"))
    build(world)
    assert marker not in world.storage.names()


def test_whole_images_and_stages_stay_for_the_next_build(world: World) -> None:
    build(world)
    before = caches(world)
    build(world, "three", "ubuntu-24.04")
    assert before < caches(world)


def test_an_image_that_is_being_uploaded_by_another_stays(world: World) -> None:
    half_uploaded(world)
    world.locks.hold_by_other(HALF, verb="upload")
    build(world)
    assert HALF in world.storage.names()


def test_an_image_that_something_stands_on_stays_though_its_marker_does_not_fit(world: World) -> None:
    build(world)
    (image,) = [name for name in caches(world) if name.startswith("image.") and name.endswith(".qcow2")]
    world.clock.sleep(1)
    world.storage.write(world.storage.path_of(image), "somebody", "wrote")
    build(world, "three", "ubuntu-24.04")
    assert {image, marker_volume(image)} <= world.storage.names()


def test_a_volume_of_somebodys_with_a_similar_name_stays(world: World) -> None:
    for name in ("image.qcow2", "image.mine.qcow2", "image.0123456789abcdef.qcow2.bak", "notes.json"):
        world.storage.put(Disk(name, "qcow2", 1 << 30))
    build(world)
    assert {"image.qcow2", "image.mine.qcow2", "image.0123456789abcdef.qcow2.bak", "notes.json"} <= (
        world.storage.names()
    )


def test_the_volume_that_is_built_from_is_nobodys_leftover(world: World) -> None:
    half_uploaded(world)
    world.storage.disks[HALF].format = "qcow2"
    build(world, image=f"volume:{HALF}")
    assert HALF in world.storage.names()


def test_killed_at_any_point_of_an_upload_nothing_of_it_stays_after_a_build_of_another_image(world: World) -> None:
    build(world)
    whole = caches(world)
    for number in range(1, 6):
        process = Process(kill_after=number)
        with effects_told_to(process), pytest.raises(Killed):
            golden_build.build(world.process(process), BuildRequest("x", f"image-{number}", profile="minimal"))
        build(world, f"after-{number}")
    assert {name for name in caches(world) - whole if name.startswith("image.")} <= complete(world)


def complete(world: World) -> set[str]:
    """Images with their markers."""
    images = {name for name in caches(world) if name.endswith(".qcow2")}
    return {name for image in images if (marker := marker_volume(image)) in caches(world) for name in (image, marker)}
