"""Keys that were authorised and are remembered for later clones."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from moltfleet.adapters import publickeys
from moltfleet.adapters.keys import LocalKeys
from moltfleet.model.errors import InvalidInput, NotFound, ToolFailed
from moltfleet.model.publickeys import KnownKey, fingerprint, known_key


def a_key(comment: str) -> str:
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    return f"{public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()} {comment}"


ANN, BOB, ME = a_key("ann@desk"), a_key("bob"), a_key("me")


@pytest.fixture
def keys(tmp_path: Path) -> LocalKeys:
    return LocalKeys(directory=tmp_path / "data/moltfleet", home=tmp_path)


def remembered(tmp_path: Path) -> Path:
    return tmp_path / "data/moltfleet/authorized_keys"


@pytest.mark.allow("subprocess")
def test_a_fingerprint_is_that_of_ssh_keygen(tmp_path: Path) -> None:
    (tmp_path / "key.pub").write_text(ANN + "\n")
    told = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True, check=True)
    assert told.stdout.split()[1:3] == [fingerprint(ANN), "ann@desk"]


@pytest.mark.parametrize(("extra", "comment"), [("", ""), (" me at  home ", "me at  home")])
def test_a_comment_is_what_follows_the_key(extra: str, comment: str) -> None:
    line = " ".join(ANN.split()[:2])
    assert known_key(line + extra, "config") == KnownKey(fingerprint(ANN), "ssh-ed25519", comment, "config")


def test_remembered_keys_go_into_new_clones_beside_the_others(keys: LocalKeys, tmp_path: Path) -> None:
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text(ME)
    assert [key.comment for key in keys.remember([ANN, BOB, ME])] == ["ann@desk", "bob"]
    assert keys.user_public_keys() == (ME, ANN, BOB)
    assert [(key.comment, key.source) for key in keys.known()] == [
        ("moltfleet", "fleet"),
        ("me", "home"),
        ("ann@desk", "authorised"),
        ("bob", "authorised"),
    ]
    configured = LocalKeys((BOB,), directory=tmp_path / "data/moltfleet", home=tmp_path)
    assert configured.user_public_keys() == (BOB, ANN)
    assert [key.source for key in configured.known()] == ["fleet", "config", "authorised"]


def test_what_is_remembered_twice_is_there_once_and_private(keys: LocalKeys, tmp_path: Path) -> None:
    keys.remember([ANN])
    assert keys.remember([ANN.rsplit(" ", 1)[0] + " another-comment"]) == ()
    assert remembered(tmp_path).read_text() == ANN + "\n"
    assert remembered(tmp_path).stat().st_mode & 0o777 == 0o600
    assert remembered(tmp_path).parent.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("line", ["-----BEGIN OPENSSH PRIVATE KEY-----", 'command="id" ' + ANN, "ssh-ed25519 AAAA", ""])
def test_what_is_no_public_key_is_never_remembered(keys: LocalKeys, tmp_path: Path, line: str) -> None:
    with pytest.raises(InvalidInput):
        keys.remember([ANN, line])
    assert not remembered(tmp_path).exists()


def test_forgotten_keys_go_to_no_later_clone(keys: LocalKeys) -> None:
    keys.remember([ANN, BOB])
    assert [key.comment for key in keys.forget([fingerprint(ANN)[:15]])] == ["ann@desk"]
    assert keys.user_public_keys() == (BOB,)
    assert [key.comment for key in keys.forget([fingerprint(BOB).removeprefix("SHA256:")])] == ["bob"]
    assert keys.user_public_keys() == ()


@pytest.mark.parametrize("text", ["", "SHA256:", "SHA256:abc", "SHA256:AAAAAAAAAAAA", "\x1b[2J"])
def test_a_fingerprint_that_is_nobodys_forgets_nothing(keys: LocalKeys, text: str) -> None:
    keys.remember([ANN])
    with pytest.raises(NotFound) as caught:
        keys.forget([fingerprint(ANN), text])
    assert caught.value.brief.isprintable()
    assert keys.user_public_keys() == (ANN,)


def test_the_beginning_of_two_fingerprints_is_not_enough(keys: LocalKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publickeys, "_LEAST_PRINT", 0)
    keys.remember([ANN, BOB])
    with pytest.raises(InvalidInput, match="is that of several keys"):
        keys.forget(["SHA256:"])


def test_of_many_at_once_none_is_lost(keys: LocalKeys, tmp_path: Path) -> None:
    lines = [a_key(str(number)) for number in range(12)]

    def remember(line: str) -> None:
        LocalKeys(directory=tmp_path / "data/moltfleet", home=tmp_path).remember([line])

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(remember, lines))
    assert set(keys.user_public_keys()) == set(lines)


def test_a_damaged_file_is_named(keys: LocalKeys, tmp_path: Path) -> None:
    keys.remember([ANN])
    remembered(tmp_path).write_text("nonsense\n")
    with pytest.raises(InvalidInput) as caught:
        keys.user_public_keys()
    assert str(remembered(tmp_path)) in caught.value.brief


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    keys = publickeys.RememberedKeys(tmp_path / "file/authorized_keys")
    (tmp_path / "file").touch()
    for act in (keys.lines, lambda: keys.add([ANN])):
        with pytest.raises(ToolFailed, match="authorized_keys cannot be"):
            act()


def test_the_file_does_not_grow_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publickeys, "LARGEST_FILE", 150)
    keys = publickeys.RememberedKeys(tmp_path / "authorized_keys")
    keys.add([ANN])
    with pytest.raises(InvalidInput, match="would be longer"):
        keys.add([BOB])
    assert keys.lines() == (ANN,)
