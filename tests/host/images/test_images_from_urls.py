"""Images by URL: whole or not at all, gone on with where it stopped, and never twice."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import subprocess
import sys

import pytest

from moltfleet.model.errors import ChecksumMismatch, InvalidInput, MoltfleetError, NotFound, ToolFailed
from moltfleet.model.size import Size

from .conftest import Desk, Site


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def refusal(desk: Desk, source: str, *, sha256: str | None = None) -> MoltfleetError:
    with pytest.raises(MoltfleetError) as caught:
        desk.images().fetch(source, sha256=sha256)
    return caught.value


def test_an_image_arrives_whole_and_is_described(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x.qcow2"] = qcow2
    image = desk.images().fetch(site.url("/x.qcow2"), sha256=sha256(qcow2))
    assert image.path.read_bytes() == qcow2
    assert (image.format, image.virtual_size, image.sha256) == ("qcow2", Size.of_mib(8), sha256(qcow2))
    assert (image.origin, image.verified_by) == (site.url("/x.qcow2"), "the given SHA-256")
    assert desk.leftovers() == []


def test_without_a_checksum_nothing_is_claimed(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    assert desk.images().fetch(site.url("/x")).verified_by == "nothing"


def test_a_known_image_with_its_checksum_needs_no_server(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    for _ in range(2):
        desk.images().fetch(site.url("/x"), sha256=sha256(qcow2))
    assert len(site.requests) == 1


def test_without_a_checksum_the_server_is_asked_whether_there_is_a_newer_one(
    site: Site, desk: Desk, qcow2: bytes
) -> None:
    site.files["/x"] = qcow2
    desk.images().fetch(site.url("/x"))
    desk.images().fetch(site.url("/x"))
    assert site.bytes_sent == len(qcow2)
    site.files["/x"] = qcow2 + bytes(512)
    assert desk.images().fetch(site.url("/x")).sha256 == sha256(qcow2 + bytes(512))


def test_a_connection_that_is_cut_is_taken_up_where_it_ended(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    site.cuts = [100_000, 200_000]
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2
    assert [asked for _, asked in site.requests] == [None, "bytes=100000-", "bytes=300000-"]
    assert site.bytes_sent == len(qcow2)


def test_a_line_that_gives_nothing_more_ends_in_an_error_and_the_next_run_goes_on(
    site: Site, desk: Desk, qcow2: bytes
) -> None:
    site.files["/x"] = qcow2
    site.cuts = [100_000, 0, 0, 0, 0, 0]
    error = refusal(desk, site.url("/x"))
    assert isinstance(error, ToolFailed)
    assert error.brief == f"Download of {site.url('/x')} ended after 100000 bytes: the connection broke off"
    assert error.hint == "Run it again: it goes on where it stopped."
    site.cuts.clear()
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2
    assert site.bytes_sent == len(qcow2)
    assert desk.leftovers() == []


def test_a_file_that_changed_since_the_part_is_started_over(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = bytes(512) + qcow2
    site.cuts = [100_000, 0, 0, 0, 0, 0]
    refusal(desk, site.url("/x"))
    site.cuts.clear()
    site.files["/x"] = qcow2
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2
    assert site.requests[-1][1] == "bytes=100000-"


@pytest.mark.parametrize("lacks", ["has_ranges", "has_etags"])
def test_a_server_that_cannot_resume_is_asked_for_all_of_it(site: Site, desk: Desk, qcow2: bytes, lacks: str) -> None:
    setattr(site, lacks, False)
    site.files["/x"] = qcow2
    site.cuts = [100_000]
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2
    assert site.bytes_sent == len(qcow2) + 100_000


def test_a_part_that_is_complete_already_is_not_downloaded_again(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    image = desk.images().fetch(site.url("/x"))
    state = image.path.with_name(image.path.name + ".json")
    image.path.rename(image.path.with_name(image.path.name + ".part"))
    state.rename(image.path.with_name(image.path.name + ".part.json"))
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2
    assert site.bytes_sent == len(qcow2)


def test_a_part_that_is_longer_than_the_file_is_started_over(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    image = desk.images().fetch(site.url("/x"))
    part = image.path.with_name(image.path.name + ".part")
    part.write_bytes(qcow2 + b"more")
    image.path.with_name(image.path.name + ".json").rename(part.with_name(part.name + ".json"))
    image.path.unlink()
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2


def test_a_wrong_checksum_names_both_digests_and_leaves_nothing(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    error = refusal(desk, site.url("/x"), sha256="0" * 64)
    assert isinstance(error, ChecksumMismatch)
    expected = f"SHA-256 of {site.url('/x')} is {sha256(qcow2)[:12]}…, not 000000000000… as expected"
    assert error.brief == expected
    assert not [path for path in (desk.cache / "images").iterdir() if path.suffix != ".lock"]


def test_a_wrong_checksum_leaves_the_image_that_was_there(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    before = desk.images().fetch(site.url("/x"))
    assert isinstance(refusal(desk, site.url("/x"), sha256="0" * 64), ChecksumMismatch)
    assert before.path.read_bytes() == qcow2


@pytest.mark.parametrize("content", [b"<html>Please log in</html>" * 100, b"QFI\xfb\0\0\0\3" + bytes(50)])
def test_an_answer_that_is_no_image_is_not_kept(site: Site, desk: Desk, content: bytes) -> None:
    site.files["/x"] = content
    assert isinstance(refusal(desk, site.url("/x")), InvalidInput)
    assert not [path for path in (desk.cache / "images").iterdir() if path.suffix != ".lock"]


def test_a_missing_file_is_not_found(site: Site, desk: Desk) -> None:
    error = refusal(desk, site.url("/nowhere.qcow2"))
    assert isinstance(error, NotFound)
    assert error.brief == f"No file at {site.url('/nowhere.qcow2')}"


@pytest.mark.parametrize(("status", "hint"), [(403, "It asks for a login"), (503, "Try again later")])
def test_a_refusal_of_the_server_is_told_with_its_number(site: Site, desk: Desk, status: int, hint: str) -> None:
    site.statuses["/x"] = status
    error = refusal(desk, site.url("/x"))
    assert isinstance(error, ToolFailed)
    assert error.brief.startswith(f"Server 127.0.0.1 answered {status} ")
    assert (error.hint or "").startswith(hint)


def test_a_redirection_is_followed_and_a_circle_is_an_error(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/real"] = qcow2
    site.redirects = {"/x": site.url("/real"), "/a": site.url("/b"), "/b": site.url("/a")}
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2
    assert "in circles" in refusal(desk, site.url("/a")).brief


def test_logins_and_tokens_of_an_address_are_not_shown(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    source = site.url("/x?token=secret").replace("127.0.0.1", "me:secret@127.0.0.1")
    image = desk.images().fetch(source)
    assert image.origin == site.url("/x")
    assert "secret" not in repr(desk.progress.events) + str(image.path)


def test_a_host_that_does_not_resolve_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    error = refusal(desk, "http://images.invalid/x.qcow2")
    assert isinstance(error, ToolFailed)
    assert error.brief == "Host 'images.invalid' cannot be resolved"
    assert error.hint


def test_a_host_that_refuses_is_named_at_once(desk: Desk, site: Site) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        error = refusal(desk, f"http://127.0.0.1:{closed.getsockname()[1]}/x")
    assert error.brief == "Host '127.0.0.1' cannot be reached"
    assert desk.waits == []


def test_an_image_that_is_here_is_used_with_a_warning_when_its_host_is_away(
    site: Site, desk: Desk, qcow2: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.files["/x"] = qcow2
    desk.images().fetch(site.url("/x"))

    def fail(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(socket, "create_connection", fail)
    assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2
    assert desk.progress.texts("warn") == (
        "Host '127.0.0.1' cannot be resolved: going on with the image that is here already",
    )


@pytest.mark.parametrize("source", ["ftp://host/x.qcow2", "http://", "http://[::1/x", "https:///x"])
def test_an_address_that_cannot_be_asked_is_invalid(desk: Desk, source: str) -> None:
    assert isinstance(refusal(desk, source), InvalidInput)


# A program, not a function for multiprocessing: that would import this module by a name which only pytest knows.
FETCH = """
import sys
from pathlib import Path
from moltfleet.adapters.images import ImageFiles
from moltfleet.progress import NullProgress
print(ImageFiles(NullProgress(), cache=Path(sys.argv[2])).fetch(sys.argv[1]).sha256)
"""


def test_two_processes_download_one_file_once(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    argv = [sys.executable, "-c", FETCH, site.url("/x"), str(desk.cache)]
    both = [subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = [process.communicate(timeout=60)[0].strip() for process in both]
    assert digests == [sha256(qcow2)] * 2
    assert site.bytes_sent == len(qcow2)


def test_damaged_notes_about_a_part_are_no_obstacle(site: Site, desk: Desk, qcow2: bytes) -> None:
    site.files["/x"] = qcow2
    image = desk.images().fetch(site.url("/x"))
    for notes in (b"{", json.dumps([1]).encode()):
        image.path.with_name(image.path.name + ".json").write_bytes(notes)
        assert desk.images().fetch(site.url("/x")).path.read_bytes() == qcow2


def test_the_server_of_these_tests_itself_cuts_an_answer(site: Site) -> None:
    site.files["/x"], site.cuts = b"x" * 1000, [10]
    connection = http.client.HTTPConnection("127.0.0.1", site.port)
    connection.request("GET", "/x")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()
