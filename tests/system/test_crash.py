"""Kill -9 after every effect of every act, on the real hypervisor; the next command repairs, the one after has nothing.

The points are those of the code's own list: an effect that no case reaches fails the last test of this file.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltfleet.model.effects import Effect

from . import soundness
from .conftest import IMAGES, LONGEST_S, User

KILLED = Path(__file__).with_name("killed.py")
REPAIRS = ("Clearing away", "Finishing an", "Finishing the", "Taking back")
reached: set[str] = set()

CREATE = [e for e in Effect if e.startswith("create.")]
WARM_POINT = [
    Effect.CLEAN_JOURNALLED,
    Effect.CLEAN_OVERLAID,
    Effect.CLEAN_SAVED,
    Effect.CLEAN_REDEFINED,
    Effect.CLEAN_RECORDED,
    Effect.CLEAN_RESUMED,
]
MOLT = [e for e in Effect if e.startswith("molt.")]
UNDO = [e for e in Effect if e.startswith("undo.")]
DELETE = [e for e in Effect if e.startswith("delete.")]
BUILD = [e for e in Effect if e.startswith("build.")]


def kill_at(user: User, effect: str, *arguments: str) -> None:
    """Run a command that must die right after ``effect``."""
    argv = user.lab.argv((sys.executable, str(KILLED), effect, *arguments), user=user.name)
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LONGEST_S, check=False
    )
    assert done.returncode in (-9, 137), f"{effect} was not reached: {done.returncode}\n{done.stdout}{done.stderr}"
    reached.add(effect)


def repaired(user: User, *arguments: str, code: int = 0) -> None:
    """Run the next changing command, then check that the fleet is sound and that nothing is left to repair."""
    user.run(*arguments, code=code)
    soundness.check(user.lab)
    again = user.run("create", "tiny", "unmade", "--no-start")
    assert not any(word in again.stderr for word in REPAIRS), again.stderr
    user.run("delete", "unmade", "--yes")
    soundness.check(user.lab)


@pytest.fixture(scope="module")
def victim(alice: User, tiny: str) -> Iterator[str]:
    """A clone that is molted, undone and killed over and over, with a shed layer to lose."""
    alice.run("create", tiny, "victim")
    alice.run("molt", "victim", "--yes")
    yield "victim"
    alice.run("delete", "victim", "--yes")


def dirty(user: User, clone: str, word: str) -> None:
    user.shell(clone, f"echo {word} > ~/word && sync")


def word_in(user: User, clone: str) -> str:
    return user.shell(clone, "cat ~/word 2>/dev/null || echo none")


@pytest.mark.parametrize("effect", [*CREATE, *WARM_POINT])
def test_create(alice: User, tiny: str, effect: Effect) -> None:
    kill_at(alice, effect, "create", tiny, "newborn")
    alice.run("create", tiny, "other", "--no-start")
    alice.run("delete", "other", "--yes")
    if effect is Effect.CREATE_RECORDED:
        assert alice.shell("newborn", "hostname") == "newborn"
        alice.run("delete", "newborn", "--yes")
    assert "newborn" not in alice.lab.domains()
    soundness.check(alice.lab)


def test_create_with_a_cold_clean_point(alice: User, tiny: str) -> None:
    kill_at(alice, Effect.CLEAN_FROZEN, "create", tiny, "newborn", "--no-warm")
    repaired(alice, "create", tiny, "other", "--no-start")
    alice.run("delete", "other", "--yes")


def test_create_of_a_guest_without_an_agent(alice: User) -> None:
    script = alice.write("silent.sh", "#!/bin/sh\nsed -i '1a exec sleep 100000' /usr/lib/tiny/run-agent\n")
    alice.run("golden", "build", "silent", "--image", str(IMAGES / "tiny.qcow2"), "--script", script)
    kill_at(alice, Effect.CLEAN_SHUT_DOWN, "create", "silent", "newborn", "--no-warm")
    repaired(alice, "create", "silent", "other", "--no-warm")
    assert alice.json("molt", "other", "--yes")["results"][0]["mode"] == "cold"
    alice.run("delete", "other", "--yes")
    alice.run("golden", "delete", "silent", "--yes")


@pytest.mark.parametrize("options", [(), ("--cold",), ("--keep",)], ids=["warm", "cold", "keep"])
@pytest.mark.parametrize("effect", MOLT)
def test_molt(alice: User, victim: str, effect: Effect, options: tuple[str, ...]) -> None:
    if effect is Effect.MOLT_SHED and "--keep" in options:
        # A kept layer replaces no shed one: there is nothing to throw away.
        return
    dirty(alice, victim, f"{effect}")
    keep = (f"--keep=k{effect.replace('.', '-')}",) if "--keep" in options else options
    kill_at(alice, effect, "molt", victim, *keep, "--yes")
    repaired(alice, "start", victim)
    if word_in(alice, victim) == effect:
        return
    assert word_in(alice, victim) == "none"
    # What was shed or kept is whole: going back to it shows the word again.
    if "--keep" in options:
        alice.run("kept", "restore", victim, keep[0].partition("=")[2], "--yes")
    else:
        alice.run("undo", victim, "--yes")
    assert word_in(alice, victim) == effect


@pytest.mark.parametrize("effect", UNDO)
def test_undo(alice: User, victim: str, effect: Effect) -> None:
    dirty(alice, victim, "precious")
    alice.run("molt", victim, "--yes")
    kill_at(alice, effect, "undo", victim, "--yes")
    repaired(alice, "start", victim)
    if word_in(alice, victim) == "none":
        alice.run("undo", victim, "--yes")
    assert word_in(alice, victim) == "precious"


@pytest.mark.parametrize("effect", WARM_POINT)
def test_a_new_clean_point_of_a_clone_with_work_in_it(alice: User, tiny: str, effect: Effect) -> None:
    alice.run("create", tiny, "worker")
    dirty(alice, "worker", "precious")
    kill_at(alice, effect, "warm", "worker", "--from-now", "--yes")
    repaired(alice, "start", "worker")
    assert word_in(alice, "worker") == "precious"
    alice.run("molt", "worker", "--yes")
    assert word_in(alice, "worker") in ("precious", "none")
    alice.run("delete", "worker", "--yes")
    soundness.check(alice.lab)


def test_a_kept_layer_that_is_deleted(alice: User, victim: str) -> None:
    alice.run("molt", victim, "--keep=gone", "--yes")
    kill_at(alice, Effect.KEPT_FORGOTTEN, "kept", "delete", victim, "gone", "--yes")
    repaired(alice, "start", victim)
    assert "gone" not in alice.run("kept", "list", victim).stdout


@pytest.mark.parametrize("effect", DELETE)
def test_delete(alice: User, tiny: str, effect: Effect) -> None:
    alice.run("create", tiny, "doomed")
    alice.run("molt", "doomed", "--keep=some", "--yes")
    kill_at(alice, effect, "delete", "doomed", "--yes")
    repaired(alice, "create", tiny, "other", "--no-start")
    alice.run("delete", "other", "--yes")
    assert "doomed" not in alice.lab.domains()


@pytest.mark.parametrize("effect", BUILD)
def test_golden_build(alice: User, tiny: str, effect: Effect) -> None:
    # Another image by its bytes, so that nothing of it is there yet, and the stage is made.
    image = alice.write(f"{effect}.qcow2", "")
    alice.lab.run("sh", "-c", f"cp {IMAGES}/tiny.qcow2 {image} && printf '%s' '{effect}' >> {image}", user=alice.name)
    kill_at(alice, effect, "golden", "build", "halfway", "--image", image)
    published = effect in (Effect.BUILD_PUBLISHED, Effect.BUILD_CLEANED)
    repaired(alice, "create", tiny, "other", "--no-start")
    alice.run("delete", "other", "--yes")
    assert ("halfway" in alice.lab.domains()) == published
    if published:
        alice.run("golden", "delete", "halfway", "--yes")
    soundness.check(alice.lab)


def test_every_effect_of_the_code_was_killed_after() -> None:
    # Those of logins are in test_logins.py; those of adoption in adopt_in_a_tiny_guest.py, to be run by name.
    assert reached == {effect for effect in Effect if not effect.startswith(("logins.", "adopt."))}
