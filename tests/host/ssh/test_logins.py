"""Logins over a real sshd by the real script: tokens that renew themselves, guests that lie, kills at any moment."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from host.ssh.loggedin import TOOL, Clone, a_clone
from moltfleet.adapters.loginfiles import LoginFiles
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.logins import KNOWN, LARGEST_FILE, LoginFile

FILE = ".codex/auth.json"


@pytest.fixture
def clone(server, tmp_path: Path) -> Clone:
    return a_clone(server, tmp_path)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_fifty_molts_end_logged_in_and_no_token_is_lost(clone, caplog):
    caplog.set_level("DEBUG")
    assert clone.sync().error is None
    for number in range(1, 51):
        used = clone.use(clone.home)
        assert used.returncode == 0, (number, used.stderr)
        result = clone.molt(cold=number % 10 == 0)
        assert result.outcome == "molted" and result.logins.pulled == ("codex",), result
        assert clone.token_at(clone.home) == clone.token_at(clone.mine) == clone.server.read_text()
        if number % 7 == 0:
            # This machine's own tool renews it as well; the clone gets it by the next sync.
            assert clone.use(clone.mine).returncode == 0
            assert clone.use(clone.home).stderr.strip() == "logged out"
            assert clone.sync().error is None
    assert clone.use(clone.home).returncode == 0
    assert mode(clone.home / FILE) == mode(clone.mine / FILE) == 0o600
    assert "secret-" not in caplog.text
    assert "secret-" not in str(clone.world.record("crab-1"))
    assert "secret-" not in str(clone.world.progress.events)


def test_it_arrives_whole_for_its_owner_alone_whatever_was_there(clone):
    (clone.home / ".codex").mkdir(mode=0o755)
    (clone.home / FILE).symlink_to(clone.home / "elsewhere")
    (clone.home / "elsewhere").write_text("untouched")
    assert clone.sync().logins.pushed == ("codex",)
    assert not (clone.home / FILE).is_symlink()
    assert (clone.home / "elsewhere").read_text() == "untouched"
    assert (clone.home / FILE).read_bytes() == (clone.mine / FILE).read_bytes()
    assert (mode(clone.home / FILE), names(clone.home / ".codex")) == (0o600, ["auth.json"])
    seen = (clone.home / FILE).stat()
    assert (seen.st_uid, int(seen.st_mtime)) == (os.getuid(), int((clone.mine / FILE).stat().st_mtime))
    clone.wipe()
    clone.sync()
    assert mode(clone.home / ".codex") == 0o700


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


LIES = {
    "a link": link("/etc/hostname"),
    "a link to a device": link("/dev/zero"),
    "a fifo": os.mkfifo,
    "a directory": Path.mkdir,
    "an empty file": Path.touch,
    "half of one": lambda path: path.write_text('{"last_refresh": 1999999999, "tok'),
    "not an object": lambda path: path.write_text("[]"),
    "too long": lambda path: path.write_bytes(b'{"last_refresh": 1999999999, "a": "' + b"x" * LARGEST_FILE + b'"}'),
    "from the far future": lambda path: path.write_text('{"last_refresh": 99999999999}'),
}


@pytest.mark.parametrize("what", LIES)
def test_what_a_guest_has_in_its_place_never_replaces_this_machines(clone, what):
    clone.sync()
    before = (clone.mine / FILE).read_bytes()
    (clone.home / FILE).unlink()
    LIES[what](clone.home / FILE)
    started = time.monotonic()
    result = clone.molt()
    assert (result.outcome, result.logins.pulled) == ("molted", ())
    assert (clone.mine / FILE).read_bytes() == (clone.home / FILE).read_bytes() == before
    assert time.monotonic() - started < 30


def test_a_directory_that_is_a_link_is_not_followed(clone):
    clone.sync()
    (clone.home / ".codex").rename(clone.home / "real")
    (clone.home / ".codex").symlink_to("real")
    clone.use(clone.home)
    assert clone.molt().logins.pulled == ()


@pytest.mark.parametrize(
    "instead",
    [
        "echo '9 1 YQ=='; exit 0",
        "echo '0 1 YQ=='; exit 0",
        "echo '1 1 YQ=='; echo '1 1 YQ=='; exit 0",
        "echo '1 -5 YQ=='; exit 0",
        "echo '1 1 Y'; exit 0",
        "echo ../../etc/passwd; exit 0",
        "head -c 3000000 /dev/zero; exit 0",
        "yes '1 1 YQ=='",
        "exit 3",
    ],
)
def test_a_guest_that_answers_something_else_stops_nothing(clone, instead):
    clone.sync()
    before = (clone.mine / FILE).read_bytes()
    clone.bootstrap.before = f"[ $1 != look ] || {{ {instead}; }}"
    result = clone.molt()
    assert (result.outcome, result.logins.pulled, result.logins.pushed) == ("molted", (), ("codex",))
    assert "were not pulled back" in result.logins.notes[0]
    assert (clone.mine / FILE).read_bytes() == before
    assert not (clone.store / "kept").exists()


def test_a_guest_too_far_gone_is_given_up_in_time_and_molted(clone, monkeypatch):
    monkeypatch.setattr("moltfleet.operations.login_keeping._PATIENCE_S", 1.0)
    clone.sync()
    clone.bootstrap.before = "[ $1 != look ] || sleep 60"
    started = time.monotonic()
    result = clone.molt()
    assert (result.outcome, result.logins.pushed) == ("molted", ("codex",))
    assert "were not pulled back" in result.logins.notes[0]
    assert time.monotonic() - started < 20


def test_what_is_being_written_is_waited_for(clone):
    clone.sync()
    clone.use(clone.home)
    whole = (clone.home / FILE).read_text()
    (clone.home / FILE).write_text(whole[:30])
    late = subprocess.Popen(["sh", "-c", 'sleep 0.4; printf %s "$1" > "$2"', "-", whole, clone.home / FILE])
    assert clone.molt().logins.pulled == ("codex",)
    assert clone.token_at(clone.mine) == clone.server.read_text()
    assert late.wait() == 0


def test_gits_identity_and_signature_are_this_machines(server, tmp_path):
    key = tmp_path / "sign"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", key], check=True)
    clone = a_clone(server, tmp_path, "git", "signing", signing_key=str(key))
    (clone.mine / ".gitconfig").write_text('[user]\n\tname = "Ann \\"A\\" \\\\ Ö"\n\temail = ann@example.org\n')
    (clone.home / ".gitconfig").write_text("[user]\n\tname = golden\n[core]\n\teditor = vi\n")

    def git(*words: str) -> str:
        environment = {"PATH": os.environ["PATH"], "HOME": str(clone.home), "GIT_CONFIG_NOSYSTEM": "1"}
        done = subprocess.run(
            ["git", "-C", clone.home, *words], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert clone.sync().error is None
    assert clone.sync().error is None
    assert git("config", "user.name") == 'Ann "A" \\ Ö'
    assert git("config", "core.editor") == "vi"
    assert git("config", "--global", "--get-all", "include.path").splitlines() == [
        "~/.config/moltfleet/git-identity",
        "~/.config/moltfleet/git-signing",
    ]
    git("init", "-q")
    git("commit", "-q", "--allow-empty", "-m", "one")
    (clone.home / "allowed").write_text(f"ann@example.org {key.with_suffix('.pub').read_text()}")
    git("config", "gpg.ssh.allowedSignersFile", str(clone.home / "allowed"))
    assert git("log", "-1", "--format=%an %G?") == 'Ann "A" \\ Ö G'
    assert clone.sync(act="forget").error is None
    assert git("config", "--global", "user.name") == "golden"
    assert not (clone.home / ".ssh/moltfleet_signing").exists()


def test_forgotten_ones_come_back_first_and_are_gone_then(clone):
    clone.sync()
    clone.use(clone.home)
    assert clone.sync(act="forget").logins.pulled == ("codex",)
    assert clone.token_at(clone.mine) == clone.server.read_text()
    assert not (clone.home / FILE).exists()
    clone.molt()
    assert not (clone.home / FILE).exists()


def test_what_cannot_be_brought_back_is_not_taken_away(clone):
    clone.sync()
    clone.use(clone.home)
    clone.bootstrap.before = "[ $1 != look ] || exit 3"
    assert clone.sync(act="forget").error is not None
    assert clone.use(clone.home).returncode == 0


def test_what_a_tool_renews_while_its_clone_is_synced_is_not_overwritten(clone):
    clone.sync()
    clone.use(clone.home)
    renew = shlex.join((sys.executable, "-c", TOOL, str(clone.server)))
    clone.bootstrap.before = f"[ $1 != put ] || {renew}"
    assert clone.sync().error is None
    clone.bootstrap.before = ""
    assert clone.use(clone.home).returncode == 0
    assert clone.sync(act="pull").logins.pulled == ("codex",)
    assert clone.token_at(clone.mine) == clone.server.read_text()


MERGER = """\
import json, sys, time
from pathlib import Path
from moltfleet.adapters.loginfiles import LoginFiles
from moltfleet.model.logins import KNOWN, LoginFile
home, number = Path(sys.argv[1]), int(sys.argv[2])
logins = LoginFiles(home, home.parent / "store")
print("ready", flush=True)
while True:
    number += 1
    content = json.dumps({"last_refresh": 1700000000 + number, "token": number}).encode()
    logins.merge(KNOWN["codex"], LoginFile(".codex/auth.json", content, time.time()), clone="crab-1")
    print(number, flush=True)
"""


def test_killed_at_any_moment_nothing_that_was_taken_is_lost_and_nothing_is_half(tmp_path):
    home, number = tmp_path / "home", 0
    home.mkdir()
    chance = random.Random(7)
    for _ in range(20):
        process = subprocess.Popen([sys.executable, "-c", MERGER, home, str(number)], stdout=subprocess.PIPE, text=True)
        assert process.stdout and process.stdout.readline() == "ready\n"
        # Some are let through, then it dies in the middle of whatever it does.
        said = [process.stdout.readline().strip() for _ in range(chance.randrange(4))]
        time.sleep(chance.uniform(0.0, 0.01))
        process.send_signal(signal.SIGKILL)
        said += process.stdout.read().splitlines()
        process.wait()
        taken = int(said[-1]) if said else number
        found = json.loads((home / FILE).read_text())["token"] if (home / FILE).exists() else 0
        # It was killed after the rename and before it could say so, at most.
        assert found in (taken, taken + 1), (found, taken)
        for path in (tmp_path / "store").rglob("[0-9]*-host-*"):
            json.loads(path.read_text())
        number = found
    assert number > 20
    # What kills left is for its owner alone, and goes with the next one.
    files = [path for place in (home, tmp_path / "store") for path in place.rglob("*") if path.is_file()]
    assert {mode(path) for path in files} == {0o600}
    content = json.dumps({"last_refresh": 1_800_000_000}).encode()
    LoginFiles(home, tmp_path / "store").merge(KNOWN["codex"], LoginFile(FILE, content, 0.0), clone="crab-1")
    left = [path.name for path in tmp_path.rglob(".*") if path.is_file()]
    assert left == []


SHELLS = {"dash": ["/bin/dash"], "bash": ["/bin/bash", "--posix"], "busybox": ["/bin/busybox", "sh"]}


def do(shell: str, home: Path, *words: str, input: bytes = b"", path: str = "") -> subprocess.CompletedProcess[bytes]:
    script = BootstrapFiles().read("logins.sh").decode()
    environment = {"HOME": str(home), "PATH": path or os.environ["PATH"], "GIT_CONFIG_NOSYSTEM": "1"}
    argv = [*SHELLS[shell], "-c", script, "sh", *words]
    return subprocess.run(argv, env=environment, input=input, capture_output=True, timeout=60, check=False)


@pytest.mark.parametrize("shell", SHELLS)
def test_every_shell_puts_reads_and_removes_alike(shell, tmp_path):
    files = ("a b/it's -n", "--x.json", "plain")
    lines = b"1700000000 b25l\n1700000001 dHdv\n1700000002 \n"
    assert do(shell, tmp_path, "put", *files, input=lines).returncode == 0
    assert [(tmp_path / name).read_bytes() for name in files] == [b"one", b"two", b""]
    assert [int((tmp_path / name).stat().st_mtime) for name in files] == [1700000000, 1700000001, 1700000002]
    os.utime(tmp_path / files[0], ns=(0, 1_700_000_000_123_456_789))
    answer = do(shell, tmp_path, "look", "100", *files, "nothing")
    assert (answer.returncode, answer.stderr) == (0, b"")
    first, second, third = answer.stdout.splitlines()
    assert first in (b"1 1700000000.123456789 b25l", b"1 1700000000.0 b25l")
    assert (second.split()[::2], third.split()[0]) == ([b"2", b"dHdv"], b"3")
    assert do(shell, tmp_path, "look", "2", "plain", *files[:1]).stdout.splitlines()[1].endswith(b" b24=")
    assert do(shell, tmp_path, "remove", *files, "nothing").returncode == 0
    assert not any((tmp_path / name).exists() for name in files)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_connection_that_ends_in_the_middle_changes_nothing(shell, tmp_path):
    (tmp_path / "a").write_text("before")
    assert do(shell, tmp_path, "put", "a", input=b"1700000000 b25lIGFuZCB0").returncode == 1
    assert do(shell, tmp_path, "put", "a", input=b"1700000000 !!!\n").returncode == 1
    assert (tmp_path / "a").read_text() == "before"
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("shell", ["dash", "bash"])
def test_no_program_sees_a_token_as_an_argument(shell, tmp_path):
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    for name in ("base64", "cat", "chmod", "head", "mkdir", "mv", "printf", "rm", "stat", "touch", "tr"):
        real = f"/usr/bin/{name}"
        (programs / name).write_text(f'#!/bin/bash\necho "$0 $*" >>{tmp_path}/seen\nexec {real} "$@"\n')
        (programs / name).chmod(0o755)
    assert do(shell, home, "put", "d/a", input=b"1700000000 c2VjcmV0\n", path=str(programs)).returncode == 0
    assert do(shell, home, "look", "99", "d/a", path=str(programs)).stdout.endswith(b" c2VjcmV0\n")
    seen = (tmp_path / "seen").read_text()
    assert "base64" in seen
    assert "secret" not in seen and "c2VjcmV0" not in seen
