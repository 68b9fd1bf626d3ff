"""Work pulled out of a guest by a real sshd, git and tar, and applied by git on this side as docs/rescue.md says."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from host.ssh.rescued import PLAIN, Clone, a_clone, git
from moltfleet.model.rescue import Outcome, PartState


@pytest.fixture
def clone(server, tmp_path: Path) -> Clone:
    return a_clone(server, tmp_path)


def test_a_guest_without_work_has_nothing_to_rescue(clone):
    clone.repository()
    result = clone.rescue()
    assert (result.outcome, result.directory, result.details, result.error) == (Outcome.NOTHING, None, (), None)
    assert list(clone.kept.glob("*/*")) == []


def test_uncommitted_work_is_applied_to_a_fresh_clone_of_the_remote(clone, tmp_path):
    where = clone.repository()
    (where / "main.c").write_text("one\n2\nthree\n")
    (where / "staged.bin").write_bytes(bytes(range(256)))
    git(where, "add", "main.c", "staged.bin")
    (where / "main.c").write_text("one\n2\nthree\nfour\n")
    (where / "new file\nof two lines").write_text("new\n")
    (where / "run.sh").write_text("#!/bin/sh\n")
    (where / "run.sh").chmod(0o755)
    (where / "ignored.o").write_text("object\n")

    result = clone.rescue()

    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    manifest = clone.manifest(result)
    assert [(p.kind, p.name, p.state) for p in manifest.parts] == [
        ("staged", "repository-1/staged.patch", PartState.SOUND),
        ("unstaged", "repository-1/unstaged.patch", PartState.SOUND),
        ("files", "repository-1/files", PartState.SOUND),
    ]
    (repository,) = manifest.repositories
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "--quiet", repository.remote, str(fresh))
    git(fresh, "checkout", "--quiet", repository.head)
    git(fresh, "apply", "--index", str(result.directory / "repository-1/staged.patch"))
    git(fresh, "apply", str(result.directory / "repository-1/unstaged.patch"))
    assert git(fresh, "diff", "--cached", "--binary") == git(where, "diff", "--cached", "--binary")
    assert git(fresh, "diff") == git(where, "diff")
    files = result.directory / "repository-1/files"
    kept = {path.name: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    assert kept == {
        "main.c": b"one\n2\nthree\nfour\n",
        "staged.bin": bytes(range(256)),
        "moltfleet-renamed-1": b"new\n",
        "run.sh": b"#!/bin/sh\n",
    }
    assert [(r.name, r.origin) for r in manifest.renamed] == [
        ("repository-1/files/moltfleet-renamed-1", "new file?of two lines")
    ]


def test_unpushed_commits_and_stashes_come_as_a_bundle_that_git_fetches(clone, tmp_path):
    where = clone.repository()
    git(where, "checkout", "--quiet", "-b", "topic")
    (where / "main.c").write_text("one\n")
    git(where, "commit", "--quiet", "-am", "second")
    git(where, "tag", "-a", "-m", "a tag", "v2")
    for text in ("a stash\n", "another\n"):
        (where / "main.c").write_text(text)
        (where / "beside").write_text(text)
        git(where, "stash", "push", "--quiet", "--include-untracked")
    git(where, "checkout", "--quiet", "--detach")
    (where / "main.c").write_text("detached\n")
    git(where, "commit", "--quiet", "-am", "on no branch")

    result = clone.rescue()

    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    (part,) = clone.manifest(result).parts
    assert (part.kind, part.state) == ("commits", PartState.SOUND)
    assert part.detail.endswith("it stands on 1 commit(s) of the remote")
    (repository,) = clone.manifest(result).repositories
    assert (repository.head, repository.commits, repository.stashes) == (git(where, "rev-parse", "HEAD"), 2, 2)
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "--quiet", repository.remote, str(fresh))
    bundle = result.directory / "repository-1/commits.bundle"
    git(fresh, "bundle", "verify", "--quiet", str(bundle))
    git(fresh, "fetch", "--quiet", str(bundle), "refs/*:refs/rescued/*")
    assert git(fresh, "show", "refs/rescued/rescue/HEAD:main.c") == "detached"
    assert git(fresh, "rev-parse", "rescued/heads/topic^{tree}") == git(where, "rev-parse", "topic^{tree}")
    assert git(fresh, "cat-file", "-t", "refs/rescued/tags/v2") == "tag"
    git(fresh, "checkout", "--quiet", "refs/rescued/rescue/HEAD~1")
    git(fresh, "stash", "apply", "--quiet", "refs/rescued/rescue/stash/1")
    assert (fresh / "main.c").read_text() == (fresh / "beside").read_text() == "a stash\n"


def test_a_repository_without_a_remote_comes_whole_and_its_patches_are_proven(clone, tmp_path):
    where = clone.repository(remote=False)
    (where / "main.c").write_text("changed\n")
    git(where, "add", "main.c")
    (where / "main.c").write_text("changed again\n")

    result = clone.rescue()

    details = {part.kind: part.detail for part in clone.manifest(result).parts}
    assert details["commits"] == "1 commit(s) in 3 ref(s); it stands alone"
    assert details["staged"] == details["unstaged"] == "1 file(s); applies"
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "--quiet", str(result.directory / "repository-1/commits.bundle"), str(fresh))
    git(fresh, "apply", "--index", str(result.directory / "repository-1/staged.patch"))
    git(fresh, "apply", str(result.directory / "repository-1/unstaged.patch"))
    assert (fresh / "main.c").read_text() == "changed again\n"


def test_a_repository_before_its_first_commit_is_rescued(clone):
    where = clone.home / "work/repos/new"
    where.mkdir(parents=True)
    git(where, "init", "--quiet")
    (where / "first").write_text("first\n")
    git(where, "add", "first")

    result = clone.rescue()

    details = {part.kind: (part.state, part.detail) for part in clone.manifest(result).parts}
    assert details["staged"] == (PartState.SOUND, "1 file(s); applies")
    assert (result.directory / "repository-1/files/first").read_text() == "first\n"


def test_a_merge_that_is_not_finished_is_rescued_as_well(clone):
    where = clone.repository(remote=False)
    git(where, "checkout", "--quiet", "-b", "other")
    (where / "main.c").write_text("theirs\n")
    git(where, "commit", "--quiet", "-am", "theirs")
    git(where, "checkout", "--quiet", "main")
    (where / "main.c").write_text("ours\n")
    git(where, "commit", "--quiet", "-am", "ours")
    with pytest.raises(subprocess.CalledProcessError):
        git(where, "merge", "other")
    (where / "beside").write_text("staged\n")
    git(where, "add", "beside")

    result = clone.rescue()

    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    assert {part.kind: part.detail for part in result.parts if part.kind != "files"} == {
        "staged": "1 file(s); applies",
        "unstaged": "1 file(s); applies",
        "commits": "3 commit(s) in 4 ref(s); it stands alone",
    }
    assert "<<<<<<<" in (result.directory / "repository-1/files/main.c").read_text()


def test_worktrees_submodules_and_bare_repositories_are_repositories_too(clone):
    where = clone.repository("app", remote=False)
    git(where, "worktree", "add", "--quiet", "../beside", "-b", "beside")
    (where.parent / "beside/main.c").write_text("in a worktree\n")
    git(where.parent / "beside", "commit", "--quiet", "-am", "in the worktree")
    git(where, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(where), "inner")
    (where / "inner/main.c").write_text("in a submodule\n")
    git(where.parent, "clone", "--quiet", "--bare", str(where), "bare.git")
    git(where.parent / "bare.git", "remote", "remove", "origin")

    result = clone.rescue()

    manifest = clone.manifest(result)
    assert result.outcome is Outcome.RESCUED
    names = {Path(repository.path).name for repository in manifest.repositories}
    assert names == {"app", "beside", "inner", "bare.git"}
    assert "in a submodule\n" in {path.read_text() for path in result.directory.glob("repository-*/files/main.c")}


def test_artifacts_and_screens_come_along(clone, tmp_path):
    artifacts = clone.home / "work/artifacts"
    (artifacts / "report/figures").mkdir(parents=True)
    (artifacts / "report/figures/one.svg").write_text("<svg/>")
    (artifacts / "report/latest").symlink_to("figures")
    environment = {"PATH": "/usr/bin:/bin", "TMUX_TMPDIR": str(clone.home), "TERM": "xterm", "LC_ALL": "C.UTF-8"}
    tmux = ["tmux", "-f", "/dev/null", "-L", "agent"]
    subprocess.run([*tmux, "new-session", "-d", "-s", "work", "echo what the agent said; sleep 60"], env=environment)
    try:
        result = clone.rescue()
    finally:
        subprocess.run([*tmux, "kill-server"], env=environment)

    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    assert (result.directory / "artifacts-1/report/figures/one.svg").read_text() == "<svg/>"
    assert "artifacts-1: report/latest: a link to figures" in clone.manifest(result).details
    assert "what the agent said" in (result.directory / "screen-1.txt").read_text()
    assert not list(result.directory.rglob("latest"))


def test_everything_is_private_to_its_user(clone):
    where = clone.repository(remote=False)
    (where / "secret").write_text("x")
    result = clone.rescue()
    modes = {oct(path.stat().st_mode & 0o077) for path in (clone.kept, *clone.kept.rglob("*")) if path.is_dir()}
    assert modes == {"0o0"}
    assert oct((result.directory / "manifest.json").stat().st_mode & 0o777) == "0o600"


def test_what_the_documentation_says_to_do_is_done(clone, tmp_path):
    """The commands of docs/rescue.md, in a shell, on a rescue that has all of it."""
    where = clone.repository()
    for text in ("stashed\n", "committed\n", "staged\n", "unstaged\n"):
        (where / "main.c").write_text(text)
        if text == "stashed\n":
            git(where, "stash", "push", "--quiet")
        elif text == "committed\n":
            git(where, "commit", "--quiet", "-am", "not pushed")
        elif text == "staged\n":
            git(where, "add", "main.c")
    (where / "new").write_text("new\n")
    result = clone.rescue()
    (repository,) = clone.manifest(result).repositories

    page = (Path(__file__).parents[3] / "docs/rescue.md").read_text()
    commands = page.partition("## Going on with it")[2].split("```")[1]
    for theirs, ours in (
        ("https://example.org/app.git", repository.remote),
        ("~/.local/share/moltfleet/rescued/base-1/20261121T031500Z", str(result.directory)),
        ("2d7733727cb8", repository.head[:12]),
    ):
        assert theirs in commands
        commands = commands.replace(theirs, ours)
    *before, stash = [line for line in commands.splitlines() if line]
    assert stash.startswith("git stash apply")
    script = "\n".join(["set -e", *before])
    subprocess.run(["sh", "-c", script], cwd=tmp_path, env=PLAIN, check=True, capture_output=True)
    app = tmp_path / "app"
    assert git(app, "status", "--porcelain") == git(where, "status", "--porcelain") == "MM main.c\n?? new"
    assert (app / "main.c").read_text() == "unstaged\n"
    assert git(app, "show", ":main.c") == "staged"
    assert git(app, "show", "HEAD:main.c") == "committed"
    git(app, "checkout", "--quiet", "--force", "HEAD~1")
    subprocess.run(["sh", "-c", stash], cwd=app, env=PLAIN, check=True, capture_output=True)
    assert (app / "main.c").read_text() == "stashed\n"


def test_what_is_on_another_branch_only_is_fetched_in_the_same_way(clone, tmp_path):
    where = clone.repository()
    git(where, "checkout", "--quiet", "-b", "topic")
    git(where, "commit", "--quiet", "--allow-empty", "-m", "aside")
    git(where, "checkout", "--quiet", "main")
    result = clone.rescue()
    (repository,) = clone.manifest(result).repositories
    fresh = tmp_path / "fresh"
    git(tmp_path, "clone", "--quiet", repository.remote, str(fresh))
    git(fresh, "fetch", "--quiet", str(result.directory / "repository-1/commits.bundle"), "refs/*:refs/rescued/*")
    assert git(fresh, "rev-parse", "refs/rescued/heads/topic") == git(where, "rev-parse", "topic")
    git(fresh, "checkout", "--quiet", repository.head)


def test_a_rescue_that_is_killed_leaves_nothing_that_counts(clone):
    where = clone.repository()
    (where / "main.c").write_text("changed\n")
    clone.does(unstaged="echo part of a patch; sleep 20; exit")
    child = os.fork()
    if child == 0:
        clone.rescue()
        os._exit(0)
    deadline = time.monotonic() + 60
    while not list(clone.kept.glob("crab-1/*.unfinished/repository-1/*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert clone.fleet.rescues.saved() == ()
    clone.bootstrap.before = ""
    result = clone.rescue()
    assert (result.outcome, result.error) == (Outcome.RESCUED, None)
    assert [saved.directory for saved in clone.fleet.rescues.saved()] == [result.directory]
