"""The shell of a tools session, run for real on a made-up guest: what arrives whole is installed, nothing else is."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from moltfleet.operations import provisioning, tools_session
from moltfleet.operations.tools_archive import tar_of

pytestmark = pytest.mark.allow("subprocess")

HOME = "/usr/local/lib/moltfleet"
LOCK = "/run/moltfleet-tools.lock"
SYSTEMD = "/run/systemd/system"
# An installer that only notes how it was called, and takes as long as it is told.
INSTALLER = """
import os, sys, time
root = os.environ["MADE_UP"]
open(root + "/begun", "w").close()
time.sleep(float(os.environ.get("TAKES_S", "0")))
with open(root + "/calls", "a") as file:
    file.write(" ".join(sys.argv[1:]) + " from " + os.path.dirname(sys.argv[0]).removeprefix(root) + "\\n")
if sys.argv[1] == "status":
    print(os.environ.get("STATUS", "{}"))
sys.exit(int(os.environ.get("ENDS", "0")))
"""
CONTENT = tar_of({"install.py": INSTALLER.encode(), "bin/program": b"#!/bin/sh\n"})
DIGEST = hashlib.sha256(CONTENT).hexdigest()


@dataclass(slots=True)
class Guest:
    """A directory that stands for the guest's root."""

    root: Path

    def text(self, script: str) -> str:
        for path in (HOME, LOCK, SYSTEMD):
            script = script.replace(path, f"{self.root}{path}")
        return script

    def start(self, script: str, *words: str, **environment: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-c", self.text(script), "sh", *words],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "MADE_UP": str(self.root), **environment},
        )  # fmt: skip

    def run(self, script: str, *words: str, input: bytes = b"", **environment: str) -> tuple[int, str, str]:
        with self.start(script, *words, **environment) as process:
            out, err = process.communicate(input, timeout=60)
        return process.returncode, out.decode(), err.decode()

    def install(self, *, content: bytes = CONTENT, wait_s: str = "1", **environment: str) -> tuple[int, str, str]:
        return self.run(tools_session._INSTALL, "1.0-abc", DIGEST, wait_s, input=content, **environment)

    @property
    def calls(self) -> list[str]:
        path = self.root / "calls"
        return path.read_text().splitlines() if path.exists() else []

    @property
    def leftovers(self) -> list[str]:
        return [path.name for path in (self.root / "usr/local/lib").iterdir() if path.name != "moltfleet"]


@pytest.fixture
def guest(tmp_path: Path) -> Guest:
    for path in (HOME, SYSTEMD):
        (tmp_path / path.lstrip("/")).mkdir(parents=True)
    return Guest(tmp_path)


def test_an_archive_is_unpacked_installed_and_gone(guest: Guest) -> None:
    assert guest.install()[0] == 0
    assert guest.calls == ["install --version 1.0-abc from /usr/local/lib/moltfleet.incoming/tree"]
    assert guest.leftovers == []


@pytest.mark.parametrize("kept", [0, 1, 512, len(CONTENT) // 2, len(CONTENT) - 1])
def test_an_archive_that_was_cut_off_is_not_installed(guest: Guest, kept: int) -> None:
    code, _, said = guest.install(content=CONTENT[:kept])
    assert (code, said) == (1, "the tools did not arrive whole\n")
    assert guest.calls == [] and guest.leftovers == []


def test_an_installer_that_fails_is_told_by_its_status(guest: Guest) -> None:
    assert guest.install(ENDS="1")[0] == 1
    assert guest.leftovers == []


def test_what_an_interrupted_installation_left_goes_with_the_next(guest: Guest) -> None:
    process = guest.start(tools_session._INSTALL, "1.0-abc", DIGEST, "1", TAKES_S="2")
    assert process.stdin is not None
    process.stdin.write(CONTENT)
    process.stdin.close()
    until = time.monotonic() + 30
    while not (guest.root / "begun").exists():
        assert time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert guest.leftovers == ["moltfleet.incoming"]
    # The installer goes on behind the killed shell, and is waited for.
    assert guest.install(wait_s="30")[0] == 0
    assert len(guest.calls) == 2
    assert guest.leftovers == []


def test_two_installations_wait_for_each_other(guest: Guest) -> None:
    with guest.start("exec 9>/run/moltfleet-tools.lock; flock 9; echo held; sleep 20") as holder:
        assert holder.stdout is not None and holder.stdout.readline() == b"held\n"
        code, _, said = guest.install()
        holder.kill()
        assert (code, said) == (1, "another installation of the tools is under way\n")
    assert guest.calls == []


def test_a_look_asks_the_installer_that_counts(guest: Guest) -> None:
    current = guest.root / HOME.lstrip("/") / "current"
    current.mkdir()
    (current / "install.py").write_text(INSTALLER)
    status = json.dumps({"schema": "x"})
    assert guest.run(tools_session._LOOK, STATUS=status)[:2] == (0, f"{status}\n")
    assert guest.calls == ["status --json from /usr/local/lib/moltfleet/current"]


def test_a_look_tells_guests_apart(guest: Guest) -> None:
    assert guest.run(tools_session._LOOK)[:2] == (0, "none\n")
    (guest.root / HOME.lstrip("/") / "installed.json").write_text("{}")
    assert guest.run(tools_session._LOOK)[:2] == (0, "damaged\n")
    (guest.root / SYSTEMD.lstrip("/")).rmdir()
    assert guest.run(tools_session._LOOK)[:2] == (0, "no-systemd\n")


def test_a_guest_without_python_is_told_apart(guest: Guest, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    script = f"PATH={tmp_path}/empty; {tools_session._LOOK}"
    assert guest.run(script)[:2] == (0, "no-python\n")


def test_a_removal_is_the_installers_own(guest: Guest) -> None:
    current = guest.root / HOME.lstrip("/") / "current"
    current.mkdir()
    (current / "install.py").write_text(INSTALLER)
    assert guest.run(tools_session._REMOVE, "1")[0] == 0
    assert guest.calls == ["remove from /usr/local/lib/moltfleet/current"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "BASE_MB=210\n"),
        ("AGENTS=claude\n", "AGENTS=claude\nBASE_MB=210\n"),
        ("AGENTS=claude", "AGENTS=claude\nBASE_MB=210\n"),
        (" BASE_MB = 99\n", " BASE_MB = 99\n"),
    ],
)
def test_what_the_idle_guest_uses_is_noted_unless_a_person_did(guest: Guest, before: str | None, after: str) -> None:
    conf = guest.root / "etc/moltfleet/guest.conf"
    if before is not None:
        conf.parent.mkdir(parents=True)
        conf.write_text(before)
    script = provisioning._KEEP_BASE.replace("/etc/moltfleet", str(conf.parent))
    assert guest.run(script, "210")[0] == 0
    assert conf.read_text() == after
