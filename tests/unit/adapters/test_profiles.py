"""Profiles are read from their directory; a user's name for one never becomes a path."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltfleet.adapters.profiles import ProfileFiles
from moltfleet.model.errors import InvalidInput, NotFound
from moltfleet.model.recipe import CloudConfig, Profile

INDEX = """\
description: for a test
fragments: [10-b, 00-a]
required_commands: [git]
required_services: [ssh]
desktop: true
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in {"profiles/one.yaml": INDEX, "fragments/00-a.yaml": "a", "fragments/10-b.yaml": "b"}.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_profile_has_its_fragments_in_the_order_of_its_index(directory: Path) -> None:
    assert ProfileFiles(directory).get("one") == Profile(
        name="one",
        fragments=(
            CloudConfig("cloud-init/fragments/10-b.yaml", "b"),
            CloudConfig("cloud-init/fragments/00-a.yaml", "a"),
        ),
        required_commands=("git",),
        required_services=("ssh",),
        desktop=True,
        description="for a test",
    )


def test_an_unknown_profile_is_not_found_and_the_known_ones_are_named(directory: Path) -> None:
    with pytest.raises(NotFound) as caught:
        ProfileFiles(directory).get("two")

    assert caught.value.brief == "No profile is named 'two'"
    assert caught.value.hint == "There are: one."


@pytest.mark.parametrize("name", ["../profiles/one", "", "one.yaml", "/etc/passwd", "*"])
def test_a_name_is_never_a_path(directory: Path, name: str) -> None:
    with pytest.raises(NotFound):
        ProfileFiles(directory).get(name)


def test_a_fragment_that_is_not_there_is_named(directory: Path) -> None:
    (directory / "fragments/00-a.yaml").unlink()

    with pytest.raises(InvalidInput, match="Fragment '00-a' cannot be read"):
        ProfileFiles(directory).get("one")


@pytest.mark.parametrize("text", ["", "- a list", "fragments: [", INDEX + "colour: red\n", INDEX.replace("true", "3")])
def test_an_index_that_is_broken_is_named(directory: Path, text: str) -> None:
    (directory / "profiles/one.yaml").write_text(text)

    with pytest.raises(InvalidInput, match=r"Index one\.yaml of a profile cannot be read"):
        ProfileFiles(directory).get("one")


def test_the_shipped_profiles_build_upon_each_other() -> None:
    files = ProfileFiles()
    minimal, agent, desktop = (files.get(name) for name in ("minimal", "agent", "desktop"))

    assert {"agent", "desktop", "minimal"} <= set(files.names())
    assert set(minimal.fragments) < set(agent.fragments) < set(desktop.fragments)
    assert set(minimal.required_commands) < set(agent.required_commands) < set(desktop.required_commands)
    assert set(minimal.required_services) < set(agent.required_services) < set(desktop.required_services)
    assert (minimal.desktop, agent.desktop, desktop.desktop) == (False, False, True)
    assert {"claude", "codex", "gemini", "docker", "node"} <= set(agent.required_commands)
