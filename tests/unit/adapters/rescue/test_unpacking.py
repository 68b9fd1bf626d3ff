"""Archives of hostile guests: whatever stands in them, files land below one directory, and nothing else anywhere."""

from __future__ import annotations

import contextlib
import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moltfleet.adapters.rescue import unpacking
from moltfleet.adapters.rescue.archive import BadArchive
from moltfleet.adapters.rescue.unpacking import unpack
from moltfleet.model.errors import NoCapacity
from moltfleet.model.rescue import Unpacked
from unit.adapters.rescue.archives import END, a_file, header, long_name


def unpacked(tmp_path: Path, content: bytes) -> Unpacked:
    archive = tmp_path / "it.tar"
    archive.write_bytes(content)
    return unpack(archive, tmp_path / "root", shown="files", charge=lambda _: None)


def files(tmp_path: Path) -> dict[str, bytes]:
    root = tmp_path / "root"
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def outside(tmp_path: Path) -> set[str]:
    return {path.name for path in tmp_path.iterdir()}


def test_files_and_long_names_come_out_as_they_are(tmp_path: Path) -> None:
    name = b"./" + b"d/" * 40 + b"n" * 120
    content = a_file(b"./a/b", b"one", mode=b"0000755\0") + long_name(name) + a_file(name, b"two") + END
    result = unpacked(tmp_path, content)
    assert files(tmp_path) == {"a/b": b"one", "d/" * 40 + "n" * 120: b"two"}
    assert (result.files, result.left_out, result.links, result.renamed) == (2, (), (), ())
    assert (tmp_path / "root/a/b").stat().st_mode & 0o100


def test_what_another_tar_makes_is_read(tmp_path: Path) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("short", "p" * 90 + "/" + "q" * 90):
            member = tarfile.TarInfo(name)
            member.size = 5
            tar.addfile(member, io.BytesIO(b"hello"))
    unpacked(tmp_path, made.getvalue())
    assert set(files(tmp_path)) == {"short", "p" * 90 + "/" + "q" * 90}


@pytest.mark.parametrize(
    "name", [b"/etc/cron.d/x", b"../x", b"a/../../x", b"a/..", b"..", b".", b"/", b"./../x", b"//x", b"a/b/../../../x"]
)
def test_a_name_that_leads_out_is_left_out(tmp_path: Path, name: bytes) -> None:
    result = unpacked(tmp_path, a_file(name) + a_file(b"good") + END)
    assert files(tmp_path) == {"good": b"x"}
    assert len(result.left_out) == 1 and result.left_out[0].endswith("not a path below the directory")
    assert outside(tmp_path) == {"it.tar", "root"}


def test_no_link_is_made_and_none_is_followed(tmp_path: Path) -> None:
    (tmp_path / "victim").mkdir()
    links = header(b"out", 0, b"2", target=b"../victim") + header(b"hard", 0, b"1", target=b"/etc/passwd")
    result = unpacked(tmp_path, links + a_file(b"out/x") + a_file(b"hard", b"mine") + END)
    assert files(tmp_path) == {"out/x": b"x", "hard": b"mine"}
    assert not (tmp_path / "root/out").is_symlink()
    assert list((tmp_path / "victim").iterdir()) == []
    assert result.links == ("out: a link to ../victim", "hard: a link to /etc/passwd")


@pytest.mark.parametrize("kind", [b"3", b"4", b"6", b"S", b"V", b"M", b"D", b"\xff", b"A"])
def test_devices_pipes_and_sparse_files_are_left_out(tmp_path: Path, kind: bytes) -> None:
    result = unpacked(tmp_path, header(b"device", 0, kind) + a_file(b"good") + END)
    assert files(tmp_path) == {"good": b"x"}
    assert result.left_out == ("device: not a file",)


@pytest.mark.parametrize("name", [b".git/config", b"a/.git/hooks/pre-commit", b".GIT/x", b"sub/.git"])
def test_nothing_of_gits_own_comes_out(tmp_path: Path, name: bytes) -> None:
    result = unpacked(tmp_path, a_file(name) + END)
    assert (files(tmp_path), result.files) == ({}, 0)


def test_no_directory_looks_like_a_bare_repository(tmp_path: Path) -> None:
    names = (b"b/HEAD", b"b/objects/x", b"b/refs/x", b"b/config")
    result = unpacked(tmp_path, b"".join(a_file(name) for name in names) + END)
    assert "b/HEAD" not in files(tmp_path)
    assert [(renamed.name, renamed.origin) for renamed in result.renamed] == [("files/b/moltfleet-renamed-1", "b/HEAD")]


def test_names_that_are_no_names_here_give_way_to_ours(tmp_path: Path) -> None:
    names = (
        b"two\nlines",
        b"\x1b[2J",
        b"\xff\xfe",
        b"-rf",
        b"~",
        b" space",
        b"moltfleet-renamed-1",
        b"d\n/in",
        b"d\n/on",
    )
    result = unpacked(tmp_path, b"".join(a_file(name, name) for name in names) + END)
    found = files(tmp_path)
    assert sorted(found.values()) == sorted(names)
    assert all(name.isprintable() and name.startswith("moltfleet-renamed-") for name in found)
    assert len({name.partition("/")[0] for name in found if "/" in name}) == 1
    assert [renamed for renamed in result.renamed if not renamed.origin.isprintable()] == []
    assert len(result.renamed) == len(names)


def test_a_file_where_a_directory_is_does_not_end_it(tmp_path: Path) -> None:
    result = unpacked(tmp_path, a_file(b"a/b") + a_file(b"a") + a_file(b"a/b/c") + a_file(b"a/b", b"again") + END)
    assert files(tmp_path) == {"a/b": b"again"}
    assert len(result.left_out) == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"x" * 511,
        b"x" * 5000,
        a_file(b"a"),
        header(b"a", 1 << 40) + END,
        header(b"a", size=b"\x80" + b"\xff" * 11) + END,
        header(b"a", size=b"\xff" * 12) + END,
        header(b"a", size=b"zzzzzzzzzzz\0") + END,
        header(b"a", size="²".encode() + bytes(10)) + END,
        header(b"a", checksum=b"000000\0 ") + END,
        header(b"././@LongLink", 1 << 20, b"L") + bytes(1 << 20) + END,
        header(b"pax", 10, b"x") + bytes(512) + END,
        header(b"pax", 10, b"g") + bytes(512) + END,
        a_file(b"good") + header(b"cut", 5000) + bytes(1000),
    ],
)
def test_an_archive_that_is_none_or_is_cut_off_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BadArchive):
        unpacked(tmp_path, content)
    assert outside(tmp_path) == {"it.tar", "root"}


def test_a_bomb_of_many_files_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unpacking, "MOST_FILES", 50)
    result = unpacked(tmp_path, b"".join(a_file(b"f%d" % number) for number in range(400)) + END)
    assert len(files(tmp_path)) == result.files == 50
    assert result.left_out[-1].endswith("more than 50 files")
    again = tmp_path / "again"
    again.mkdir()
    links = b"".join(header(b"l%d" % number, 0, b"2", target=b"/") for number in range(400))
    assert len(unpacked(again, links + END).links) <= 200


def test_directories_without_end_are_not_made(tmp_path: Path) -> None:
    name = b"d/" * 1500 + b"f"
    result = unpacked(tmp_path, long_name(name) + a_file(name) + END)
    assert (files(tmp_path), result.files) == ({}, 0)
    assert not (tmp_path / "root/d").exists()


def test_complaints_are_counted_and_not_all_told(tmp_path: Path) -> None:
    result = unpacked(tmp_path, b"".join(a_file(b"/x%d" % number) for number in range(300)) + END)
    assert len(result.left_out) == 51 and result.left_out[-1] == "and 250 more"


def test_a_limit_ends_it_without_half_a_file(tmp_path: Path) -> None:
    archive = tmp_path / "it.tar"
    archive.write_bytes(a_file(b"a", b"1234") + a_file(b"b", b"5678") + END)
    left = [6]

    def charge(count: int) -> None:
        left[0] -= count
        if left[0] < 0:
            raise NoCapacity("full")

    with pytest.raises(NoCapacity):
        unpack(archive, tmp_path / "root", shown="files", charge=charge)
    assert files(tmp_path) == {"a": b"1234"}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.binary(min_size=1, max_size=30).map(lambda name: name.replace(b"\0", b"/")),
            st.sampled_from([b"0", b"1", b"2", b"3", b"5", b"L", b"S", b"x"]),
            st.binary(max_size=20),
        ),
        max_size=8,
    )
)
def test_whatever_is_in_an_archive_nothing_lands_outside(
    tmp_path_factory: pytest.TempPathFactory, members: list[tuple[bytes, bytes, bytes]]
) -> None:
    place = tmp_path_factory.mktemp("fuzz")
    content = b"".join(a_file(name, text, kind=kind) for name, kind, text in members) + END
    with contextlib.suppress(BadArchive):
        unpacked(place, content)
    assert outside(place) == {"it.tar", "root"}
    for path in (place / "root").rglob("*"):
        assert not path.is_symlink()
        assert str(path.relative_to(place)).isprintable()
