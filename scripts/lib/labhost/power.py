"""Bring a lab up, take it down or crash it; kill nothing but its recorded PID 1."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

from labhost import cgroups, namespaces, packages, users
from labhost.enter import run_inside
from labhost.errors import LabError
from labhost.place import (
    KEPT_BY_KEEP_POOL,
    Place,
    find_init,
    find_start_time,
    locked_root,
    record_init,
)

UP_TIMEOUT_S = 60.0
KILL_TIMEOUT_S = 15.0
PATH = packages.SEARCH_PATH
LIBVIRTD_SETTINGS = """
# --- lab ---
unix_sock_group = "libvirt"
unix_sock_ro_perms = "0777"
unix_sock_rw_perms = "0770"
auth_unix_ro = "none"
auth_unix_rw = "none"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
QEMU_SETTINGS = """
# --- lab ---
# No AppArmor or SELinux profile knows these paths.
security_driver = "none"
# libvirt 9.0 cannot carry the mount that covers /dev/kvm into a private /dev ("Unable to move ... mount").
namespaces = []
"""


def bring_up(place: Place, program: Path) -> bool:
    """Start the lab, or mend a running one; return whether it was started anew."""
    require_packages()
    with locked_root():
        init = find_init(place)
        if init is not None:
            run_inside(init, [sys.executable, str(program), "_mend", "--name", place.name])
            return False
        cgroups.remove_subtrees(place)  # of a killed lab
        prepare_files(place)
        record_init(place, start_init(place, program))
        return True


def require_packages() -> None:
    """Raise with the exact install line when something is missing."""
    missing = packages.find_missing(packages.LAB)
    if missing:
        raise LabError(f"Not installed: {', '.join(missing)}", hint=packages.format_install_line(missing), code=7)


def prepare_files(place: Place) -> None:
    """Make the lab's files where they do not exist; keep those of a lab that was crashed."""
    for folder in ("var-lib-libvirt", "cache", "home", "log/libvirt/qemu", "www"):
        (place.base / folder).mkdir(parents=True, exist_ok=True)
    if not (place.base / "etc-libvirt").exists():
        copy_configuration(place.base / "etc-libvirt")
    images = place.base / "var-lib-libvirt" / "images"
    images.mkdir(exist_ok=True)
    images.chmod(0o711)
    users.write_databases(place)
    users.make_homes(place)


def copy_configuration(target: Path) -> None:
    """Copy the distribution's libvirt configuration without the machine's own domains and networks."""
    temporary = target.with_suffix(".tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    (temporary / "qemu" / "networks").mkdir(parents=True)
    for path in Path("/etc/libvirt").glob("*.conf"):
        shutil.copy2(path, temporary)
    if Path("/etc/libvirt/nwfilter").is_dir():
        shutil.copytree("/etc/libvirt/nwfilter", temporary / "nwfilter")
    stock_network = Path("/usr/share/libvirt/networks/default.xml")
    if stock_network.exists():
        shutil.copy2(stock_network, temporary / "qemu" / "networks")
    for name, settings in (("libvirtd.conf", LIBVIRTD_SETTINGS), ("qemu.conf", QEMU_SETTINGS)):
        with (temporary / name).open("a") as file:
            file.write(settings)
    temporary.rename(target)


def start_init(place: Place, program: Path) -> int:
    """Start PID 1 in new namespaces, wait until it is ready, and return its process id."""
    ready_read, ready_write = os.pipe()
    pid_read, pid_write = os.pipe()
    middle = os.fork()
    if middle == 0:
        _become_init(place, program, pid_write, ready_write)
    os.close(ready_write)
    os.close(pid_write)
    os.waitpid(middle, 0)
    pid = int(os.read(pid_read, 20) or b"0")
    try:
        wait_for_ready(place, ready_read)
    except BaseException:
        if pid and find_start_time(pid) is not None:
            os.kill(pid, signal.SIGKILL)
        raise
    finally:
        os.close(pid_read)
        os.close(ready_read)
    return pid


def _become_init(place: Place, program: Path, pid_fd: int, ready_fd: int) -> None:
    """Fork twice into the namespaces, and become `lab _init`; never returns."""
    try:
        os.setsid()
        namespaces.unshare_host()
        pid = os.fork()
        if pid != 0:
            os.write(pid_fd, str(pid).encode())
            os._exit(0)
        namespaces.give_up_clock()
        os.chdir("/")
        os.umask(0o022)
        _redirect_output(place.log / "init.log")
        os.set_inheritable(ready_fd, True)
        argv = [sys.executable, str(program), "_init", "--name", place.name, "--ready-fd", str(ready_fd)]
        os.execve(sys.executable, argv, {"PATH": PATH, "HOME": "/root", "LANG": "C.UTF-8"})
    except BaseException as error:  # noqa: BLE001 - a forked child tells its parent everything
        os.write(ready_fd, str(error).encode())
    finally:
        os._exit(1)


def _redirect_output(log: Path) -> None:
    null = os.open(os.devnull, os.O_RDONLY)
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for source, target in ((null, 0), (output, 1), (output, 2)):
        os.dup2(source, target)


def wait_for_ready(place: Place, ready_fd: int) -> None:
    """Wait for PID 1's word; raise with what it said when that is not `ready`."""
    readable, _, _ = select.select([ready_fd], [], [], UP_TIMEOUT_S)
    answer = os.read(ready_fd, 4096).decode(errors="replace") if readable else "no answer in time"
    if answer != "ready":
        raise LabError(
            f"Lab {place.name!r} did not come up: {answer or 'PID 1 ended'}",
            hint=f"See {place.log}/init.log and {place.log}/libvirt/libvirtd.log",
            code=7,
        )


def crash(place: Place) -> bool:
    """Kill every process of the lab at once, as a power loss would; keep its disk state."""
    with locked_root():
        return _kill_everything(place)


def take_down(place: Place, *, keep_pool: bool) -> bool:
    """Kill the lab and remove its files, but for the storage with keep_pool; return whether it ran."""
    with locked_root():
        was_running = _kill_everything(place)
        if keep_pool:
            for path in place.base.glob("*"):
                if path.name not in KEPT_BY_KEEP_POOL:
                    _remove(path)
        elif place.base.exists():
            _remove(place.base)
        return was_running


def _kill_everything(place: Place) -> bool:
    """Kill PID 1, with which the kernel kills its whole PID namespace, and wait for that."""
    init = find_init(place)
    if init is not None:
        with suppress(ProcessLookupError):
            os.kill(init.pid, signal.SIGKILL)
        _wait_for_end(init.pid, init.start_time)
    cgroups.remove_subtrees(place)
    place.state.unlink(missing_ok=True)
    return init is not None


def _wait_for_end(pid: int, start_time: int) -> None:
    deadline = time.monotonic() + KILL_TIMEOUT_S
    while find_start_time(pid) == start_time:
        if time.monotonic() > deadline:
            raise LabError(f"Process {pid} did not end within {KILL_TIMEOUT_S:.0f} s", code=6)
        time.sleep(0.02)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink()
