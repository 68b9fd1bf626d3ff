"""The lab's own promises: idempotent, private, mendable, and gone without a trace."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from .conftest import ROOT, SCRIPTS, Lab

MakeLab = Callable[[], Lab]


def init_pid(lab: Lab) -> int | None:
    """Return the lab's PID 1 as the machine numbers it."""
    labs = json.loads(lab.run("status", "--json", check=False).stdout)["labs"]
    pid: int | None = labs[0]["pid"]
    return pid


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    """Wait for a condition that must come true."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_up_of_a_running_lab_changes_nothing(lab: Lab) -> None:
    before = init_pid(lab)
    assert lab.run("up").stderr == f"Lab '{lab.name}' is up\n"
    assert init_pid(lab) == before


def test_exec_passes_on_status_input_and_directory(lab: Lab, tmp_path: Path) -> None:
    assert lab.exec("sh", "-c", "exit 7", check=False).returncode == 7
    assert lab.exec("sh", "-c", "kill -9 $$", check=False).returncode == 128 + 9
    assert lab.exec("no-such-command", check=False).returncode == 127
    argv = [str(SCRIPTS / "lab"), "exec", "--name", lab.name, "--", "sh", "-c", "pwd; cat"]
    result = subprocess.run(argv, input="said", cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == f"{tmp_path}\nsaid"


def test_exec_passes_on_a_signal(lab: Lab) -> None:
    script = "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done"
    argv = [str(SCRIPTS / "lab"), "exec", "--name", lab.name, "--", "sh", "-c", script]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.terminate()
        assert process.wait(timeout=10) == 3


def test_libvirt_takes_members_of_its_group_and_nobody_else(lab: Lab) -> None:
    for user in ("mf-alice", "mf-bob"):
        assert lab.exec("virsh", "-c", "qemu:///system", "list", user=user).returncode == 0
    refused = lab.exec("virsh", "-c", "qemu:///system", "list", user="mf-carol", check=False)
    assert "Permission denied" in refused.stderr


def test_a_user_without_an_account_is_given_by_numbers(lab: Lab) -> None:
    assert lab.exec("id", "-u", user="64999:libvirt").stdout == "64999\n"
    assert lab.exec("id", "-Gn", user="64999:libvirt").stdout == "libvirt\n"


def test_ordinary_users_have_a_home_and_the_openssh_client_takes_them(lab: Lab) -> None:
    script = 'touch "$HOME/mine" && ssh -V && test -w "$XDG_RUNTIME_DIR" && cd && pwd'
    assert lab.exec("sh", "-c", script, user="mf-carol").stdout == "/run/home/mf-carol\n"


def test_nothing_in_a_lab_can_set_the_machines_clock(lab: Lab) -> None:
    assert lab.exec("date", "-s", "@1", check=False).returncode != 0


def test_the_lab_has_its_own_network_and_processes(lab: Lab) -> None:
    assert lab.output("sh", "-c", "ls /sys/class/net").split() == ["lo"]
    assert "_init" in lab.output("cat", "/proc/1/cmdline")
    assert lab.output("cat", "/proc/sys/net/ipv4/ip_forward") == "1"


def test_guests_find_a_bumped_package_over_http(lab: Lab) -> None:
    first, second = (lab.run("repo", "bump", "pytest-demo").stdout.strip() for _ in range(2))
    assert (first, second) == ("1.0", "1.1")
    index = lab.output("curl", "-sf", "http://127.0.0.1:8099/debian/dists/lab/main/binary-amd64/Packages")
    assert [line for line in index.splitlines() if line.startswith("Version:")] == ["Version: 1.0", "Version: 1.1"]


def test_restart_libvirtd_gives_a_new_process(lab: Lab) -> None:
    for name in ("TERM", "KILL"):
        before = lab.output("cat", "/run/libvirtd.pid")
        lab.run("restart-libvirtd", "--signal", name)
        assert lab.output("cat", "/run/libvirtd.pid") != before
        lab.output("virsh", "-c", "qemu:///system", "list")


def test_up_mends_a_lab_whose_libvirtd_was_killed(lab: Lab) -> None:
    lab.exec("sh", "-c", "kill -9 $(cat /run/libvirtd.pid)")
    lab.run("up")
    lab.output("virsh", "-c", "qemu:///system", "list")


def test_up_after_a_killed_pid_1_starts_anew_over_the_same_storage(new_lab: MakeLab) -> None:
    lab = new_lab()
    lab.exec("touch", "/var/lib/libvirt/images/kept")
    pid = init_pid(lab)
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: init_pid(lab) is None)
    assert lab.exec("true", check=False).returncode == 4
    assert lab.run("up").stderr == f"Lab '{lab.name}' started\n"
    lab.exec("test", "-e", "/var/lib/libvirt/images/kept")


def test_a_crash_keeps_the_disks_and_down_can_keep_the_pool(new_lab: MakeLab) -> None:
    lab = new_lab()
    for command in (("crash",), ("down", "--keep-pool")):
        lab.exec("sh", "-c", "echo kept >/var/lib/libvirt/images/kept; echo kept >/etc/libvirt/kept")
        lab.run(*command)
        assert init_pid(lab) is None
        lab.run("up")
        assert lab.output("cat", "/var/lib/libvirt/images/kept", "/etc/libvirt/kept") == "kept\nkept"
        lab.exec("rm", "/var/lib/libvirt/images/kept", "/etc/libvirt/kept")


def test_two_labs_do_not_see_each_other(new_lab: MakeLab) -> None:
    one, two = new_lab(), new_lab()
    one.exec("touch", "/etc/libvirt/mine", "/run/mine")
    assert two.exec("ls", "/etc/libvirt/mine", check=False).returncode != 0
    assert two.exec("ls", "/run/mine", check=False).returncode != 0


def test_down_leaves_no_process_mount_cgroup_or_file(new_lab: MakeLab) -> None:
    lab = new_lab()
    pid = init_pid(lab)
    assert pid is not None
    namespaces = {str(Path(f"/proc/{pid}/ns/{kind}").readlink()) for kind in ("mnt", "net", "pid")}
    lab.run("down")
    wait_until(lambda: not (namespaces & live_namespaces()))
    assert not lab.base.exists()
    assert lab.name not in Path("/proc/mounts").read_text()
    assert not list(Path("/sys/fs/cgroup").glob(f"*moltfleet-lab.{lab.name}"))
    assert not list(Path("/sys/fs/cgroup").glob(f"*/moltfleet-lab.{lab.name}"))
    assert lab.run("down").stderr == f"Lab '{lab.name}' was not up\n"


def live_namespaces() -> set[str]:
    """Return the namespaces of every process that is not a zombie."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*/ns"):
        for kind in ("mnt", "net", "pid"):
            try:
                found.add(str((folder / kind).readlink()))
            except OSError:
                continue
    return found


def test_a_name_that_is_no_directory_name_is_refused() -> None:
    result = Lab("../x").run("up", check=False)
    assert result.returncode == 2
    assert not (ROOT / "../x").exists()
