"""The machine behind containment: files in a directory, and what systemd and /proc say."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from moltfleet.adapters.machine import LocalMachine
from moltfleet.model.errors import HostUnavailable, ToolFailed, WrongState
from moltfleet.model.machine import Entry


@pytest.fixture
def machine(tmp_path: Path) -> LocalMachine:
    return LocalMachine(root=tmp_path)


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_a_file_is_written_with_its_directories_and_mode_and_read_back(machine: LocalMachine, tmp_path: Path) -> None:
    assert machine.read("/etc/x/a.conf") is None
    machine.write("/etc/x/a.conf", b"one\n", mode=0o640)
    assert (machine.read("/etc/x/a.conf"), machine.mode("/etc/x/a.conf")) == (b"one\n", 0o640)
    assert names(tmp_path / "etc/x") == ["a.conf"]


@pytest.mark.parametrize("act", ["write", "remove"])
def test_what_a_killed_write_left_beside_a_file_goes_with_the_next_act(
    machine: LocalMachine, tmp_path: Path, act: str
) -> None:
    machine.write("/etc/a.conf", b"one\n", mode=0o644)
    (tmp_path / "etc/.a.conf.x1y2z3w4").write_text("half")
    (tmp_path / "etc/.a.conf.theirs").write_text("whole")
    if act == "write":
        machine.write("/etc/a.conf", b"two\n", mode=0o644)
    else:
        machine.remove("/etc/a.conf")
    assert names(tmp_path / "etc") == [".a.conf.theirs", *(["a.conf"] if act == "write" else [])]


def test_removing_what_is_not_there_is_fine(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine.remove("/etc/none")
    machine.remove("/file/none")
    assert machine.read("/file/none") is None
    assert machine.remove_directory("/none")


def test_missing_directories_are_told_outermost_first(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    assert machine.missing_directories("/etc/a/b/c.conf") == ("/etc/a", "/etc/a/b")


def test_a_directory_that_is_not_empty_stays(machine: LocalMachine) -> None:
    machine.write("/etc/a/b.conf", b"", mode=0o644)
    assert not machine.remove_directory("/etc/a")
    machine.remove("/etc/a/b.conf")
    assert machine.remove_directory("/etc/a")
    assert not machine.exists("/etc/a")


def test_a_link_is_refused(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/dev/null")
    with pytest.raises(WrongState, match="File /link is a symbolic link"):
        machine.write("/link", b"", mode=0o644)


def test_what_cannot_be_written_is_named(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "etc").write_text("no directory")
    with pytest.raises(ToolFailed, match=r"File /etc/a\.conf cannot be written"):
        machine.write("/etc/a.conf", b"", mode=0o644)


def test_what_cannot_be_read_is_named_and_not_taken_for_missing(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    with pytest.raises(HostUnavailable, match="File /etc cannot be read"):
        machine.read("/etc")


def test_a_program_is_found_where_root_keeps_it(machine: LocalMachine, tmp_path: Path) -> None:
    machine.write("/usr/sbin/nft", b"", mode=0o755)
    machine.write("/usr/bin/readme", b"", mode=0o644)
    assert machine.find_program("nft") == "/usr/sbin/nft"
    assert machine.find_program("readme") is None


def add_process(root: Path, pid: int, name: str, cgroup: str) -> None:
    directory = root / "proc" / str(pid)
    directory.mkdir(parents=True)
    (directory / "comm").write_text(name + "\n")
    (directory / "cgroup").write_text(cgroup)
    (directory / "oom_score_adj").write_text("-17\n")


def test_processes_are_found_by_name_with_their_group(machine: LocalMachine, tmp_path: Path) -> None:
    add_process(tmp_path, 30, "qemu-system-x86", "12:memory:/old\n0::/machine.slice/a.scope\n")
    add_process(tmp_path, 4, "qemu-kvm", "12:memory:/old\n")
    add_process(tmp_path, 5, "qemu-ga", "0::/\n")
    (tmp_path / "proc/6").mkdir()
    found = [(p.pid, p.name, p.cgroup, p.oom_score_adj) for p in machine.processes("qemu-system", "qemu-kvm")]
    assert found == [(4, "qemu-kvm", "/", -17), (30, "qemu-system-x86", "/machine.slice/a.scope", -17)]


@pytest.mark.allow("subprocess")
def test_units_are_read_a_block_each(machine: LocalMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "systemctl").write_text(
        "#!/bin/sh\nprintf '%s\\n' \"$*\" >&2\nprintf 'Id=a\\nExec={ x=1 }\\n\\nId=b\\nExec=\\n'\n"
    )
    (tmp_path / "systemctl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert machine.units(["a", "b"], ["Exec"]) == ({"Id": "a", "Exec": "{ x=1 }"}, {"Id": "b", "Exec": ""})


def test_a_host_without_systemd_is_not_asked(machine: LocalMachine) -> None:
    with pytest.raises(HostUnavailable, match="not run by systemd"):
        machine.units(["a"], ["Id"])


@pytest.mark.allow("subprocess")
def test_a_program_gets_its_input_and_its_failure_is_told(machine: LocalMachine) -> None:
    assert machine.run(["cat"], input=b"told\n").text == "told\n"
    assert machine.run(["false"], check=False).exit_code == 1
    with pytest.raises(ToolFailed, match="'false' failed"):
        machine.run(["false"])


@pytest.mark.allow("subprocess")
def test_a_lock_that_another_process_holds_is_respected(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with machine.hold():
        other = subprocess.run(["flock", "--nonblock", str(tmp_path / "run/moltfleet-host.lock"), "true"], check=False)
        assert other.returncode == 1
    with machine.hold():
        pass


def test_libvirt_that_was_not_given_is_not_asked(machine: LocalMachine) -> None:
    with pytest.raises(HostUnavailable, match="not asked"):
        machine.free_page_reporting()


def test_whom_a_directory_belongs_to_is_told_through_a_link(machine: LocalMachine, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o710)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert machine.entry("/link") == Entry(os.geteuid(), (tmp_path / "real").stat().st_gid, 0o710)
    assert machine.entry("/nowhere") is None
