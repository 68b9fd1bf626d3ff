"""Files named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltfleet.cli.files import LARGEST, read_cloud_config, read_public_keys, read_script
from moltfleet.model.errors import InvalidInput
from moltfleet.model.recipe import CloudConfig, Script

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB me@here"


def test_user_data_and_scripts_are_read_with_their_origin(tmp_path: Path) -> None:
    path = tmp_path / "extra.yaml"
    path.write_text("packages: [jq]\n")
    assert read_cloud_config(path) == CloudConfig(origin=str(path), text="packages: [jq]\n")
    assert read_script(path) == Script(name="extra.yaml", content=b"packages: [jq]\n")


def test_public_keys_are_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "keys.pub"
    path.write_text(f"# mine\n\n{KEY}\nsk-ssh-ed25519@openssh.com AAAA x\n")
    assert read_public_keys(path) == (KEY, "sk-ssh-ed25519@openssh.com AAAA x")


def test_a_private_key_is_refused_and_the_public_one_named(tmp_path: Path) -> None:
    path = tmp_path / "id_ed25519"
    path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(InvalidInput, match="is a private key") as caught:
        read_public_keys(path)
    assert caught.value.hint == "Name the public one, which ends in .pub."
    assert "c2VjcmV0" not in caught.value.brief


@pytest.mark.parametrize("content", ["", "# nothing\n", "hello\n", f"{KEY}\nhello\n"])
def test_what_is_not_a_key_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "keys.pub"
    path.write_text(content)
    with pytest.raises(InvalidInput, match="is not a public SSH key"):
        read_public_keys(path)


@pytest.mark.parametrize(
    ("content", "brief"),
    [
        (None, "cannot be read: No such file"),
        (b"\xff", "is not UTF-8 text"),
        (b"x" * (LARGEST + 1), "longer than 8 MiB"),
    ],
    ids=["missing", "binary", "huge"],
)
def test_unreadable_files_are_one_line(tmp_path: Path, content: bytes | None, brief: str) -> None:
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidInput, match=brief):
        read_cloud_config(path)
