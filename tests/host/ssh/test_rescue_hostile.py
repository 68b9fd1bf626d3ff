"""Guests that lie, flood, hang, plant links and devices: nothing leaves its directory, and what is missing is said."""

from __future__ import annotations

import os
import signal
import socket
import tempfile
import time
from pathlib import Path

import pytest

from host.ssh.rescued import Clone, a_clone, git
from moltfleet.model.rescue import Outcome, PartState
from moltfleet.operations import rescue_guest

HEAD = "2d7733727cb827ea02f3811971f0769a846f9257"


@pytest.fixture
def clone(server, tmp_path: Path) -> Clone:
    return a_clone(server, tmp_path, per_clone="48M")


def a_list(*records: tuple[str, ...]) -> str:
    """A shell command that prints a list of work."""
    return "; ".join(f"printf '%s\\0' {' '.join(repr(word) for word in record)}" for record in records)


def a_repository(work: str) -> tuple[str, ...]:
    return ("repository", "/nowhere", "work", HEAD, "refs/heads/main", *work, "")


def everything_below(directory: Path) -> list[Path]:
    return sorted(directory.rglob("*"))


def test_a_list_of_a_gibibyte_is_cut_off_at_once(clone):
    clone.does(look="head -c 1073741824 /dev/zero; exit")
    started = time.monotonic()
    result = clone.rescue()
    assert (result.outcome, result.directory) == (Outcome.UNREACHABLE, None)
    assert result.error.brief == "Guest lists more than 1024 KiB of work"
    assert time.monotonic() - started < 20
    assert list(clone.kept.rglob("*")) == []


def test_a_piece_of_a_gibibyte_is_cut_off_and_the_others_still_come(clone):
    clone.does(
        look=a_list(a_repository("10100"), ("logs",), ("end",)) + "; exit",
        staged="head -c 1073741824 /dev/urandom; exit",
        files="exit 3",
        commits="exit 3",
        logs="echo killed; exit",
    )
    result = clone.rescue()
    assert result.outcome is Outcome.PARTLY
    assert [(part.kind, part.state) for part in result.parts] == [("staged", PartState.LEFT), ("logs", PartState.KEPT)]
    assert result.parts[0].detail == "Rescues of 'crab-1' may not take more than 48 MiB"
    assert (result.directory / "logs.txt").read_text() == "killed\n"
    assert sum(path.stat().st_size for path in clone.kept.rglob("*") if path.is_file()) < 100_000


def test_a_flood_of_complaints_is_no_reason_to_wait(clone):
    clone.does(look="head -c 50000000 /dev/zero >&2; " + a_list(("end",)) + "; exit")
    assert clone.rescue().outcome is Outcome.NOTHING


def test_a_guest_that_stops_answering_in_the_middle_is_left_in_time(clone, monkeypatch):
    monkeypatch.setattr(rescue_guest, "_GRACE_S", 0.5)
    stopped = clone.home / "stopped"
    # The server's own process stops, so that not even the end of a command is told.
    stop = f"read -r _ _ _ server _ </proc/$PPID/stat; echo $server >{stopped}; kill -STOP $server; sleep 60"
    clone.does(look=a_list(a_repository("01100"), ("logs",), ("end",)) + "; exit", staged="echo x; exit", files=stop)
    clone.fleet.config.rescue.__dict__["seconds"] = 2.0
    started = time.monotonic()
    try:
        result = clone.rescue()
    finally:
        os.kill(int(stopped.read_text()), signal.SIGKILL)
    assert time.monotonic() - started < 15
    assert result.outcome is Outcome.PARTLY
    assert [(part.kind, part.state) for part in result.parts if part.state is PartState.LEFT] == [
        ("files", PartState.LEFT),
        ("commits", PartState.LEFT),
        ("logs", PartState.LEFT),
    ]


def test_a_command_that_never_ends_is_ended_in_the_guest(clone):
    clone.fleet.config.rescue.__dict__["seconds"] = 2.0
    clone.does(look=a_list(a_repository("00100")) + "; sleep 1000")
    result = clone.rescue()
    assert result.outcome is Outcome.PARTLY
    assert "did not finish its list" in result.details[0]


def test_a_disk_without_room_in_the_guest_is_no_hindrance(clone):
    where = clone.repository(remote=False)
    (where / "main.c").write_text("changed\n")
    (where / "new").write_text("new\n")
    (clone.home / "work/artifacts/report").write_text("report\n")
    # Every write to a file fails, as on a full disk.
    clone.bootstrap.before = "ulimit -f 0"
    result = clone.rescue()
    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    assert {part.kind for part in clone.manifest(result).parts} == {"unstaged", "files", "commits", "tree"}


def test_names_that_would_drive_a_terminal_are_printable_here(clone):
    name = "\x1b]0;owned\x07\x1b[2J\nfake: ok"
    where = clone.repository(name, remote=False)
    (where / f"{name}.c").write_text("int x;\n")
    artifacts = clone.home / f"work/artifacts/{name}"
    artifacts.mkdir()
    (artifacts / os.fsdecode(b"\xff\xfe")).write_text("bytes\n")
    (artifacts / "-rf").write_text("option\n")
    result = clone.rescue()
    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    manifest = clone.manifest(result)
    texts = [*manifest.details, *(part.origin for part in manifest.parts), *(r.path for r in manifest.repositories)]
    texts += [part for renamed in manifest.renamed for part in (renamed.name, renamed.origin)]
    assert [text for text in texts if not text.isprintable()] == []
    assert [path for path in everything_below(result.directory) if not str(path).isprintable()] == []
    assert [path.name for path in everything_below(result.directory) if path.name.startswith("-")] == []
    assert len(manifest.renamed) == 3


def test_links_devices_and_sockets_do_not_come(clone):
    artifacts = clone.home / "work/artifacts"
    (artifacts / "passwords").symlink_to("/etc/passwd")
    (artifacts / "root").symlink_to("/")
    (artifacts / "up").symlink_to("../../../..")
    os.mkfifo(artifacts / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(artifacts / "s"))
    (artifacts / "twice").write_text("x")
    os.link(artifacts / "twice", artifacts / "again")
    result = clone.rescue()
    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    found = {path.name: path for path in everything_below(result.directory / "artifacts-1")}
    assert set(found) == {"twice", "again"}
    assert all(path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1 for path in found.values())
    assert "artifacts-1: passwords: a link to /etc/passwd" in clone.manifest(result).details


def test_settings_and_hooks_of_a_repository_are_not_run(clone, tmp_path):
    where = clone.repository(remote=False)
    marker = tmp_path / "was-run"
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\necho $0 $* >>{marker}\nexit 0\n")
    program.chmod(0o755)
    (where / "other.c").write_text("x\n")
    git(where, "add", "other.c")
    (where / "main.c").write_text("changed\n")
    for key in ("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "diff.external",
                "diff.evil.textconv", "diff.evil.command", "gpg.program", "alias.diff", "alias.apply"):  # fmt: skip
        git(where, "config", key, str(program))
    git(where, "config", "core.hooksPath", str(tmp_path / "hooks"))
    git(where, "config", "diff.noprefix", "true")
    git(where, "config", "color.ui", "always")
    git(where, "config", "color.diff", "always")
    git(where, "config", "diff.relative", "true")
    git(where, "config", "core.worktree", "/")
    (where / ".git/info/attributes").write_text("*.c diff=evil\n")
    (tmp_path / "hooks").mkdir()
    for name in ("post-index-change", "pre-commit", "reference-transaction", "post-checkout"):
        (tmp_path / "hooks" / name).symlink_to(program)
    (where / ".git/objects/info/alternates").write_text("/etc\n/nonexistent\n")
    (where / ".gitmodules").write_text('[submodule "x"]\n\tpath = x\n\turl = ext::touch /tmp/x\n')
    result = clone.rescue()
    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    assert not marker.exists(), marker.read_text()
    assert {part.detail for part in result.parts if part.kind in ("staged", "unstaged")} == {"1 file(s); applies"}
    names = {path.name for path in everything_below(result.directory)}
    assert not names & {".git", "hooks", "config", "alternates", "attributes"}


def test_a_bundle_that_lies_is_kept_apart(clone, tmp_path):
    clone.does(
        look=a_list(a_repository("10110"), ("end",)) + "; exit",
        files="exit 3",
        staged="printf -- '--- a/../../etc/x\\n+++ b/../../etc/x\\n@@ -0,0 +1 @@\\n+owned\\n'; exit",
        unstaged="printf 'no patch at all\\n'; exit",
        commits=f"printf '# v2 git bundle\\n{HEAD} refs/heads/main\\n\\nPACK\\0\\0\\0\\2\\0\\0\\0\\0'; exit",
    )
    result = clone.rescue()
    assert result.outcome is Outcome.PARTLY
    assert {part.state for part in result.parts} == {PartState.BAD}
    assert {path.name for path in everything_below(result.directory)} == {
        "manifest.json", "repository-1", "staged.patch.bad", "unstaged.patch.bad", "commits.bundle.bad"
    }  # fmt: skip
    clone.manifest(result)


def test_an_archive_that_leads_out_stays_inside(clone, tmp_path):
    there = tmp_path / "evil"
    there.mkdir()
    (there / "x").write_text("owned\n")
    evil = f"tar -cPf - -C {there} --transform 's,^x,../../../../escaped,' x"
    clone.does(look=a_list(("tree", "/nowhere"), ("end",)) + "; exit", tree=f"{evil}; exit")
    result = clone.rescue()
    (part,) = result.parts
    assert (result.outcome, part.state, part.name) == (Outcome.PARTLY, PartState.BAD, "artifacts-1.tar")
    assert "not a path below the directory" in result.details[0]
    assert not list(tmp_path.rglob("escaped"))


@pytest.mark.parametrize("form", ["gnu", "pax"])
def test_a_sparse_file_of_a_tebibyte_does_not_swell_here(clone, tmp_path, form):
    (tmp_path / "bomb").mkdir()
    with (tmp_path / "bomb/x").open("wb") as file:
        file.truncate(1 << 40)
    bomb = f"tar -c --sparse --format={form} -f - -C {tmp_path}/bomb x"
    clone.does(look=a_list(("tree", "/nowhere"), ("end",)) + "; exit", tree=f"{bomb}; exit")
    result = clone.rescue()
    (part,) = result.parts
    assert (result.outcome, part.state) == (Outcome.PARTLY, PartState.BAD)
    assert sum(path.stat().st_size for path in result.directory.rglob("*") if path.is_file()) < 100_000


def test_an_archive_that_is_none_is_kept_as_it_came(clone):
    clone.does(look=a_list(("tree", "/nowhere"), ("end",)) + "; exit", tree="head -c 100000 /dev/urandom; exit")
    result = clone.rescue()
    (part,) = result.parts
    assert (part.state, part.name) == (PartState.BAD, "artifacts-1.tar.bad")
    assert (result.directory / "artifacts-1.tar.bad").stat().st_size == 100_000


def test_a_file_that_is_too_large_stays_and_is_named(server, tmp_path):
    clone = a_clone(server, tmp_path, largest_file="1M")
    where = clone.repository()
    (where / "core dump").write_bytes(bytes(2 << 20))
    (where / "small").write_text("small\n")
    result = clone.rescue()
    assert result.outcome is Outcome.PARTLY
    (left,) = [part for part in result.parts if part.state is PartState.LEFT]
    assert left.origin.endswith("app: ./core dump")
    assert left.detail == "over 1 MiB"
    assert [path.name for path in (result.directory / "repository-1/files").iterdir()] == ["small"]


def test_root_unpacks_nothing_and_lets_nobody_run_git(server, tmp_path, monkeypatch):
    clone = a_clone(server, tmp_path, is_root=True)
    where = clone.repository(remote=False)
    (where / "main.c").write_text("changed\n")
    # Where nobody may go, whatever the rights of the directories of tests.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        users, program = Path(name) / "users", Path(name) / "git"
        users.touch()
        users.chmod(0o666)
        program.write_text(f'#!/bin/sh\nid -u >>{users}\nexec /usr/bin/git "$@"\n')
        for path in (program, program.parent):
            path.chmod(0o755)
        monkeypatch.setenv("PATH", f"{name}:{os.environ['PATH']}")
        result = clone.rescue()
        asked = set(users.read_text().split())
    # Somebody who only says to be root cannot give files to nobody, and so nothing is looked through.
    checked = PartState.SOUND if os.geteuid() == 0 else PartState.KEPT
    assert result.outcome is (Outcome.RESCUED if checked is PartState.SOUND else Outcome.PARTLY)
    assert {part.name: part.state for part in clone.manifest(result).parts} == {
        "repository-1/unstaged.patch": checked,
        "repository-1/files.tar": PartState.KEPT,
        "repository-1/commits.bundle": checked,
    }
    assert asked == ({"65534"} if os.geteuid() == 0 else set())
