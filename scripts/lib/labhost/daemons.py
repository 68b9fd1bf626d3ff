"""Start, probe and restart libvirt's daemons; every function here runs inside the lab."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from labhost.errors import LabError

SOCKET = "/run/libvirt/libvirt-sock"
PID_FILE = Path("/run/libvirtd.pid")
STOP_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 90.0


def start_libvirt() -> None:
    """Start virtlogd and libvirtd in the background where they do not run, and wait for an answer."""
    if find_pid(Path("/run/virtlogd.pid"), "virtlogd") is None:
        subprocess.run(["virtlogd", "-d"], check=True)
    if find_libvirtd() is None:
        subprocess.run(["libvirtd", "-d"], check=True)
    wait_for_answer()


def find_pid(pid_file: Path, program: str) -> int | None:
    """Return the process id in the file if it is the program's."""
    try:
        pid = int(pid_file.read_text())
        name = Path(f"/proc/{pid}/comm").read_text().strip()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    return pid if name == program and state != "Z" else None


def find_libvirtd() -> int | None:
    """Return libvirtd's process id in the lab, if it runs."""
    return find_pid(PID_FILE, "libvirtd")


def is_answering() -> bool:
    """Say whether libvirtd accepts a connection."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(2.0)
        try:
            connection.connect(SOCKET)
        except OSError:
            return False
    return True


def wait_for_answer() -> None:
    """Wait until libvirtd answers a real request."""
    deadline = time.monotonic() + ANSWER_TIMEOUT_S
    while time.monotonic() < deadline:
        if is_answering():
            command = ["virsh", "-q", "-c", "qemu:///system", "list"]
            if subprocess.run(command, capture_output=True, timeout=ANSWER_TIMEOUT_S).returncode == 0:
                return
        time.sleep(0.05)
    raise LabError("libvirtd does not answer", hint="See log/libvirt/libvirtd.log in the lab.", code=7)


def restart_libvirtd(signal_number: signal.Signals) -> None:
    """End libvirtd with the signal and start it again; guests go on running."""
    pid = find_libvirtd()
    if pid is not None:
        os.kill(pid, signal_number)
        _wait_for_end(pid)
    with suppress(FileNotFoundError):
        PID_FILE.unlink()
    start_libvirt()


def _wait_for_end(pid: int) -> None:
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while find_pid(PID_FILE, "libvirtd") == pid:
        if time.monotonic() > deadline:
            raise LabError(f"libvirtd did not end within {STOP_TIMEOUT_S:.0f} s", code=6)
        time.sleep(0.02)
