"""Heads of bundles as guests may send them: what is no bundle is refused before git ever sees it."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltfleet.adapters.rescue.bundles import BadBundle, BundleHead, read_head

ONE, TWO = "1" * 40, "2" * 40
PACK = b"PACK\0\0\0\2\0\0\0\1"


def read(tmp_path: Path, text: str, pack: bytes = PACK) -> BundleHead:
    path = tmp_path / "it.bundle"
    path.write_bytes(text.encode() + pack)
    return read_head(path)


def test_a_head_is_read(tmp_path: Path) -> None:
    text = f"# v2 git bundle\n-{ONE} a comment\n{TWO} refs/heads/main\n{TWO} HEAD\n\n"
    head = read(tmp_path, text)
    assert head.refs == (("refs/heads/main", TWO), ("HEAD", TWO))
    assert (head.needed, head.object_format, head.offset) == ({ONE}, "sha1", len(text))


def test_a_head_of_longer_names_is_read(tmp_path: Path) -> None:
    name = "a" * 64
    assert read(tmp_path, f"# v3 git bundle\n@object-format=sha256\n{name} HEAD\n\n").object_format == "sha256"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# v9 git bundle\n\n",
        "# v3 git bundle\n@filter=blob:none\n\n",
        f"# v2 git bundle\n{ONE} refs/heads/main\n",
        f"# v2 git bundle\n{ONE[:39]} refs/heads/main\n\n",
        f"# v2 git bundle\n{'g' * 40} refs/heads/main\n\n",
        f"# v2 git bundle\n-{ONE[:10]}\n{ONE} HEAD\n\n",
        f"# v2 git bundle\n{ONE} --upload-pack=touch\n\n",
        f"# v2 git bundle\n{ONE} refs/heads/../../config\n\n",
        f"# v2 git bundle\n{ONE} refs/heads/x.lock\n\n",
        f"# v2 git bundle\n{ONE} refs/heads/a b\n\n",
        f"# v2 git bundle\n{ONE} refs/heads/\x1b[2J\n\n",
        f"# v2 git bundle\n{ONE} heads/main\n\n",
        f"# v2 git bundle\n{ONE}\n\n",
    ],
)
def test_a_head_that_says_what_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(BadBundle) as caught:
        read(tmp_path, text)
    assert str(caught.value).isprintable()


def test_a_bundle_that_claims_more_than_anybody_has_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="4294967295 objects"):
        read(tmp_path, f"# v2 git bundle\n{ONE} HEAD\n\n", b"PACK\0\0\0\2\xff\xff\xff\xff")
    with pytest.raises(BadBundle, match="no pack"):
        read(tmp_path, f"# v2 git bundle\n{ONE} HEAD\n\n", b"")


def test_a_head_without_end_is_not_read_whole(tmp_path: Path) -> None:
    with pytest.raises(BadBundle, match="does not end"):
        read(tmp_path, "# v2 git bundle\n" + f"{ONE} refs/heads/x\n" * 100_000)
