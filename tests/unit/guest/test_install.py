"""moltguest.install: put in, put in again, interrupted at every effect, shown, and taken away without a trace."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moltguest.install import perform, record, status, tree
from moltguest.install.main import main
from moltguest.install.merge import DAEMON, with_parent, with_path

GUEST = Path(__file__).parents[3] / "bootstrap/guest"
HOME = "usr/local/lib/moltfleet"
ENVIRONMENT = 'LANG="C.UTF-8"\n'
DOCKER = '{"log-driver": "json-file"}\n'


class Interrupted(BaseException):
    """The power goes."""


@pytest.fixture(autouse=True)
def untried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trying a tree runs a program; one test does."""
    monkeypatch.setattr(perform, "why_it_fails", lambda top, live: "")


@pytest.fixture
def guest(tmp_path: Path) -> Path:
    """A guest with files of others."""
    root = tmp_path / "guest"
    for name, text in {
        "etc/environment": ENVIRONMENT,
        "etc/docker/daemon.json": DOCKER,
        "etc/passwd": "root:x:0:0::/root:/bin/sh\nagent:x:1000:1::/home/agent:/bin/sh\nd:x:1001:1::/:/bin/false\n",
        "usr/bin/codex": "somebody's\n",
        "usr/local/bin/moltfleet-limits": "somebody's, too\n",
        "usr/local/lib/moltfleet/step": "#!/bin/sh\n",
        "var/lib/systemd/linger/other": "",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "etc/systemd/journald.conf.d").mkdir(parents=True)
    return root


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A tree of tools that can be changed."""
    folder = tmp_path / "source"
    shutil.copytree(GUEST, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def everything(root: Path) -> dict[str, tuple[str, bytes]]:
    """Every file, link and directory, with modes and contents."""
    found = {}
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        content = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes() if path.is_file() else b""
        found[name] = oct(path.lstat().st_mode), content
    return found


def shown(root: Path) -> dict[str, object]:
    return status.document(str(root), record.read_record(str(root)))


def is_whole(root: Path, version: str) -> bool:
    found = shown(root)
    return (found["version"], found["changed"], found["missing"]) == (version, [], [])


def test_a_guest_gets_a_version_and_says_that_it_is_whole(guest: Path, source: Path) -> None:
    assert perform.install(str(source), "1.0", str(guest)) == []

    assert is_whole(guest, "1.0")
    assert (guest / HOME / "current").readlink() == Path("1.0")
    assert (guest / HOME / "version").read_text() == "1.0\n"
    assert (guest / "usr/local/bin/vm-health-check").readlink() == Path(f"/{HOME}/current/bin/vm-health-check")
    assert (guest / HOME / "1.0/bin/moltfleet-watchdog").stat().st_mode & 0o777 == 0o755
    assert (guest / HOME / "1.0/moltguest/forecast.py").is_file()
    assert not (guest / HOME / "1.0/moltguest/forecast.py").is_symlink()
    wanted = guest / "etc/systemd/system/multi-user.target.wants/moltfleet-watchdog.service"
    assert wanted.readlink() == Path("/usr/local/lib/systemd/system/moltfleet-watchdog.service")
    assert (guest / "etc/systemd/system/claude-watchdog.service").is_symlink()


def test_a_second_installation_changes_nothing(guest: Path, source: Path) -> None:
    perform.install(str(source), "1.0", str(guest))
    before = everything(guest)
    perform.install(str(source), "1.0", str(guest))

    assert everything(guest) == before


def test_removing_leaves_what_was_there(guest: Path, source: Path) -> None:
    before = everything(guest)
    perform.install(str(source), "1.0", str(guest))
    (source / "units/extra.slice").write_text("[Slice]\n")
    perform.install(str(source), "1.1", str(guest))
    assert (guest / "usr/local/bin/moltfleet-limits").is_symlink()

    assert perform.remove(str(guest)) == []
    assert everything(guest) == before


def test_people_who_change_merged_files_keep_their_words(guest: Path, source: Path) -> None:
    perform.install(str(source), "1.0", str(guest))
    (guest / DAEMON).write_text('{"cgroup-parent": "docker.slice", "debug": true}')
    with (guest / "etc/environment").open("a") as file:
        file.write("MINE=1\n")
    perform.remove(str(guest))

    assert json.loads((guest / DAEMON).read_text()) == {"debug": True}
    assert (guest / "etc/environment").read_text() == ENVIRONMENT + "MINE=1\n"


def test_a_newer_version_takes_over_and_one_older_stays(guest: Path, source: Path) -> None:
    for version in ("1.0", "1.1", "1.2"):
        (source / "units" / f"v{version}.slice").write_text("[Slice]\n[Install]\nWantedBy=slices.target\n")
        for other in source.glob("units/v*.slice"):
            if other.name != f"v{version}.slice":
                other.unlink()
        perform.install(str(source), version, str(guest))

    assert is_whole(guest, "1.2")
    assert sorted(path.name for path in (guest / HOME).iterdir() if path.is_dir() and not path.is_symlink()) == [
        "1.1",
        "1.2",
        "saved",
    ]
    units = guest / "usr/local/lib/systemd/system"
    assert [path.name for path in units.glob("v*.slice")] == ["v1.2.slice"]
    links = guest / "etc/systemd/system/slices.target.wants"
    assert [path.name for path in links.glob("v*")] == ["v1.2.slice"]


def test_the_same_version_with_another_content_takes_over(guest: Path, source: Path) -> None:
    perform.install(str(source), "1.0", str(guest))
    (source / "bin/moltfleet-limits").write_text("#!/bin/sh\n")
    perform.install(str(source), "1.0", str(guest))

    assert is_whole(guest, "1.0")
    assert (guest / HOME / "1.0/bin/moltfleet-limits").read_text() == "#!/bin/sh\n"


def test_an_agents_own_program_is_never_replaced(guest: Path, source: Path) -> None:
    perform.install(str(source), "1.0", str(guest))

    assert (guest / "usr/bin/codex").read_text() == "somebody's\n"


def test_a_tree_that_does_not_work_changes_nothing(guest: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    perform.install(str(source), "1.0", str(guest))
    before = everything(guest)
    monkeypatch.setattr(perform, "why_it_fails", lambda top, live: "No module named 'tomorrow'")

    with pytest.raises(perform.Failed, match=r"version 2\.0 does not work here: No module named 'tomorrow'"):
        perform.install(str(source), "2.0", str(guest))
    assert everything(guest) == before


@pytest.mark.allow("subprocess")
def test_a_tree_is_tried_before_it_counts(source: Path) -> None:
    assert tree.why_it_fails(str(source), live=False) == ""
    (source / "moltguest/broken.py").write_text("import moltguest.nowhere\n")
    assert "nowhere" in tree.why_it_fails(str(source), live=False)
    (source / "moltguest/broken.py").write_text("def (:\n")
    assert "SyntaxError" in tree.why_it_fails(str(source), live=False)


EFFECTS = ("open", "os.replace", "os.rename", "os.unlink", "os.symlink", "os.mkdir", "shutil.rmtree", "shutil.copyfile")


class PowerFailure:
    """Ends everything at the n-th effect on files."""

    def __init__(self) -> None:
        self.left: int | None = None
        self.seen = 0
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.left is None or event not in EFFECTS:
            return
        if event == "open" and not int(str(arguments[2] or 0)) & (os.O_WRONLY | os.O_RDWR):
            return
        self.seen += 1
        if self.seen > self.left:
            raise Interrupted


@pytest.fixture(scope="module")
def power() -> Iterator[PowerFailure]:
    """There is no way to take an audit hook off."""
    failure = PowerFailure()
    yield failure
    failure.left = None


def small(source: Path) -> None:
    """Fewer effects to interrupt: trees are copied as files of any kind are."""
    for path in (source / "moltguest").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in ("__init__.py", "limits.py"):
            path.unlink()


def interrupted(power: PowerFailure, act: object, after: int) -> bool:
    """Do something with so many effects, and say whether it was cut off."""
    power.seen, power.left = 0, after
    try:
        act()  # type: ignore[operator]
    except Interrupted:
        return True
    finally:
        power.left = None
    return False


def test_an_installation_cut_off_anywhere_leaves_a_version_that_works_and_can_be_completed(
    guest: Path, source: Path, power: PowerFailure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree.compileall, "compile_dir", lambda *words, **named: True)
    small(source)
    before = everything(guest)
    perform.install(str(source), "1.0", str(guest))
    (source / "units/new.slice").write_text("[Slice]\n")
    (source / "bin/moltfleet-limits").write_text("#!/bin/sh\n")
    cut = 0
    while True:
        tried = tmp_path / "tried"
        shutil.rmtree(tried, ignore_errors=True)
        shutil.copytree(guest, tried, symlinks=True)
        if not interrupted(power, lambda: perform.install(str(source), "1.1", str(tried)), cut):  # noqa: B023
            break
        version = (tried / HOME / "current").readlink().name
        assert version in ("1.0", "1.1")
        assert (tried / HOME / version / "bin/moltfleet-watchdog").read_bytes() == (
            GUEST / "bin/moltfleet-watchdog"
        ).read_bytes()
        if cut % 3 == 0:
            perform.remove(str(tried))
            assert everything(tried) == before, cut
        else:
            perform.install(str(source), "1.1", str(tried))
            assert is_whole(tried, "1.1"), cut
        cut += 1
    assert cut > 30


def test_a_removal_cut_off_anywhere_is_completed_by_the_next(
    guest: Path, source: Path, power: PowerFailure, tmp_path: Path
) -> None:
    small(source)
    before = everything(guest)
    perform.install(str(source), "1.0", str(guest))
    cut = 0
    while True:
        tried = tmp_path / "tried"
        shutil.rmtree(tried, ignore_errors=True)
        shutil.copytree(guest, tried, symlinks=True)
        if not interrupted(power, lambda: perform.remove(str(tried)), cut):  # noqa: B023
            break
        perform.remove(str(tried))
        assert everything(tried) == before, cut
        cut += 1
    assert cut > 10


class StubbornSystem(perform.System):
    """A guest whose service manager starts no watchdog any more."""

    def __init__(self, root: str) -> None:
        super().__init__(root)
        self.is_live = True

    def run(self, *argv: str) -> tuple[int, str]:
        return 0, ""

    def do(self, *argv: str) -> bool:
        if argv == ("systemctl", "restart", "moltfleet-watchdog.service"):
            self.problems.append("it did not start")
            return False
        return True

    def is_active(self, unit: str) -> bool:
        return True


def test_a_version_whose_watchdog_does_not_start_is_taken_back(
    guest: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    perform.install(str(source), "1.0", str(guest))
    before = everything(guest)
    unit = source / "units/moltfleet-watchdog.service"
    unit.write_text(unit.read_text().replace("/usr/local/sbin/", "/nowhere/"))
    (source / "units/new.slice").write_text("[Slice]\n")
    with monkeypatch.context() as stubborn:
        stubborn.setattr(perform, "System", StubbornSystem)
        with pytest.raises(perform.Failed, match=r"moltfleet-watchdog\.service does not start: it did not start"):
            perform.install(str(source), "1.1", str(guest))

    assert is_whole(guest, "1.0")
    after = everything(guest)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert {name for name in changed if not name.startswith(f"{HOME}/1.1")} == {f"{HOME}/installed.json"}
    # And what was tried goes with the rest.
    perform.remove(str(guest))
    assert not (guest / HOME / "1.1").exists()


def test_what_was_changed_and_what_is_missing_is_told(guest: Path, source: Path) -> None:
    perform.install(str(source), "1.0", str(guest))
    (guest / "usr/local/lib/systemd/system/moltcritical.slice").write_text("[Slice]\n")
    (guest / "usr/local/bin/vm-health-check").unlink()
    (guest / DAEMON).write_text("{}")
    (guest / HOME / "1.0/moltguest/limits.py").unlink()
    found = shown(guest)

    assert found["missing"] == ["/usr/local/bin/vm-health-check", f"/{HOME}/1.0/moltguest/limits.py"]
    changed = found["changed"]
    assert isinstance(changed, list)
    assert {f"/{DAEMON}", "/usr/local/lib/systemd/system/moltcritical.slice"} <= set(changed)


def test_a_file_added_to_the_tree_is_told(guest: Path, source: Path) -> None:
    perform.install(str(source), "1.0", str(guest))
    (guest / HOME / "1.0/moltguest/added.py").write_text("")

    assert shown(guest)["changed"] == [f"/{HOME}/current"]


def test_people_linger_and_are_let_go(guest: Path, source: Path) -> None:
    perform.install(str(source), "1.0", str(guest))
    folder = guest / "var/lib/systemd/linger"
    assert sorted(path.name for path in folder.iterdir()) == ["agent", "other"]

    perform.remove(str(guest))
    assert [path.name for path in folder.iterdir()] == ["other"]


def test_an_unreadable_docker_file_is_left_alone_and_said(guest: Path, source: Path) -> None:
    (guest / DAEMON).write_text("{")
    (problem,) = perform.install(str(source), "1.0", str(guest))

    assert problem.startswith(f"/{DAEMON} cannot be read, and is left as it is")
    assert (guest / DAEMON).read_text() == "{"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", 'PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/games:/usr/games"\n'),
        ("PATH=/opt/bin:/usr/bin\nA=1\n", 'PATH="/usr/local/sbin:/opt/bin:/usr/bin"\nA=1\n'),
        ("PATH=/bin:/usr/local/sbin\n", 'PATH="/usr/local/sbin:/bin"\n'),
        ('PATH="/usr/local/sbin:/bin"\n', 'PATH="/usr/local/sbin:/bin"\n'),
        ("MANPATH=/x\n# PATH=/y", None),
    ],
)
def test_the_administrators_places_come_first_on_the_path(before: str, after: str | None) -> None:
    found = with_path(before)
    assert found == after if after else found.startswith(before + "\nPATH=")
    assert with_path(found) == found


def test_whoever_has_put_containers_elsewhere_is_let_be() -> None:
    text = '{"cgroup-parent":"mine.slice"}'
    assert with_parent(text) == text
    assert json.loads(with_parent('{"a": 1}')) == {"a": 1, "cgroup-parent": "docker.slice"}


def test_the_program_shows_puts_in_and_takes_away(
    guest: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tree.compileall, "compile_dir", lambda *words, **named: True)
    root = ["--root", str(guest)]
    assert main(["status", *root]) == 3
    assert main(["remove", *root]) == 3
    assert main(["install", "--version", "1.0", *root]) == 0
    assert main(["status", *root]) == 0
    assert capsys.readouterr().out == (
        "Nothing is installed\nInstalled 1.0\nVersion 1.0\nEvery file is as it was installed\n"
    )
    assert main(["status", "--json", *root]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "moltfleet.guest-tools/1"
    assert document["installed"]["/usr/local/bin/vm-health-check"] == f"-> /{HOME}/current/bin/vm-health-check"
    assert len(document["sha256"]) == 64
    assert main(["remove", f"--root={guest}"]) == 0


@pytest.mark.parametrize(
    "arguments",
    [[], ["fly"], ["install"], ["install", "--version"], ["install", "--version", "../x"], ["status", "--yaml"]],
)
def test_a_bad_command_line_is_told_how(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert said.startswith("install.py: ") and "usage: install.py install --version VERSION" in said


def test_a_record_that_is_none_is_one_line(guest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (guest / HOME / "installed.json").write_text("[]")
    assert main(["status", "--root", str(guest)]) == 1
    assert capsys.readouterr().err == f"install.py: /{HOME}/installed.json is no record of an installation\n"
