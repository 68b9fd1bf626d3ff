from __future__ import annotations

import posixpath
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moltfleet.adapters.ssh.landing import Landing, is_safe_link, is_safe_name
from moltfleet.model.errors import ToolFailed


@pytest.mark.parametrize("name", [b"a", b"...", b"-rf", b"new\nline", b"\xff", b"x" * 255])
def test_a_component_is_a_safe_name(name):
    assert is_safe_name(name)


@pytest.mark.parametrize("name", [b"", b".", b"..", b"a/b", b"/", b"/etc", b"a\0b", b"x" * 256])
def test_what_is_no_component_is_not(name):
    assert not is_safe_name(name)


@pytest.mark.parametrize(
    ("target", "depth", "is_safe"),
    [
        (b"file", 0, True),
        (b"./a//b", 0, True),
        (b"..", 0, False),
        (b"..", 1, True),
        (b"../..", 1, False),
        (b"../../x", 2, True),
        (b"a/..", 5, False),
        (b"../a/../b", 5, False),
        (b"/etc/passwd", 9, False),
        (b"", 1, False),
        (b"a\0b", 1, False),
    ],
)
def test_a_link_stays_inside_whatever_its_names_lead_to(target, depth, is_safe):
    assert is_safe_link(target, depth=depth) is is_safe


@given(st.lists(st.sampled_from([b"..", b".", b"a", b"b", b""]), max_size=8), st.integers(0, 4))
def test_a_safe_link_never_climbs_above_the_root(parts, depth):
    target = b"/".join(parts)
    if is_safe_link(target, depth=depth):
        start = b"/".join([b"root", *[b"d"] * depth])
        assert posixpath.normpath(start + b"/" + target).split(b"/")[0] == b"root"


def test_a_failed_file_leaves_nothing(tmp_path):
    with (
        Landing.root(tmp_path / "out") as landing,
        pytest.raises(KeyError),
        landing.file(b"name", is_executable=False) as target,
    ):
        target.write(b"half")
        raise KeyError
    assert list((tmp_path / "out").iterdir()) == []


def test_a_file_replaces_a_symlink_and_not_what_it_points_to(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("good")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/name").symlink_to(victim)
    with Landing.root(tmp_path / "out") as landing, landing.file(b"name", is_executable=False) as target:
        target.write(b"evil")
    assert victim.read_text() == "good" and (tmp_path / "out/name").read_text() == "evil"


def test_a_directory_that_is_a_symlink_is_not_entered(tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/d").symlink_to(tmp_path / "victim")
    with Landing.root(tmp_path / "out") as landing, pytest.raises(ToolFailed), landing.directory(b"d"):
        pass


def test_a_directory_moved_away_in_mid_copy_is_still_the_one_written_to(tmp_path):
    with Landing.root(tmp_path / "out") as landing, landing.directory(b"d") as inner:
        (tmp_path / "out/d").rename(tmp_path / "moved")
        (tmp_path / "out/d").symlink_to(Path("/nonexistent"))
        with inner.file(b"name", is_executable=True) as target:
            target.write(b"x")
    assert (tmp_path / "moved/name").read_bytes() == b"x"


def test_a_place_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ToolFailed) as caught, Landing.root(tmp_path / "file/x"):
        pass
    assert caught.value.brief == f"{tmp_path}/file/x is a file or a symlink, not a directory"
