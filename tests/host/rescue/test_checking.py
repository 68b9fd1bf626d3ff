"""Real git, looking through what guests may send as bundles and patches; none of it is believed, none of it is run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import zlib
from pathlib import Path

import pytest

from host.ssh.rescued import PLAIN, git
from moltfleet.adapters.rescue import gitbox
from moltfleet.adapters.rescue.checking import check_repository
from moltfleet.model.rescue import Check, GitParts, PartState

BUNDLE, STAGED, UNSTAGED = "commits.bundle", "staged.patch", "unstaged.patch"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    path = tmp_path / "place"
    path.mkdir()
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two commits of a file, on branch main."""
    where = tmp_path / "source"
    where.mkdir()
    git(where, "init", "--quiet")
    for text in ("one\n", "two\n"):
        (where / "f").write_text(text)
        git(where, "add", "f")
        git(where, "commit", "--quiet", "-m", text)
    return where


def bundled(source: Path, place: Path, *revisions: str) -> bytes:
    git(source, "bundle", "create", "--quiet", str(place / BUNDLE), *revisions)
    return (place / BUNDLE).read_bytes()


def checked(place: Path, *, head: str = "") -> dict[str, Check]:
    names = {name: name if (place / name).exists() else "" for name in (BUNDLE, STAGED, UNSTAGED)}
    parts = GitParts(head, names[BUNDLE], names[STAGED], names[UNSTAGED])
    found = dict(check_repository(place, parts, is_root=False))
    assert [path for path in place.iterdir() if path.name.startswith(".")] == [], "the box is thrown away"
    assert all(check.detail.isprintable() for check in found.values())
    return found


def test_a_whole_bundle_stands_alone(place: Path, source: Path) -> None:
    bundled(source, place, "main")
    assert checked(place)[BUNDLE] == Check(PartState.SOUND, "2 commit(s) in 1 ref(s); it stands alone")


def test_a_bundle_on_a_commit_of_the_remote_says_so(place: Path, source: Path) -> None:
    # git's own would be packed against what is not here, so the guest packs it by itself.
    base = git(source, "rev-parse", "main~1")
    tip = git(source, "rev-parse", "main")
    wanted = f"{tip}\n^{base}\n".encode()
    pack = subprocess.run(
        ["git", "-C", str(source), "pack-objects", "--revs", "--stdout", "-q"], input=wanted, capture_output=True,
        check=True, env=PLAIN,
    ).stdout  # fmt: skip
    head = f"# v2 git bundle\n-{base}\n{tip} refs/heads/main\n\n".encode()
    (place / BUNDLE).write_bytes(head + pack)
    detail = "1 commit(s) in 1 ref(s); it stands on 1 commit(s) of the remote"
    assert checked(place)[BUNDLE] == Check(PartState.SOUND, detail)
    (place / BUNDLE).write_bytes(head.replace(f"-{base}\n".encode(), b"") + pack)
    assert checked(place)[BUNDLE] == Check(PartState.BAD, "commits are missing that it does not ask for")


def test_a_repository_of_longer_names_is_looked_through(place: Path, tmp_path: Path) -> None:
    where = tmp_path / "sha256"
    where.mkdir()
    git(where, "init", "--quiet", "--object-format=sha256")
    git(where, "commit", "--quiet", "--allow-empty", "-m", "x")
    bundled(where, place, "main")
    assert checked(place)[BUNDLE].state is PartState.SOUND


def test_a_bundle_that_is_cut_off_or_damaged_is_bad(place: Path, source: Path) -> None:
    whole = bundled(source, place, "main")
    damaged = bytearray(whole)
    damaged[-40] ^= 0xFF
    for content in (whole[:-30], whole[:-1], bytes(damaged), whole + b"more", whole[:200]):
        (place / BUNDLE).write_bytes(content)
        assert checked(place)[BUNDLE].state is PartState.BAD


def test_a_ref_that_is_not_in_the_pack_is_a_lie(place: Path, source: Path) -> None:
    whole = bundled(source, place, "main")
    tip = git(source, "rev-parse", "main").encode()
    (place / BUNDLE).write_bytes(whole.replace(tip, b"1" * 40, 1))
    assert checked(place)[BUNDLE] == Check(PartState.BAD, "refs/heads/main is not in it")
    blob = git(source, "rev-parse", "main:f").encode()
    (place / BUNDLE).write_bytes(whole.replace(tip, blob, 1))
    assert checked(place)[BUNDLE] == Check(PartState.BAD, "refs/heads/main is not in it")


def packed(*objects: tuple[int, bytes]) -> bytes:
    """A pack of whole objects, of 1 (commit), 2 (tree) and 3 (blob)."""
    pack = b"PACK" + (2).to_bytes(4, "big") + len(objects).to_bytes(4, "big")
    for kind, content in objects:
        size, first = len(content) >> 4, kind << 4 | len(content) & 15
        while size:
            pack += bytes([first | 0x80])
            first, size = size & 0x7F, size >> 7
        pack += bytes([first]) + zlib.compress(content)
    return pack + hashlib.sha1(pack).digest()


def named(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def a_bundle_of_tree(tree: bytes, *others: tuple[int, bytes]) -> bytes:
    who = b"crab <crab@example.org> 1795000000 +0000"
    commit = f"tree {named('tree', tree)}\n".encode() + b"author " + who + b"\ncommitter " + who + b"\n\nx\n"
    head = f"# v2 git bundle\n{named('commit', commit)} refs/heads/main\n\n".encode()
    return head + packed((1, commit), (2, tree), *others)


def test_a_tree_with_a_repository_of_its_own_in_it_is_bad(place: Path) -> None:
    blob = b"[core]\n\tfsmonitor = touch /tmp/owned\n"
    entry = bytes.fromhex(named("blob", blob))
    for name in (b".git", b".GIT", b"..", b"a/b"):
        tree = b"100644 " + name + b"\0" + entry
        (place / BUNDLE).write_bytes(a_bundle_of_tree(tree, (3, blob)))
        assert checked(place)[BUNDLE].state is PartState.BAD, name


def test_a_tree_whose_files_are_not_there_is_not_whole(place: Path) -> None:
    (place / BUNDLE).write_bytes(a_bundle_of_tree(b"100644 f\0" + b"\x11" * 20))
    check = checked(place)[BUNDLE]
    assert check.state is PartState.BAD
    assert check.detail.startswith("it is not whole")


def test_an_object_that_swells_ends_git_and_not_this_machine(place: Path) -> None:
    # 64 MiB of zeros in 64 KiB.
    blob = bytes(64 << 20)
    tree = b"100644 f\0" + bytes.fromhex(named("blob", blob))
    (place / BUNDLE).write_bytes(a_bundle_of_tree(tree, (3, blob)))
    assert (place / BUNDLE).stat().st_size < 1 << 18
    assert checked(place)[BUNDLE].state in (PartState.SOUND, PartState.BAD)


def test_patches_are_applied_where_their_commit_is_here(place: Path, source: Path) -> None:
    bundled(source, place, "main")
    (source / "f").write_text("three\n")
    (source / "new").write_bytes(b"\0binary\xff")
    git(source, "add", ".")
    staged = git(source, "diff", "--cached", "--binary", "--full-index") + "\n\n"
    (source / "f").write_text("four\n")
    unstaged = git(source, "diff", "--binary", "--full-index") + "\n"
    (place / STAGED).write_text(staged)
    (place / UNSTAGED).write_text(unstaged)
    head = git(source, "rev-parse", "main")
    found = checked(place, head=head)
    assert (found[STAGED], found[UNSTAGED]) == (
        Check(PartState.SOUND, "2 file(s); applies"),
        Check(PartState.SOUND, "1 file(s); applies"),
    )
    (place / UNSTAGED).write_text(unstaged.replace("-three", "-thirty"))
    assert checked(place, head=head)[UNSTAGED].state is PartState.BAD
    (place / BUNDLE).unlink()
    detail = "1 file(s); reads as a patch, and needs files of the remote"
    assert checked(place, head=head)[UNSTAGED] == Check(PartState.SOUND, detail)


@pytest.mark.parametrize(
    "path", ["../../etc/cron.d/x", "/etc/cron.d/x", ".git/hooks/pre-commit", "sub/.GIT/config", "a/../../x"]
)
def test_a_patch_that_leads_out_is_bad(place: Path, path: str) -> None:
    (place / STAGED).write_text(f"--- /dev/null\n+++ b/{path}\n@@ -0,0 +1 @@\n+owned\n")
    assert checked(place)[STAGED].state is PartState.BAD
    assert checked(place, head="1" * 40)[STAGED].state is PartState.BAD


@pytest.mark.parametrize(
    "content", [b"", b"no patch\n", b"\0" * 1000, b"diff --git a/f b/f\n--- a/f\n+++ b/f\n@@ -1 +1,9 @@\n"]
)
def test_a_patch_that_is_none_is_bad(place: Path, content: bytes) -> None:
    (place / STAGED).write_bytes(content)
    assert checked(place)[STAGED].state is PartState.BAD


def test_settings_of_the_host_and_of_its_user_do_not_count(
    place: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled(source, place, "main")
    marker = tmp_path / "was-run"
    home = tmp_path / "home"
    (home / "hooks").mkdir(parents=True)
    for name in ("reference-transaction", "post-index-change"):
        (home / "hooks" / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (home / "hooks" / name).chmod(0o755)
    settings = f"[core]\n\thooksPath = {home}/hooks\n\tfsmonitor = touch {marker}\n[fsck]\n\tbroken\n= what\n"
    (home / ".gitconfig").write_text(settings)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(home / ".gitconfig"))
    monkeypatch.setenv("GIT_DIR", str(source / ".git"))
    monkeypatch.setenv("GIT_TEMPLATE_DIR", str(home))
    assert checked(place)[BUNDLE].state is PartState.SOUND
    assert not marker.exists()


def test_git_that_does_not_end_is_ended(
    place: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled(source, place, "main")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text("#!/bin/sh\nexec sleep 100\n")
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(gitbox, "_TIMEOUT_S", 0.5)
    check = checked(place)[BUNDLE]
    assert (check.state, check.detail.startswith("not looked through")) == (PartState.KEPT, True)


def test_without_git_nothing_is_looked_through_and_nothing_lost(
    place: Path, source: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundled(source, place, "main")
    for program in ("prlimit", "setpriv"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    monkeypatch.setenv("PATH", str(tmp_path))
    check = checked(place)[BUNDLE]
    assert check.state is PartState.KEPT
    assert check.detail.startswith("not looked through")


def test_git_is_told_to_speak_with_nobody(
    place: Path, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = tmp_path / "seen"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/git").write_text(f'#!/bin/sh\n{{ env; echo "$@"; ulimit -a; }} >>{seen}\nexec /usr/bin/git "$@"\n')
    (tmp_path / "bin/git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("GIT_SSH_COMMAND", "touch /tmp/owned")
    bundled(source, place, "main")
    checked(place)
    said = seen.read_text()
    for expected in ("GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_ALLOW_PROTOCOL=\n",
                     "protocol.allow=never", "core.hooksPath=/dev/null"):  # fmt: skip
        assert expected in said
    assert "GIT_SSH_COMMAND" not in said
