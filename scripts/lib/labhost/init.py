"""Be PID 1 of a lab: make its private view of the machine, start libvirt and the web server, reap."""

from __future__ import annotations

import functools
import http.server
import os
import signal
import subprocess
import sys
from pathlib import Path

from labhost import cgroups, daemons, users
from labhost.place import WWW_PORT, Place

KVM = Path("/dev/kvm")
NOBODY = 65534


def run_init(place: Place, ready_fd: int) -> None:
    """Set the lab up, report through the descriptor, and reap for ever."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        make_private_machine(place)
        daemons.start_libvirt()
    except Exception as error:  # the one door between PID 1 and the waiting `up`
        os.write(ready_fd, f"{type(error).__name__}: {error}"[:4000].encode())
        raise
    server = start_web_server(place)
    os.write(ready_fd, b"ready")
    os.close(ready_fd)
    while True:
        if reap_one() == server:
            server = start_web_server(place)


def reap_one() -> int:
    """Wait for any child to end and return its process id."""
    try:
        return os.wait()[0]
    except ChildProcessError:
        signal.pause()
        return 0


def make_private_machine(place: Place) -> None:
    """Mount the lab's own version of everything that libvirt would write to or be misled by."""
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    for folder, hierarchy in cgroups.make_subtrees(place):
        bind(folder, hierarchy)
    bind(place.base / "etc-libvirt", Path("/etc/libvirt"))
    bind(place.base / "var-lib-libvirt", Path("/var/lib/libvirt"))
    bind(place.log / "libvirt", Path("/var/log/libvirt"))
    bind(place.base / "cache", Path("/var/cache/libvirt"))
    for database in ("passwd", "group", "shadow"):
        bind(place.base / "etc" / database, Path("/etc") / database)
    make_run(place)
    hide_unusable_kvm(place)
    make_network_view()


def make_run(place: Place) -> None:
    """Mount an empty /run with the directories that a normal Debian has there."""
    mount("-t", "tmpfs", "-o", "mode=0755,nosuid", "tmpfs", "/run")
    for folder, mode in (("lock", 0o1777), ("user", 0o755), ("libvirt", 0o755), ("home", 0o755)):
        path = Path("/run") / folder
        path.mkdir()
        path.chmod(mode)
    users.make_runtime_directories()
    bind(place.base / "home", users.HOMES)


def is_kvm_usable() -> bool:
    """Say whether KVM exists and the CPU flags confirm it; the device alone can be a decoy."""
    flags = Path("/proc/cpuinfo").read_text().split()
    return KVM.exists() and ("vmx" in flags or "svm" in flags)


def hide_unusable_kvm(place: Place) -> None:
    """Cover a /dev/kvm that boots nothing, so that libvirt neither offers it nor probes it at each start."""
    if KVM.exists() and not is_kvm_usable():
        cover = place.base / "no-kvm"
        cover.touch()
        cover.chmod(0o600)
        bind(cover, KVM)


def make_network_view() -> None:
    """Bring up loopback and forwarding, and show this namespace's interfaces in /sys.

    Isolated bridge ports are switched through /sys/class/net; mounting sysfs over all of /sys breaks starts.
    """
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    view = Path("/run/lab-sysfs")
    view.mkdir()
    mount("-t", "sysfs", "sysfs", str(view))
    for part in ("class/net", "devices/virtual/net"):
        bind(view / part, Path("/sys") / part)
    subprocess.run(["umount", "--lazy", str(view)], check=True)
    view.rmdir()


def start_web_server(place: Place) -> int:
    """Serve the lab's www directory on every address of the lab, from a child without privileges."""
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(place.www))
        http.server.ThreadingHTTPServer(("0.0.0.0", WWW_PORT), handler).serve_forever()
        sys.exit(0)
    return pid


def bind(source: Path, target: Path) -> None:
    """Bind-mount source over target."""
    mount("--bind", str(source), str(target))


def mount(*arguments: str) -> None:
    """Run mount(8)."""
    subprocess.run(["mount", *arguments], check=True)
