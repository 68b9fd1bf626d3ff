"""A golden with credentials in it is not published, unless that is said."""

from __future__ import annotations

import pytest

from fakes import a_world, failed, ok
from fakes.soundness import unsound
from moltfleet.model.errors import GuestFailed
from moltfleet.model.requests import BuildRequest
from moltfleet.operations import golden_build

FOUND = "/home/agent/.codex/auth.json\n/root/\x1b[2J.netrc\n"


def build(answer: object, **options: object) -> tuple[object, object]:
    world = a_world(golden=None)
    world.hypervisor.behave("two.build", answers={"secrets.sh": answer})
    request = BuildRequest("two", "debian-12", profile="minimal", **options)  # type: ignore[arg-type]
    try:
        return golden_build.build(world.fleet, request), world
    except GuestFailed as error:
        assert unsound(world) == []
        assert world.hypervisor.find("two") is None
        return error, world


def test_found_credentials_are_named_and_nothing_is_published() -> None:
    error, _ = build(ok(FOUND))
    assert isinstance(error, GuestFailed)
    assert error.brief == "Golden holds what looks like credentials: /home/agent/.codex/auth.json and 1 more"
    assert error.excerpt == "/home/agent/.codex/auth.json\n/root/?[2J.netrc"
    assert "--allow-secrets" in str(error.hint)


def test_they_are_let_through_when_that_is_meant_and_told() -> None:
    view, world = build(ok(FOUND), allow_secrets=True)
    assert view.generation == 1  # type: ignore[attr-defined]
    assert "/home/agent/.codex/auth.json" in str(world.progress.texts("warn"))  # type: ignore[attr-defined]


@pytest.mark.parametrize("allow", [True, False])
def test_a_guest_that_cannot_be_looked_through_is_no_golden(allow: bool) -> None:
    error, _ = build(failed("sh: no find\x1b"), allow_secrets=allow)
    assert isinstance(error, GuestFailed)
    assert (error.brief, error.details) == ("Guest could not be looked through for credentials", "sh: no find?")
