"""The tools in a guest: installed, agents inside by their plain names, limits, all taken away.

One guest serves all tests, which tell its life: bare, installed, used, booted with more memory, bare again.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from .conftest import IMAGES, Labs
from .contained_guest import MIB, ContainedGuest

pytestmark = pytest.mark.full_guest

IMAGE = IMAGES / "debian-bookworm-furnished.qcow2"
SMALL, LARGE = 2304, 3072
OURS = r"/agents\.slice/claude-\d+-[0-9a-f]+\.scope$"


@pytest.fixture(scope="module")
def bare(labs: Labs, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainedGuest]:
    """A guest without any tools, though with people and programs."""
    found = ContainedGuest.boot(labs.start("contain"), tmp_path_factory.mktemp("guest"), IMAGE, memory_mib=SMALL)
    yield found
    found.guest.virsh("destroy", found.guest.name)


@pytest.fixture(scope="module")
def before(bare: ContainedGuest) -> set[str]:
    """What was there before."""
    return bare.listing()


@pytest.fixture(scope="module")
def guest(bare: ContainedGuest, before: set[str]) -> ContainedGuest:
    """The guest with the tools."""
    assert bare.install("1.0") == "Installed 1.0"
    # What is tried is a login after that.
    bare.guest.disconnect()
    bare.guest.connect()
    # Until the minute is over, other tests go on.
    bare.shell("echo '* * * * * claude > $HOME/said 2>&1; mv $HOME/said $HOME/cron' | crontab -")
    return bare


def is_inside(said: str, start: str = "/user.slice/user-1000.slice/user@1000.service") -> bool:
    """Whether the stand-in was in a scope of its own."""
    return re.search(rf"^inside {start}{OURS}", said, re.MULTILINE) is not None


def assert_nothing_of_ours_failed(guest: ContainedGuest) -> None:
    failed = guest.root("systemctl --failed --no-legend --plain")
    assert re.search(r"moltfleet|molt|earlyoom|agents|user@|ssh|journald|docker", failed) is None, failed


def test_the_tools_are_there_whole_and_installing_again_changes_nothing(guest: ContainedGuest) -> None:
    first, watchdog = guest.listing(), guest.root("systemctl show -p MainPID moltfleet-watchdog")
    assert guest.install("1.0") == "Installed 1.0"

    assert guest.listing() == first
    assert guest.root("systemctl show -p MainPID moltfleet-watchdog") == watchdog
    status = guest.status()
    assert (status["version"], status["changed"], status["missing"]) == ("1.0", [], [])
    assert guest.root("systemctl is-active moltfleet-watchdog claude-watchdog earlyoom") == "active\nactive\nactive"
    assert_nothing_of_ours_failed(guest)


def test_the_plain_name_is_inside_from_ssh(guest: ContainedGuest) -> None:
    said = guest.shell("claude -p 'a b'")
    assert is_inside(said), said
    assert "as agent with -p a b" in said
    high = guest.limits()["scope"]["high"]
    assert f"heap --max-old-space-size={int(high * 0.75) // MIB}" in said


def test_also_from_a_login_whose_profile_puts_the_agents_own_program_first(guest: ContainedGuest) -> None:
    guest.shell("mkdir -p ~/.local/bin && cp /usr/local/bin/claude ~/.local/bin/")
    said = guest.shell("bash -lc 'command -v claude && ls -d ~/.local/bin && claude'")
    assert is_inside(said), said
    guest.shell("rm -r ~/.local")


def test_also_in_a_pane_of_tmux(guest: ContainedGuest) -> None:
    guest.shell("tmux new-session -d -s plain && tmux send-keys -t plain 'claude > ~/pane; echo done >> ~/pane' Enter")
    guest.wait_until("grep -q done /home/agent/pane")
    said = guest.shell("cat ~/pane; tmux kill-server")
    assert is_inside(said), said


def test_also_from_cron_which_has_neither_a_session_nor_a_path(guest: ContainedGuest) -> None:
    guest.wait_until("test -e /home/agent/cron")
    said = guest.shell("crontab -r; cat ~/cron")
    assert is_inside(said), said


def test_also_by_sudo_in_either_direction(guest: ContainedGuest) -> None:
    said = guest.shell("sudo claude")
    assert is_inside(said, start=""), said
    assert "as root" in said
    said = guest.root("cd / && sudo -u agent claude")
    assert is_inside(said), said


def test_the_scope_has_the_limits_that_it_should(guest: ContainedGuest) -> None:
    scope = guest.limits()["scope"]
    show = "cd /sys/fs/cgroup/$(sed s/0:://p -n /proc/self/cgroup) && cat memory.high memory.max memory.swap.max"
    said = guest.shell(f"claude run sh -c '{show}; cat /proc/self/oom_score_adj'").split()
    assert said == [str(scope["high"]), str(scope["max"]), "0", "500"]
    said = guest.shell(f"run-limited 300M sh -c '{show}'").split()
    assert said == [str(285 * MIB), str(300 * MIB), "0"]


@pytest.mark.parametrize(("script", "code"), [("exit 0", 0), ("exit 3", 3), ("kill -TERM $$", 143)])
def test_the_exit_status_is_the_programs(guest: ContainedGuest, script: str, code: int) -> None:
    guest.shell(f"run-limited 128M sh -c '{script}'", code=code)


def test_the_limit_bites_and_says_so(guest: ContainedGuest) -> None:
    guest.root("systemctl stop moltfleet-watchdog")
    said = guest.shell("run-limited 128M python3 -IS /opt/hog.py 400", code=137)
    assert "run-limited: python3 was killed: it reached its limit of 128 MiB" in said
    said = guest.shell("run-limited 128M sh -c 'python3 -IS /opt/hog.py 400; echo went on with $?'")
    assert "went on with 137" in said
    assert "run-limited: a process of sh was killed: it reached its limit of 128 MiB" in said
    guest.root("systemctl start moltfleet-watchdog")


def test_an_agent_that_the_watchdog_ended_waits_before_it_starts_again(guest: ContainedGuest) -> None:
    guest.root("mkdir -p /opt/agents && cp $(readlink -f /usr/bin/python3) /opt/agents/claude")
    claude = "PATH=/usr/local/sbin:/opt/agents:$PATH claude -IS"
    over = guest.limits()["scope"]["term"] // MIB + 40
    said = guest.shell(f"bash -c '{claude} /opt/hog.py {over}; echo status $?; {claude} -c \"print(6 * 7)\"'")
    assert "status 137" in said, said
    assert re.search(r"^run-limited: claude was ended for its memory, and starts in [123] s$", said, re.MULTILINE), said
    assert said.endswith("42")
    guest.root("moltfleet-watchdog --reset")


def test_a_session_survives_a_logout_and_the_end_of_its_agent(guest: ContainedGuest) -> None:
    # Every command here is a login of its own, which is over before the next.
    guest.guest.disconnect()
    assert guest.shell("agent-session --detached web ~") == "Session web runs"
    guest.root("systemctl stop moltfleet-watchdog")
    keys = "tmux -L web send-keys -t web"
    guest.shell(f"{keys} 'run-limited 128M python3 -IS /opt/hog.py 400; echo status $? > ~/ended' Enter")
    guest.wait_until("test -s /home/agent/ended")
    guest.root("systemctl start moltfleet-watchdog")

    assert guest.shell("cat ~/ended") == "status 137"
    crash = guest.shell("agent-session --crashes web")
    assert 'session=web program=python3 status=137 cause="it reached its limit of 128 MiB" used=' in crash
    used = int(re.findall(r"peak=(\d+)MiB", crash)[0])
    assert 60 <= used <= 128
    said = guest.shell("pgrep -u agent -x 'tmux: server' | xargs -I PID sed -n 's/^0:://p' /proc/PID/cgroup")
    assert re.search(r"/user@1000\.service/app\.slice/session_web-[0-9a-f-]+\.scope$", said), said
    guest.shell(f"{keys} 'cat /proc/self/cgroup > ~/pane' Enter")
    guest.wait_until("grep -q pane_web /home/agent/pane")
    assert "web  detached  bash" in guest.shell("agent-session --list")
    guest.shell("agent-session --end web")
    assert guest.shell("agent-session --list") == "No session runs; start one: agent-session"
    guest.guest.connect()


def test_who_cannot_be_contained_is_not_run_unless_root_may_be_asked(guest: ContainedGuest) -> None:
    as_visitor = "cd / && setpriv --reuid=visitor --regid=visitor --clear-groups env -i PATH=$PATH"
    guest.root("loginctl disable-linger visitor; systemctl stop user@$(id -u visitor).service")
    said = guest.root(f"{as_visitor} run-limited true", code=125)
    assert "run-limited: true was not run, as it could not be contained: this user's manager: " in said
    assert "sudo loginctl enable-linger visitor" in said
    guest.root("echo 'visitor ALL=(ALL) NOPASSWD: ALL' > /etc/sudoers.d/visitor")
    said = guest.root(f"{as_visitor} claude")
    guest.root("rm /etc/sudoers.d/visitor && loginctl enable-linger visitor")
    assert is_inside(said, start=""), said
    assert "as visitor" in said


def test_a_program_that_leaves_is_brought_back(guest: ContainedGuest) -> None:
    leave = "systemd-run --quiet --user --scope --unit=elsewhere sleep 120"
    guest.shell(f"XDG_RUNTIME_DIR=/run/user/1000 setsid run-limited 128M {leave} >/dev/null 2>&1 </dev/null &")
    group = "/proc/$(pgrep -x sleep -u agent | head -n 1)/cgroup"
    guest.wait_until(f"grep -q agents.slice/returned {group}")
    path = guest.root(f"sed -n s/0:://p {group}")
    assert guest.group_file(path, "memory.max") == str(128 * MIB)
    guest.root("pkill -x sleep -u agent")
    assert re.search(r"/user@1000\.service/agents\.slice/returned-[0-9a-f-]+\.scope$", path), path


def test_the_slices_have_this_guests_limits_and_logins_keep_their_share(guest: ContainedGuest) -> None:
    hold_the_limits(guest, SMALL)
    assert guest.group_file("system.slice/ssh.service", "memory.min") == str(64 * MIB)
    assert guest.group_file("system.slice", "memory.min") == str(128 * MIB)
    said = guest.root("cat /proc/$(systemctl show -P MainPID ssh)/oom_score_adj; cat /proc/self/oom_score_adj")
    assert said == "-1000\n0"
    oom = guest.root("tr '\\0' ' ' < /proc/$(pgrep -x earlyoom)/cmdline; cat /proc/$(pgrep -x earlyoom)/cgroup")
    assert "-m 6,3 -s 100,100" in oom
    assert "moltcritical.slice/earlyoom.service" in oom
    assert guest.root("cat /etc/docker/daemon.json").replace("\n", "") == (
        '{  "log-driver": "json-file",  "cgroup-parent": "docker.slice"}'
    )


def hold_the_limits(guest: ContainedGuest, memory_mib: int) -> None:
    """See that everything is as this guest's memory has it."""
    limits = guest.limits()
    assert 0.85 * memory_mib * MIB < limits["total"] <= memory_mib * MIB
    for group in ("agents.slice", "user.slice/user-1000.slice"):
        assert guest.group_file(group, "memory.max") == str(limits["ceiling"])
        assert guest.group_file(group, "memory.swap.max") == "0"
        assert guest.group_file(group, "memory.high") == "max"
    shm = guest.root("stat -f -c '%b %S %c' /dev/shm").split()
    assert int(shm[0]) * int(shm[1]) == limits["shm"]["size"]
    assert int(shm[2]) == limits["shm"]["inodes"]


def test_after_a_boot_with_more_memory_the_limits_are_those_of_the_new_size(guest: ContainedGuest) -> None:
    guest.boot_again_with(LARGE)
    hold_the_limits(guest, LARGE)
    assert guest.root("systemctl is-active moltfleet-watchdog moltfleet-tmpfs earlyoom") == "active\nactive\nactive"
    assert_nothing_of_ours_failed(guest)
    # Nobody has logged in as yet but for this: the manager of the user lingers.
    assert is_inside(guest.shell("claude"))
    assert guest.status()["changed"] == []


def test_removing_leaves_what_was_there(guest: ContainedGuest, before: set[str]) -> None:
    assert guest.root("python3 /usr/local/lib/moltfleet/current/install.py remove") == "Removed"

    assert guest.listing() == before
    assert guest.root("systemctl is-active moltfleet-watchdog || :") == "inactive"
    assert guest.group_file("user.slice/user-1000.slice", "memory.max") == "max"
    said = guest.shell("claude")
    assert "agents.slice" not in said
    assert_nothing_of_ours_failed(guest)
