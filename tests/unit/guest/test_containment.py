"""moltguest.containment and the units beside it: limits that hold in guests of any size, and what they leave alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fakes.guesttree import GuestTree
from moltguest import limits as arithmetic
from moltguest.containment import SERVICE, main, units
from moltguest.limits import GIB, MIB, derive
from moltguest.watchdog.agents import _GUARDED

GUEST = Path(__file__).parents[3] / "bootstrap/guest"
NAME = "50-moltfleet-limits.conf"
FSTAB = "UUID=1 / ext4 defaults 0 1\n# tmpfs /dev/shm tmpfs size=6G 0 0\n"


def value(text: str, key: str) -> int:
    (found,) = re.findall(rf"^{key}=(\d+)$", text, re.MULTILINE)
    return int(found)


@given(total=st.integers(arithmetic.SMALLEST_CONTAINED, 64 * GIB))
def test_the_order_of_all_limits_holds_in_what_is_written(total: int) -> None:
    limits = derive(total)
    found = units(limits)
    most = value(found[f"agents.slice.d/{NAME}"], "MemoryMax")

    scope = limits.scope
    assert scope.warn < scope.term < scope.high < scope.max <= most <= total - limits.reserve
    assert value(found[f"user-.slice.d/{NAME}"], "MemoryMax") == most
    assert value(found[f"docker.slice.d/{NAME}"], "MemoryMax") < most
    assert {
        value(text, "MemorySwapMax") for path, text in found.items() if "0.slice" not in path and ".slice.d" in path
    } == {0}
    # Not for slices: everybody in one would be slowed down for one agent.
    assert not any("MemoryHigh" in text for text in found.values())


def test_root_is_exempt_by_a_file_of_the_same_name() -> None:
    assert units(derive(4 * GIB))[f"user-0.slice.d/{NAME}"] == ("[Slice]\nMemoryMax=infinity\nMemorySwapMax=infinity\n")


def test_a_guest_that_is_too_small_gets_none() -> None:
    assert units(derive(arithmetic.SMALLEST_CONTAINED - 1), FSTAB, has_tmp_mount=True) == {}


def test_file_systems_in_memory_are_sized_and_bounded_in_files() -> None:
    found = units(derive(4 * GIB), FSTAB, has_tmp_mount=True)
    assert "ExecStart=/usr/bin/mount -o remount,size=514850816,nr_inodes=62848 /dev/shm\n" in found[SERVICE]
    assert found[f"tmp.mount.d/{NAME}"] == (
        "[Mount]\nOptions=mode=1777,strictatime,nosuid,nodev,size=514850816,nr_inodes=62848\n"
    )
    assert f"tmp.mount.d/{NAME}" not in units(derive(4 * GIB))


def test_what_somebody_has_sized_in_fstab_stays() -> None:
    fstab = "tmpfs /tmp tmpfs defaults,size=6G 0 0\ntmpfs /dev/shm tmpfs size=6G,nodev 0 0\n"
    found = units(derive(16 * GIB), fstab, has_tmp_mount=True)
    assert SERVICE not in found
    assert f"tmp.mount.d/{NAME}" not in found


def test_the_generator_writes_what_belongs_to_this_guest_and_again(tree: GuestTree, tmp_path: Path) -> None:
    out = tmp_path / "generator"
    assert main([str(out), "early", "late"], str(tree.root)) == 0
    most = value((out / f"agents.slice.d/{NAME}").read_text(), "MemoryMax")
    assert most == derive(4096 * MIB).ceiling
    assert (out / "sysinit.target.wants" / SERVICE).readlink() == Path(f"../{SERVICE}")

    tree.memory(4000, total=8192)
    assert main([str(out)], str(tree.root)) == 0
    assert value((out / f"agents.slice.d/{NAME}").read_text(), "MemoryMax") == derive(8192 * MIB).ceiling


def test_a_small_guest_is_told_that_only_the_watchdog_acts(
    tree: GuestTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree.memory(900, total=1000)
    assert main([str(tmp_path / "generator")], str(tree.root)) == 0
    assert not (tmp_path / "generator").exists()
    assert "only the watchdog acts" in capsys.readouterr().err


def test_a_generator_that_cannot_tell_the_memory_fails_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)], str(tmp_path)) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert main([]) == 2


def earlyoom() -> str:
    return (GUEST / "units/earlyoom.service.d/50-moltfleet.conf").read_text()


def pattern(option: str) -> re.Pattern[str]:
    (found,) = re.findall(rf"--{option} '(.*)'", earlyoom())
    # systemd.service(5): two dollars are one.
    return re.compile(found.replace("$$", "$"))


def test_earlyoom_comes_after_the_watchdog() -> None:
    assert f" -m {arithmetic.EARLYOOM_TERM_PERCENT},{arithmetic.EARLYOOM_KILL_PERCENT} -s 100,100 " in earlyoom()
    assert " -g" not in earlyoom()


# Gone at once, or small and started anew.
NOT_NAMED = {"init", "crun", "runc", "rsyslogd", "Xwayland"}


@pytest.mark.parametrize("name", sorted({name for name in _GUARDED if name.isalnum()} - NOT_NAMED))
def test_earlyoom_avoids_what_the_watchdog_never_touches(name: str) -> None:
    assert pattern("avoid").match(name)


@pytest.mark.parametrize(
    ("name", "is_avoided"),
    [
        ("sshd", True),
        ("sshd-session", True),
        ("tmux: server", True),
        ("tmux: client", True),
        ("systemd", True),
        ("systemd-journal", True),
        ("(sd-pam)", True),
        ("dbus-daemon", True),
        ("moltfleet-watch", True),
        ("claude", False),
        ("node", False),
        ("python3", False),
        ("my-sshd", False),
    ],
)
def test_earlyoom_spares_the_way_in_by_whole_names(name: str, is_avoided: bool) -> None:
    assert bool(pattern("avoid").match(name)) is is_avoided


@pytest.mark.parametrize("name", ["claude", "codex", "gemini", "node", "2.1.224", "MainThread"])
def test_earlyoom_prefers_agents_under_whatever_name_they_run(name: str) -> None:
    assert pattern("prefer").match(name)


def test_no_service_hands_down_protection_to_what_it_starts() -> None:
    for path in GUEST.glob("units/**/*"):
        if path.is_file() and path.name != "moltfleet-watchdog.service":
            lines = path.read_text().splitlines()
            assert not any(line.startswith(("OOMScoreAdjust=-", "MemoryHigh=")) for line in lines), path


@pytest.mark.allow("subprocess")
@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_the_profile_puts_the_wrappers_first_whatever_a_home_says(shell: str, tmp_path: Path) -> None:
    text = (GUEST / "files/etc/profile.d/zz-moltfleet.sh").read_text()
    sbin = tmp_path / "sbin"
    sbin.mkdir()
    wrapper = tmp_path / "contained-agent"
    wrapper.write_text('#!/bin/sh\necho "wrapped $*"\n')
    wrapper.chmod(0o755)
    (sbin / "claude").symlink_to(wrapper)
    (sbin / "other").write_text("")
    own = tmp_path / "own"
    own.mkdir()
    (own / "claude").write_text("#!/bin/sh\necho own\n")
    (own / "claude").chmod(0o755)
    script = text.replace("/usr/local/sbin", str(sbin)) + (
        f'\necho "$PATH"\nPATH={own}:$PATH\nclaude -p "a b"\ncase $(type other 2>&1) in *function*) echo bad;; esac\n'
    )
    done = subprocess.run(
        [shell, "-euc", script], env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{sbin}:/usr/bin:/bin\nwrapped -p a b\n"
    assert done.stderr == ""
