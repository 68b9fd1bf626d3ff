"""To be run by name. A schedule on a host with systemd, which a full guest plays: installed, listed, fired, taken away.

What is fired is a stand-in that writes down by whom and with which words it was called: there is no libvirt here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator

import pytest

from .conftest import IMAGES, Labs
from .plain_host import SITE, PlainHost

pytestmark = pytest.mark.full_guest

IMAGE = IMAGES / "debian-bookworm-cloud.qcow2"
FIRED = "/var/tmp/fired"
# Beside the interpreter, where a virtual environment has it, too.
PROGRAM = "/usr/bin/moltfleet"
STAND_IN = f"""\
#!/bin/sh
case " $* " in
*" nightly "* | *" survey "*) echo "$(id -un) $*" >>{FIRED}; exit 0 ;;
esac
exec env PYTHONPATH={SITE} PYTHONDONTWRITEBYTECODE=1 python3 -m moltfleet "$@"
"""


@pytest.fixture(scope="module")
def host(labs: Labs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlainHost]:
    lab = labs.start("timers")
    lab.repo("add", "cron")
    host = PlainHost.boot(lab, tmp_path_factory.mktemp("guest"), IMAGE, memory_mib=768)
    host.settle_in(tmp_path_factory.mktemp("site"), "")
    host.root(
        f"printf %s {shlex.quote(STAND_IN)} > {PROGRAM} && chmod 755 {PROGRAM} && install -m 666 /dev/null {FIRED}"
    )
    yield host
    host.guest.virsh("destroy", host.guest.name)


def soon(host: PlainHost) -> str:
    """A time of the day that comes within two minutes."""
    return host.shell("date -d '+70 seconds' +%H:%M")


def fired(host: PlainHost, words: str) -> None:
    """Wait until the stand-in was called with these words."""
    host.wait_until(f"grep -qx {shlex.quote(words)} {FIRED}")


def test_a_users_timer_fires_without_a_login(host: PlainHost) -> None:
    # Without polkit a user may not do that, and is told who may.
    host.root("loginctl enable-linger agent && sleep 2")
    done = host.moltfleet("schedule", "install", "--user", "--at", soon(host), "--survey-every", "1m", sudo=False)
    assert [(job["name"], job["kind"], job["state"]) for job in done["jobs"]] == [
        ("moltfleet-nightly", "user", "active"),
        ("moltfleet-survey", "user", "active"),
    ]
    assert (done["lingering"], all(job["next"] for job in done["jobs"])) == (True, True)
    fired(host, "agent survey --record --ask suspects --protect --quiet")
    fired(host, "agent nightly --yes --quiet")
    night = host.moltfleet("schedule", "show", sudo=False)["jobs"][0]
    assert (bool(night["last"]), night["result"]) == (True, "success")


def test_it_fires_after_a_boot_and_is_gone_when_it_was_removed(host: PlainHost) -> None:
    host.reboot()
    host.root(f": > {FIRED}")
    fired(host, "agent survey --record --ask suspects --protect --quiet")
    host.moltfleet("schedule", "remove", sudo=False)
    assert host.moltfleet("schedule", "show", sudo=False)["jobs"] == []
    assert host.shell("systemctl --user list-timers --all --no-legend 'moltfleet*'") == ""
    assert host.shell("ls ~/.config/systemd/user | grep moltfleet; true") == ""


def test_the_systems_timer_runs_as_a_member_of_libvirts_group(host: PlainHost) -> None:
    arguments = ("schedule", "install", "--system", "--run-as", "agent", "--survey-every", "never")
    refused = host.moltfleet(*arguments, "--at", "03:30", code=2)
    assert "not in group 'libvirt'" in refused["error"]["brief"]
    host.root(f"groupadd -f libvirt && usermod -aG libvirt agent && : > {FIRED}")
    host.root(f"chmod o+w {SITE}")
    refused = host.moltfleet(*arguments, "--at", "03:30", code=2)
    assert f"can write {SITE}," in refused["error"]["brief"]
    host.root(f"chmod o-w {SITE}")
    done = host.moltfleet(*arguments, "--at", soon(host))
    assert [(job["kind"], job["state"]) for job in done["jobs"]] == [("system", "active")]
    fired(host, "agent nightly --yes --quiet")
    assert host.moltfleet("schedule", "show")["jobs"][0]["result"] == "success"
    host.moltfleet("schedule", "remove", sudo=False, code=7)
    host.moltfleet("schedule", "remove")
    assert host.root("ls /etc/systemd/system | grep moltfleet; true") == ""


def test_a_night_that_was_missed_while_the_machine_was_off_is_made_up_for(host: PlainHost) -> None:
    host.root(f": > {FIRED}")
    due = host.shell("date -d '+90 seconds' +%H:%M")
    host.moltfleet("schedule", "install", "--system", "--run-as", "agent", "--survey-every", "never", "--at", due)
    before = host.root(f"cat {FIRED}")
    host.root("systemctl stop moltfleet-nightly.timer")
    host.wait_until(f"[ $(date +%H%M) -gt {due.replace(':', '')} ]")
    host.reboot()
    fired(host, "agent nightly --yes --quiet")
    assert before == ""
    host.moltfleet("schedule", "remove")
