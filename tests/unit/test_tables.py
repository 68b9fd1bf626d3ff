"""The tables of moltfleet.toml: what may stand in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from moltfleet.config import load_config
from moltfleet.model.errors import InvalidInput
from moltfleet.model.size import Size


def rescue_table(tmp_path: Path, text: str) -> object:
    file = tmp_path / "moltfleet.toml"
    file.write_text(f"[rescue]\n{text}\n")
    return load_config(file, uri=None, environment={}).rescue


def test_what_is_rescued_can_be_said(tmp_path: Path) -> None:
    table = rescue_table(tmp_path, 'roots = ["~/src", "/srv/git"]\npaths = []\nper_clone = "1G"\nseconds = 60')
    assert (table.roots, table.paths, table.per_clone, table.seconds) == (  # type: ignore[attr-defined]
        ("~/src", "/srv/git"), (), Size.of_gib(1), 60
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('roots = ["src"]', "moltfleet.toml:2: rescue.roots: 'src' is not usable here"),
        ('paths = ["~/a\\nb"]', r"moltfleet.toml:2: rescue.paths: '~/a\nb' is not usable here"),
        ('paths = ["~user/x"]', "moltfleet.toml:2: rescue.paths: '~user/x' is not usable here"),
        ('directory = "here"', "moltfleet.toml:2: rescue.directory: 'here' is not usable here"),
        ("total = 0", "moltfleet.toml:2: rescue.total: size '0' is not a usable amount"),
        ("seconds = 0", "moltfleet.toml:2: rescue.seconds: input should be greater than 0"),
        ("keep = 1", "moltfleet.toml:2: key 'rescue.keep' is unknown"),
        ("before_molt = 1", "moltfleet.toml:2: rescue.before_molt: input should be a valid boolean"),
    ],
)
def test_what_cannot_be_is_refused_with_its_line(tmp_path: Path, text: str, line: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        rescue_table(tmp_path, text)
    assert caught.value.brief.removeprefix(f"{tmp_path}/") == line
