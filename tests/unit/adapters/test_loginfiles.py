"""Logins on this machine: what is read, how one version replaces another, and that no version is ever lost."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

from contract.logins import LoginsContract
from moltfleet.adapters import loginfiles
from moltfleet.adapters.loginfiles import MOST_KEPT, LoginFiles
from moltfleet.adapters.userlogins import UserLogins
from moltfleet.model.errors import InvalidInput, NoSpace, ToolFailed
from moltfleet.model.logins import KNOWN, LARGEST_FILE, LoginEntry, LoginFile, Winner

NOW = 1_795_000_000.0
CODEX = KNOWN["codex"]
PATH = ".codex/auth.json"
TOOL = LoginEntry("tool", (".tool/token",), rotates=True)


class RealHome:
    """A home directory as the contract looks at it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self.logins = UserLogins(home, home.parent / "store", signing_key=None)

    def put(self, path: str, content: bytes) -> None:
        (self._home / path).parent.mkdir(parents=True, exist_ok=True)
        (self._home / path).write_bytes(content)

    def kept(self) -> list[bytes]:
        return kept(self._home)


class TestLoginFiles(LoginsContract):
    """The files keep the contract."""

    @pytest.fixture
    def home(self, tmp_path: Path) -> RealHome:
        (tmp_path / "home").mkdir()
        return RealHome(tmp_path / "home")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def logins(home: Path, **options: object) -> LoginFiles:
    return LoginFiles(home, home.parent / "store", now=lambda: NOW, **options)  # type: ignore[arg-type]


def token(number: int) -> bytes:
    return json.dumps({"last_refresh": NOW - 1000 + number, "token": f"secret-{number}"}).encode()


def has(home: Path, number: int, path: str = PATH) -> Path:
    file = home / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(token(number))
    return file


def guest(number: int, path: str = PATH) -> LoginFile:
    return LoginFile(path, token(number), NOW - 10)


def kept(home: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted((home.parent / "store/kept").rglob("*")) if path.is_file()]


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_the_newer_one_replaces_this_machines_which_is_kept(home: Path) -> None:
    file = has(home, 1)
    file.chmod(0o644)
    merged = logins(home).merge(CODEX, guest(2), clone="crab-1")
    assert merged.winner is Winner.GUEST and merged.kept is not None
    assert (file.read_bytes(), mode(file), file.stat().st_mtime) == (token(2), 0o600, NOW - 10)
    assert kept(home) == [token(1)]
    assert merged.kept.name.startswith("20261118T")
    assert "-host-" in merged.kept.name and "secret" not in merged.kept.name
    assert (mode(merged.kept), mode(merged.kept.parent), mode(home.parent / "store")) == (0o600, 0o700, 0o700)
    assert [path.name for path in file.parent.iterdir()] == ["auth.json"]


def test_the_older_one_is_kept_once_and_changes_nothing(home: Path) -> None:
    file = has(home, 5)
    before = file.stat()
    for _ in range(3):
        merged = logins(home).merge(CODEX, guest(2), clone="crab-1")
        assert merged.winner is Winner.HOST and merged.kept and "-crab-1-" in merged.kept.name
    assert (file.read_bytes(), file.stat().st_mtime_ns, file.stat().st_ino) == (
        token(5),
        before.st_mtime_ns,
        before.st_ino,
    )
    assert kept(home) == [token(2)]


def test_a_login_that_was_never_here_is_made_for_its_owner_alone(home: Path) -> None:
    merged = logins(home).merge(CODEX, guest(1), clone="crab-1")
    assert (merged.winner, merged.kept) == (Winner.GUEST, None)
    assert (mode(home / PATH), mode(home / ".codex")) == (0o600, 0o700)
    assert logins(home).merge(CODEX, guest(1), clone="crab-1").winner is Winner.SAME


def test_a_link_of_this_machines_user_stays_one(home: Path) -> None:
    real = has(home, 1, "dotfiles/codex.json")
    (home / ".codex").mkdir()
    (home / PATH).symlink_to(real)
    logins(home).merge(CODEX, guest(2), clone="crab-1")
    assert (home / PATH).is_symlink() and real.read_bytes() == token(2)


def test_what_this_machines_tool_writes_in_between_is_not_overwritten(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    has(home, 1)
    write = loginfiles._write

    def renew_meanwhile(path: Path, content: bytes, *, changed_at: float) -> None:
        write(path, content, changed_at=changed_at)
        if kept(home) == [token(1)]:
            has(home, 9)

    monkeypatch.setattr(loginfiles, "_write", renew_meanwhile)
    assert logins(home).merge(CODEX, guest(2), clone="crab-1").winner is Winner.HOST
    assert (home / PATH).read_bytes() == token(9)
    assert sorted(kept(home)) == [token(1), token(2)]


def test_a_tool_that_writes_all_the_time_is_said(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    has(home, 1)
    write, numbers = loginfiles._write, iter(range(2, 100))

    def renew_meanwhile(path: Path, content: bytes, *, changed_at: float) -> None:
        write(path, content, changed_at=changed_at)
        has(home, next(numbers))

    monkeypatch.setattr(loginfiles, "_write", renew_meanwhile)
    with pytest.raises(ToolFailed, match="being changed"):
        logins(home).merge(CODEX, guest(500), clone="crab-1")


@pytest.mark.parametrize("path", ["../.ssh/authorized_keys", ".ssh/authorized_keys", "/etc/passwd", ".codex/other"])
def test_nothing_but_the_files_of_the_login_is_taken(home: Path, path: str) -> None:
    with pytest.raises(ValueError, match="not to be pulled"):
        logins(home).merge(CODEX, guest(1, path), clone="crab-1")
    with pytest.raises(ValueError, match="not to be pulled"):
        logins(home).merge(KNOWN["gh"], LoginFile(".config/gh/hosts.yml", b"x", 1.0), clone="crab-1")
    assert list(home.iterdir()) == []


def test_of_the_kept_ones_the_oldest_go(home: Path) -> None:
    has(home, 999)
    for number in range(MOST_KEPT + 3):
        logins(home).merge(CODEX, guest(number), clone="crab-1")
    assert len(kept(home)) == MOST_KEPT


def test_an_empty_file_is_nothing_to_keep(home: Path) -> None:
    has(home, 1)
    merged = logins(home).merge(CODEX, LoginFile(PATH, b" \n", NOW), clone="crab-1")
    assert (merged.winner, merged.kept) == (Winner.HOST, None)


def test_without_a_moment_the_time_of_change_travels_along(home: Path) -> None:
    file = home / TOOL.files[0]
    file.parent.mkdir()
    file.write_text("old")
    os.utime(file, (NOW - 100, NOW - 100))
    store = logins(home)
    assert store.merge(TOOL, LoginFile(TOOL.files[0], b"two", NOW - 50), clone="a").winner is Winner.GUEST
    assert store.merge(TOOL, LoginFile(TOOL.files[0], b"between", NOW - 60), clone="b").winner is Winner.HOST
    assert store.merge(TOOL, LoginFile(TOOL.files[0], b"future", NOW + 10**6), clone="c").winner is Winner.GUEST
    assert file.stat().st_mtime == NOW
    (found,) = store.read(TOOL)
    assert (found.content, found.changed_at) == (b"future", NOW)


def test_what_is_missing_is_not_read_and_what_cannot_be_one_is_refused(home: Path) -> None:
    assert logins(home).read(CODEX) == ()
    (home / ".codex").write_text("a file")
    assert logins(home).read(CODEX) == ()
    (home / ".codex").unlink()
    (home / PATH).mkdir(parents=True)
    with pytest.raises((InvalidInput, ToolFailed)):
        logins(home).read(CODEX)
    (home / PATH).rmdir()
    os.mkfifo(home / PATH)
    with pytest.raises(InvalidInput, match="is not a file"):
        logins(home).read(CODEX)
    (home / PATH).unlink()
    (home / PATH).write_bytes(b"x" * (LARGEST_FILE + 1))
    with pytest.raises(InvalidInput, match="longer than 256 KiB"):
        logins(home).read(CODEX)


def test_a_full_disk_is_said_and_leaves_everything(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = has(home, 1)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loginfiles, "_write", full)
    with pytest.raises(NoSpace, match="No space left"):
        logins(home).merge(CODEX, guest(2), clone="crab-1")
    assert file.read_bytes() == token(1)


def test_the_owner_is_named_with_the_machine(home: Path) -> None:
    user, _, host = logins(home).owner().partition("@")
    assert user and host


@pytest.mark.allow("subprocess")
@pytest.mark.parametrize("passphrase", ["", "secret"])
def test_a_signing_key_is_one_that_clones_can_use(home: Path, passphrase: str) -> None:
    key = home / "sign"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-f", key], check=True)
    read = lambda: logins(home, signing_key=key).read(KNOWN["signing"])  # noqa: E731
    if passphrase:
        with pytest.raises(InvalidInput, match="has a passphrase"):
            read()
        return
    files = read()
    assert [file.path for file in files] == list(KNOWN["signing"].files)
    assert files[0].content == key.read_bytes()
    for wrong in (home / "sign.pub", home / "none"):
        with pytest.raises(InvalidInput):
            logins(home, signing_key=wrong).read(KNOWN["signing"])
    with pytest.raises(InvalidInput, match="No key to sign with"):
        logins(home).read(KNOWN["signing"])
