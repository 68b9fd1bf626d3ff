"""Guest tools and the density test where a guest cannot have them: the tiny guest has neither systemd nor Python."""

from __future__ import annotations

from .conftest import IMAGES, User


def test_a_guest_without_systemd_is_told_apart_and_left_as_it_is(alice: User, crab: str) -> None:
    (row,) = alice.json("tools", "status", crab)["results"]
    assert (row["state"], row["version"], row["reason"]) == ("unfit", None, "it does not run systemd")
    for act in ("install", "verify"):
        done = alice.run("tools", act, crab, code=4)
        assert f"Guest '{crab}' cannot have the tools: it does not run systemd" in done.stderr
    assert alice.json("tools", "remove", crab)["results"][0]["outcome"] == "unchanged"
    assert (
        alice.shell(
            crab, "ls -d /usr/local/lib/moltfleet.incoming /tmp/moltfleet-trials.* 2>&1 | grep -vc 'No such'; true"
        )
        == "0"
    )


def test_tools_that_were_asked_for_and_cannot_be_fail_a_build_and_leave_nothing(alice: User, tiny: str) -> None:
    before = alice.lab.domains(), alice.lab.volumes()
    done = alice.run("golden", "build", "vain", "--image", str(IMAGES / "tiny.qcow2"), "--tools", code=4)
    assert "cannot have the tools: it does not run systemd" in done.stderr
    assert (alice.lab.domains(), alice.lab.volumes()) == before
    assert alice.json("golden", "show", tiny)["manifest"]["guest_tools"] is None


def test_a_golden_without_python_carries_no_simulated_agents(alice: User, tiny: str) -> None:
    before = alice.lab.domains(), alice.lab.volumes()
    done = alice.run("density", tiny, code=4)
    assert f"Golden '{tiny}' has no python3" in done.stderr
    assert (alice.lab.domains(), alice.lab.volumes()) == before
