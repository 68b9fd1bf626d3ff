"""bootstrap/after-molt.sh and before-save.sh, with stand-ins for what would change this machine."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

pytestmark = pytest.mark.allow("subprocess")

SEED = "0123456789abcdef" * 8
EPOCH = "1795197600.250000"
BOOT_ID = "b0000000-0000-0000-0000-000000000001"
# Stands for GNU date: sets nothing, and reads back a time.
DATE = "case $1 in -s) exit 0 ;; *) echo 1795197600.300000000 ;; esac"


@dataclass(frozen=True, slots=True)
class Guest:
    """A made-up guest around one of the scripts."""

    script: Path
    home: Path

    def run(self, text: str, **extra: str) -> tuple[int, dict[str, object]]:
        environment = {
            "MOLTFLEET_PATH": f"{self.home}/bin:/usr/bin:/bin",
            "MOLTFLEET_RUN": str(self.home / "run"),
            "MOLTFLEET_LIB": str(self.home / "lib"),
            "MOLTFLEET_PROC": str(self.home / "proc"),
            "MOLTFLEET_URANDOM": str(self.home / "urandom"),
            **extra,
        }
        argv = [*POWERLESS, "dash", str(self.script)]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, env=environment, cwd=self.home)
        assert done.stdout.count("\n") == 1, done
        return done.returncode, json.loads(done.stdout)

    @property
    def calls(self) -> list[str]:
        path = self.home / "calls"
        return path.read_text().splitlines() if path.exists() else []


# Not under busybox: its shell prefers its own date and ip to ours on the path. The tiny guest runs them for real.
# And should a stand-in ever be passed over, these may not do anything: the tests themselves often run as root.
POWERLESS = ["setpriv", "--bounding-set=-sys_time,-sys_admin,-net_admin"] if os.geteuid() == 0 else []


@pytest.fixture
def make_guest(bootstrap: Path, tmp_path: Path, stand_ins: Callable[..., Path]) -> Iterator[Callable[[str], Guest]]:
    def make(script: str) -> Guest:
        for name, content in {
            "proc/sys/kernel/random/boot_id": BOOT_ID + "\n",
            "proc/sys/vm/drop_caches": "",
            "proc/uptime": "12.34 20.00\n",
            "run/nonce": "n-1\n",
            "urandom": "",
        }.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        stand_ins(date=DATE, ip="", ss="", fstrim="", sync="", systemctl="")
        reseed = tmp_path / "lib/reseed"
        reseed.parent.mkdir()
        reseed.write_text(f"#!/bin/sh\ncat >{tmp_path}/reseeded\n")
        reseed.chmod(0o755)
        return Guest(bootstrap / script, tmp_path)

    yield make
    # before-save.sh leaves a program behind, which waits for a seed.
    waiting = tmp_path / "run/reseeder"
    if waiting.exists():
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(waiting.read_text()), signal.SIGTERM)


def test_a_molted_guest_is_set_right_and_says_so(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("after-molt.sh")

    status, answer = guest.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n")

    assert status == 0
    assert answer == {
        "ok": True,
        "clock": 1795197600.3,
        "clock_set": True,
        "reseeded": True,
        "nonce": "ok",
        "boot": "ok",
        "boot_id": BOOT_ID,
        "neighbours_dropped": True,
        "connections_dropped": True,
        "uptime": 12.34,
    }
    assert f"date -s @{EPOCH}" in guest.calls
    assert "ip neigh flush all" in guest.calls


def test_the_seed_reaches_the_generator_and_no_command_line(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("after-molt.sh")

    guest.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n")

    assert (guest.home / "reseeded").read_text() == SEED
    assert (guest.home / "urandom").read_text() == SEED
    assert not any(SEED in call for call in guest.calls)


@pytest.mark.parametrize(
    ("line", "field", "found"),
    [
        (f"{EPOCH} n-2 {BOOT_ID} {SEED}", "nonce", "differs"),
        (f"{EPOCH} n-1 other {SEED}", "boot", "differs"),
        (f"{EPOCH} n-1 {BOOT_ID} 0123", "reseeded", False),
        (f"{EPOCH} n-1 {BOOT_ID} {'no hex' * 30}", "reseeded", False),
        (f"{EPOCH} n-1 {BOOT_ID}", "reseeded", False),
    ],
)
def test_what_is_not_as_expected_fails(
    make_guest: Callable[[str], Guest], line: str, field: str, found: object
) -> None:
    status, answer = make_guest("after-molt.sh").run(line + "\n")

    assert (status, answer["ok"], answer[field]) == (1, False, found)


def test_a_nonce_that_is_gone_is_missing(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("after-molt.sh")
    (guest.home / "run/nonce").unlink()

    status, answer = guest.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n")

    assert (status, answer["nonce"]) == (1, "missing")
    assert guest.calls == ["date +%s.%N"]


def test_the_wrong_guest_is_left_as_it_is(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("after-molt.sh")

    _, answer = guest.run(f"{EPOCH} n-2 {BOOT_ID} {SEED}\n")

    assert (answer["clock_set"], answer["reseeded"]) == (False, False)
    assert guest.calls == ["date +%s.%N"]


def test_nothing_expected_is_nothing_checked(make_guest: Callable[[str], Guest]) -> None:
    status, answer = make_guest("after-molt.sh").run(f"{EPOCH} - - {SEED}\n")

    assert (status, answer["nonce"], answer["boot"]) == (0, "unchecked", "unchecked")


def test_a_reseed_that_the_kernel_refuses_is_a_failure(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("after-molt.sh")
    (guest.home / "lib/reseed").write_text("#!/bin/sh\nexit 1\n")

    status, answer = guest.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n")

    assert (status, answer["reseeded"]) == (1, False)


@pytest.mark.parametrize(("fraction", "whole"), [("250000", "1795197600"), ("750000", "1795197601")])
def test_a_date_without_fractions_gets_the_nearest_second(
    make_guest: Callable[[str], Guest], stand_ins: Callable[..., Path], fraction: str, whole: str
) -> None:
    guest = make_guest("after-molt.sh")
    stand_ins(date="case $* in *@*.*) exit 1 ;; -s*) exit 0 ;; *%N) echo 1795197600.%N ;; *) echo 1795197600 ;; esac")

    status, answer = guest.run(f"1795197600.{fraction} n-1 {BOOT_ID} {SEED}\n")

    assert (status, answer["clock"]) == (0, 1795197600)
    assert f"date -s @{whole}" in guest.calls


def test_a_clock_that_cannot_be_set_is_a_failure(
    make_guest: Callable[[str], Guest], stand_ins: Callable[..., Path]
) -> None:
    guest = make_guest("after-molt.sh")
    stand_ins(date="case $1 in -s) exit 1 ;; *) echo 5.0 ;; esac")

    status, answer = guest.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n")

    assert (status, answer["clock_set"], answer["ok"]) == (1, False, False)


def test_the_login_that_carries_the_script_is_not_dropped(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("after-molt.sh")

    guest.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n", SSH_CONNECTION="192.0.2.1 50123 192.0.2.7 22")

    (call,) = [call for call in guest.calls if call.startswith("ss ")]
    assert "not dport = :50123" in call
    assert "not dst 127.0.0.0/8" in call


@pytest.mark.parametrize("line", ["", "\n", "now n b s\n", "1.2.3 n b s\n", "$(id) n b s\n"])
def test_an_input_without_a_time_changes_nothing(make_guest: Callable[[str], Guest], line: str) -> None:
    guest = make_guest("after-molt.sh")

    status, answer = guest.run(line)

    assert (status, answer) == (2, {"error": "no epoch on standard input"})
    assert guest.calls == []


def test_the_timers_are_started_again_once(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("after-molt.sh")
    (guest.home / "run/timers").write_text("apt-daily.timer\nlogrotate.timer\n")

    guest.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n")

    assert (guest.home / "run/timers").read_text() == ""


def test_a_nonce_is_left_where_a_restore_finds_it(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("before-save.sh")

    status, answer = guest.run("n-77\n")

    assert (status, answer["ok"], answer["boot_id"], answer["uptime"]) == (0, True, BOOT_ID, 12.34)
    assert (guest.home / "run/nonce").read_text() == "n-77\n"
    assert (guest.home / "run/nonce").stat().st_mode & 0o777 == 0o644
    assert (guest.home / "proc/sys/vm/drop_caches").read_text() == "3\n"
    assert guest.calls.index("sync ") < guest.calls.index("fstrim --all")


def test_the_program_that_waits_for_the_seed_is_asked_first_and_its_failure_is_one(
    make_guest: Callable[[str], Guest],
) -> None:
    guest = make_guest("before-save.sh")
    _, left = guest.run("n-1\n")
    assert left["reseeder"] is True
    assert (guest.home / "run/seed").is_fifo()

    after = Guest(guest.script.with_name("after-molt.sh"), guest.home)
    # The stand-in for the generator is a plain file: it takes bytes, but none of the ioctls.
    status, answer = after.run(f"{EPOCH} n-1 {BOOT_ID} {SEED}\n")

    assert (status, answer["ok"], answer["reseeded"]) == (1, False, False)
    assert not (guest.home / "reseeded").exists()


def test_a_disk_without_trim_is_only_said(make_guest: Callable[[str], Guest], stand_ins: Callable[..., Path]) -> None:
    guest = make_guest("before-save.sh")
    stand_ins(fstrim="exit 1")

    status, answer = guest.run("n-77\n")

    assert (status, answer["trimmed"]) == (0, False)


@pytest.mark.parametrize("line", ["", "\n", "a b\n", '"quoted"\n', "$(id)\n", "../x\n"])
def test_a_nonce_that_is_no_word_is_refused(make_guest: Callable[[str], Guest], line: str) -> None:
    guest = make_guest("before-save.sh")

    status, answer = guest.run(line)

    assert (status, answer["ok"]) == (1, False)
    assert (guest.home / "run/nonce").read_text() == "n-1\n"


def test_a_nonce_that_cannot_be_written_is_a_failure(make_guest: Callable[[str], Guest]) -> None:
    guest = make_guest("before-save.sh")
    (guest.home / "run/nonce").unlink()
    (guest.home / "run/nonce").mkdir()

    status, answer = guest.run("n-77\n")

    assert (status, answer["ok"]) == (1, False)
    assert "not written" in str(answer["error"])


def test_reseeding_refuses_what_is_no_seed(bootstrap: Path) -> None:
    for text in ("", "0123", "not hexadecimal"):
        argv = ["/usr/bin/python3", "-I", "-S", str(bootstrap / "reseed.py"), "/dev/null"]
        assert subprocess.run(argv, input=text, capture_output=True, text=True).returncode == 2


def test_reseeding_reports_a_device_that_is_no_generator(bootstrap: Path) -> None:
    argv = ["/usr/bin/python3", "-I", "-S", str(bootstrap / "reseed.py"), "/dev/null"]

    done = subprocess.run(argv, input=SEED, capture_output=True, text=True)

    assert (done.returncode, done.stderr.startswith("reseed: ")) == (1, True)
