"""Guest tools in running clones: installed once, compared, removed; one clone that fails leaves the others."""

from __future__ import annotations

import json

import pytest

from fakes import World, failed, ok
from fakes.guesttools import SCHEMA
from moltfleet.model.errors import Busy, ExitCode, GuestFailed, GuestUnreachable, NotFound
from moltfleet.model.guesttools import ToolsState
from moltfleet.model.requests import MoltRequest, StopRequest
from moltfleet.operations import molt, stop, tools
from moltfleet.operations.tools_archive import pack


def outcomes(results: tuple[object, ...]) -> list[tuple[str, str]]:
    return [(result.clone, result.outcome) for result in results]  # type: ignore[attr-defined]


def state(world: World, name: str = "crab-1") -> ToolsState:
    (view,) = tools.status(world.fleet, [name])
    return view.state


def sent(world: World) -> int:
    return sum("install.py install" in command for _, command in world.hypervisor.commands)


def test_tools_are_installed_with_this_programs_version(clone: World) -> None:
    (result,) = tools.install(clone.fleet, ["crab-1"])
    version = pack(clone.fleet).version
    assert (result.outcome, result.detail) == ("installed", version)
    assert clone.guest("crab-1").read("tools") == version
    assert state(clone) is ToolsState.CURRENT


def test_installed_again_nothing_is_sent(clone: World) -> None:
    tools.install(clone.fleet, ["crab-1"])
    (result,) = tools.install(clone.fleet, ["crab-1"])
    assert (result.outcome, sent(clone)) == ("unchanged", 1)


def test_another_version_is_replaced_and_named(clone: World) -> None:
    clone.guest("crab-1").write("tools", "0.0.9-abc")
    assert state(clone) is ToolsState.OUTDATED
    (result,) = tools.install(clone.fleet, ["crab-1"])
    assert result.detail.endswith(" instead of 0.0.9-abc")


def test_files_that_were_changed_are_seen_and_put_right(clone: World) -> None:
    tools.install(clone.fleet, ["crab-1"])
    clone.guest("crab-1").write("tools-changed", "/usr/local/bin/claude")
    (view,) = tools.status(clone.fleet, ["crab-1"])
    assert view.state is ToolsState.CHANGED
    assert view.found.report and view.found.report.changed == ("/usr/local/bin/claude",)
    (result,) = tools.install(clone.fleet, ["crab-1"])
    assert result.detail.endswith(", which was changed")
    assert state(clone) is ToolsState.CURRENT


def test_tools_that_change_again_at_once_are_a_failure(clone: World) -> None:
    clone.guest("crab-1").write("tools-changed-again", "bin/claude")
    (result,) = tools.install(clone.fleet, ["crab-1"])
    assert isinstance(result.error, GuestFailed)
    assert result.error.details == "bin/claude"


@pytest.mark.parametrize(("lack", "said"), [("no-systemd", "systemd"), ("no-python", "Python 3.10")])
def test_a_guest_that_cannot_have_them_is_told_apart(clone: World, lack: str, said: str) -> None:
    clone.hypervisor.behave("crab-1", lacks=lack)
    assert state(clone) is ToolsState.UNFIT
    (result,) = tools.install(clone.fleet, ["crab-1"])
    assert result.error and result.error.exit_code is ExitCode.WRONG_STATE
    assert said in result.error.brief
    assert sent(clone) == 0


def test_tools_without_their_installer_can_be_installed_but_not_removed(clone: World) -> None:
    clone.hypervisor.behave("crab-1", lacks="damaged")
    assert state(clone) is ToolsState.CHANGED
    (result,) = tools.remove(clone.fleet, ["crab-1"])
    assert result.error and result.error.hint == "Install them again, then remove them: moltfleet tools install crab-1"
    tools.install(clone.fleet, ["crab-1"])
    assert sent(clone) == 1


def test_an_installation_that_fails_says_what_the_guest_said(clone: World) -> None:
    clone.hypervisor.behave("crab-1", answers={"install.py install": failed("line 1\nno space\x1b[2J")})
    (result,) = tools.install(clone.fleet, ["crab-1"])
    assert isinstance(result.error, GuestFailed)
    assert result.error.brief == "Guest tools could not be installed in 'crab-1': exit status 1"
    assert result.error.excerpt == "line 1\nno space?[2J"


def test_one_that_is_off_does_not_keep_the_others(clone: World) -> None:
    clone.add_clone("crab-2")
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    assert outcomes(tools.install(clone.fleet, ["crab-*"])) == [("crab-1", "failed"), ("crab-2", "installed")]
    assert [view.state for view in tools.status(clone.fleet, [])] == [ToolsState.UNKNOWN, ToolsState.CURRENT]


def test_tools_are_removed_and_then_there_is_nothing_to_remove(clone: World) -> None:
    tools.install(clone.fleet, ["crab-1"])
    (result,) = tools.remove(clone.fleet, ["crab-1"])
    assert result.outcome == "removed"
    assert state(clone) is ToolsState.NONE
    (result,) = tools.remove(clone.fleet, ["crab-1"])
    assert (result.outcome, result.detail) == ("unchanged", "has no tools")


def test_a_molt_brings_the_clean_points_tools_back_and_that_is_said(clone: World) -> None:
    tools.install(clone.fleet, ["crab-1"])
    (said,) = [text for text in clone.progress.texts("say") if "next molt" in text]
    assert "of crab-1:" in said
    molt.molt(clone.fleet, ["crab-1"], MoltRequest())
    assert state(clone) is ToolsState.NONE


def test_a_clone_that_is_worked_on_is_left_alone(clone: World) -> None:
    clone.locks.hold_by_other("crab-1", verb="molt")
    (result,) = tools.install(clone.fleet, ["crab-1"])
    assert isinstance(result.error, Busy)
    assert sent(clone) == 0


def test_a_dry_run_looks_and_changes_nothing(clone: World) -> None:
    clone.add_clone("crab-2")
    clone.add_clone("crab-3")
    version = pack(clone.fleet).version
    clone.guest("crab-2").write("tools", version)
    clone.guest("crab-3").write("tools", "0.0.9")
    assert tools.plan_install(clone.fleet, []) == (
        f"crab-1: would install {version}",
        f"crab-2: has {version} already",
        f"crab-3: would install {version} instead of 0.0.9",
    )
    assert tools.plan_remove(clone.fleet, ["crab-1", "crab-3"]) == (
        "crab-1: has no tools",
        "crab-3: would remove 0.0.9",
    )
    assert sent(clone) == 0
    assert clone.guest("crab-3").read("tools") == "0.0.9"


def test_a_dry_run_of_what_cannot_be_says_so(clone: World) -> None:
    clone.hypervisor.behave("crab-1", lacks="no-systemd")
    assert tools.plan_install(clone.fleet, []) == ("crab-1: would be refused: it does not run systemd",)
    stop.stop(clone.fleet, ["crab-1"], StopRequest())
    assert tools.plan_install(clone.fleet, []) == ("crab-1: would fail: Clone 'crab-1' is not running",)


def test_an_unknown_clone_is_not_found(clone: World) -> None:
    with pytest.raises(NotFound):
        tools.install(clone.fleet, ["crab-9"])


HOSTILE = {
    "no JSON": ok("hello"),
    "no document": ok("[1]"),
    "another schema": ok('{"schema": "x", "version": "1"}'),
    "too deep": ok("[" * 100_000),
    "a failure": failed("Traceback"),
}


@pytest.mark.parametrize("said", HOSTILE)
def test_an_answer_that_is_none_is_a_failure_of_the_guest(clone: World, said: str) -> None:
    clone.hypervisor.behave("crab-1", answers={"status --json": HOSTILE[said]})
    (view,) = tools.status(clone.fleet, ["crab-1"])
    assert view.state is ToolsState.UNKNOWN
    assert isinstance(view.error, GuestFailed)


def test_what_a_guest_says_is_bounded_and_printable(clone: World) -> None:
    report = {
        "schema": SCHEMA,
        "version": "1.0\x1b[2J" + "9" * 100,
        "changed": ["a\nb\x1b", 7, *["x" * 1000] * 5000],
        "missing": "all",
    }
    clone.hypervisor.behave("crab-1", answers={"status --json": ok(json.dumps(report)[: 1 << 20])})
    (view,) = tools.status(clone.fleet, ["crab-1"])
    # Cut off at a MiB it is no document any more.
    assert isinstance(view.error, GuestFailed)
    report["changed"] = ["a\nb\x1b", 7, *["x" * 1000] * 500]
    clone.hypervisor.behave("crab-1", answers={"status --json": ok(json.dumps(report))})
    (view,) = tools.status(clone.fleet, ["crab-1"])
    found = view.found.report
    assert found is not None
    assert (found.version, found.missing, len(found.changed)) == ("unknown", ("?",), 100)
    assert found.changed[:3] == ("a?b?", "?", "x" * 200)


def test_a_guest_that_goes_away_is_said(clone: World) -> None:
    clone.hypervisor.behave("crab-1", shows_banner=False)
    (view,) = tools.status(clone.fleet, ["crab-1"])
    assert isinstance(view.error, GuestUnreachable)
