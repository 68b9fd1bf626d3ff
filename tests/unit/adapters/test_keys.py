from __future__ import annotations

import base64
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from moltfleet.adapters.keys import LocalKeys
from moltfleet.adapters.publickeys import check_public_key
from moltfleet.model.errors import InvalidInput, ToolFailed


def private_bytes(key, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, encryption)


def public_line(key, comment: str = "me@home") -> str:
    encoded = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH)
    return f"{encoded.decode()} {comment}"


ED25519 = public_line(ed25519.Ed25519PrivateKey.generate())
ECDSA = public_line(ec.generate_private_key(ec.SECP256R1()))
RSA = public_line(rsa.generate_private_key(public_exponent=65537, key_size=2048))
_SK = b"\0\0\0\x1ask-ssh-ed25519@openssh.com" + b"\0\0\0\x20" + b"k" * 32 + b"\0\0\0\x04ssh:"
HARDWARE = f"sk-ssh-ed25519@openssh.com {base64.b64encode(_SK).decode()} token"


@pytest.fixture
def keys(tmp_path):
    return LocalKeys(directory=tmp_path / "data/moltfleet", home=tmp_path)


def test_the_fleet_key_is_made_on_first_use_and_stays(keys, tmp_path):
    first = keys.fleet_public_key()
    assert first.startswith("ssh-ed25519 ") and first.endswith(" moltfleet")
    assert keys.fleet_public_key() == first
    assert LocalKeys(directory=tmp_path / "data/moltfleet").fleet_public_key() == first


def test_the_fleet_key_is_closed_to_others(keys):
    path = keys.fleet_private_key()
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert path.with_suffix(".pub").read_text() == keys.fleet_public_key() + "\n"
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["id_ed25519", "id_ed25519.pub"]


def test_of_many_first_uses_at_once_one_key_survives(tmp_path):
    def use(_: int) -> str:
        return LocalKeys(directory=tmp_path / "moltfleet").fleet_public_key()

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(use, range(16)))) == 1


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_fleet_key_that_others_may_read_is_refused(keys, mode):
    path = keys.fleet_private_key()
    path.chmod(mode)
    with pytest.raises(ToolFailed) as caught:
        keys.fleet_private_key()
    assert caught.value.brief == f"Fleet key {path} is open to other users (mode {mode:04o})"
    assert f"chmod 600 {path}" in caught.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a key",
        private_bytes(ed25519.Ed25519PrivateKey.generate(), b"secret"),
        private_bytes(rsa.generate_private_key(public_exponent=65537, key_size=2048)),
    ],
    ids=["empty", "garbage", "with a passphrase", "RSA"],
)
def test_a_fleet_key_of_another_kind_is_named_and_kept(keys, content):
    path = keys.fleet_private_key()
    path.write_bytes(content)
    with pytest.raises(ToolFailed) as caught:
        keys.fleet_public_key()
    assert caught.value.brief == f"Fleet key {path} is not an Ed25519 key without a passphrase"
    assert path.read_bytes() == content


def test_a_public_half_that_does_not_fit_is_replaced(keys):
    path = keys.fleet_private_key().with_suffix(".pub")
    path.write_text(ED25519)
    assert keys.fleet_public_key() != ED25519
    assert path.read_text() == keys.fleet_public_key() + "\n"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ToolFailed) as caught:
        LocalKeys(directory=tmp_path / "file/moltfleet").fleet_public_key()
    assert caught.value.brief.startswith(f"Fleet key {tmp_path}/file/moltfleet/id_ed25519 cannot be used: ")


def test_without_configuration_the_keys_of_ssh_keygen_are_taken(keys, tmp_path):
    ssh = tmp_path / ".ssh"
    ssh.mkdir()
    (ssh / "id_rsa.pub").write_text(RSA + "\n")
    (ssh / "id_ed25519.pub").write_text(ED25519 + "\n")
    (ssh / "id_broken.pub").write_text("what is this\n")
    (ssh / "id_ed25519").write_text("never read")
    (ssh / "other.pub").write_text(ECDSA)
    assert keys.user_public_keys() == (ED25519, RSA)


def test_a_user_without_keys_has_none(keys):
    assert keys.user_public_keys() == ()


def test_configured_keys_are_lines_and_paths_each_once(tmp_path):
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys/team.pub").write_text(f"# the team\n{RSA}\n\n{ECDSA}\n")
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh/id_ed25519.pub").write_text(public_line(ed25519.Ed25519PrivateKey.generate()))
    entries = (f" {ED25519} ", "~/keys/team.pub", str(tmp_path / "keys/team.pub"), HARDWARE)
    assert LocalKeys(entries, home=tmp_path).user_public_keys() == (ED25519, RSA, ECDSA, HARDWARE)


@pytest.mark.parametrize(
    ("entry", "brief"),
    [
        ("ssh-ed25519 AAAAnonsense me", "authorized_keys in the configuration is not an OpenSSH public key"),
        (ED25519 + "\nssh-rsa x", "authorized_keys in the configuration is not an OpenSSH public key"),
        ("sk-ssh-ed25519@openssh.com AAAA x", "authorized_keys in the configuration is not an OpenSSH public key"),
        ("~/none.pub", "Public key file '~/none.pub' does not exist"),
        ("~/empty.pub", "Public key file '~/empty.pub' is empty"),
        ("~/bad.pub", "~/bad.pub is not an OpenSSH public key"),
        ("~/private", "~/private is a private key"),
        ("~/options", "~/options is not an OpenSSH public key"),
        ("~/directory", "Public key file '~/directory' cannot be read: Is a directory"),
    ],
    ids=range(9),  # a key made anew in each run would make a different name
)
def test_a_bad_configured_key_is_named(tmp_path, entry, brief):
    (tmp_path / "empty.pub").write_text("# nothing\n")
    (tmp_path / "bad.pub").write_text("ssh-ed25519 nonsense\n")
    (tmp_path / "private").write_bytes(private_bytes(ed25519.Ed25519PrivateKey.generate()))
    (tmp_path / "options").write_text(f'command="x" {ED25519}\n')
    (tmp_path / "directory").mkdir()
    with pytest.raises(InvalidInput) as caught:
        LocalKeys((entry,), home=tmp_path).user_public_keys()
    assert caught.value.brief == brief


def test_a_private_key_is_never_quoted():
    text = private_bytes(ed25519.Ed25519PrivateKey.generate()).decode()
    with pytest.raises(InvalidInput) as caught:
        check_public_key(text, source="key")
    assert text[40:80] not in str(caught.value) + str(caught.value.hint) + str(caught.value.details)


def test_host_keys_are_fresh_and_hide_their_private_half(keys):
    pair = keys.new_host_key()
    assert pair.private.startswith("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    assert "PRIVATE" not in repr(pair) and pair.public in repr(pair)
    assert len(pair.public.split(" ")) == 2
    loaded = serialization.load_ssh_private_key(pair.private.encode(), password=None)
    assert public_line(loaded).startswith(pair.public)
    assert keys.new_host_key().public != pair.public


def test_the_default_place_is_the_user_s_data_directory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert LocalKeys().fleet_key_path == Path(tmp_path / "moltfleet/id_ed25519")
