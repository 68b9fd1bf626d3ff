"""A plain Debian guest that plays the host: it has systemd, cgroup v2, and moltfleet itself.

It is made with virsh alone and is nobody's clone, so that nothing is in it but what Debian puts there.
"""

from __future__ import annotations

import json
import shlex
import shutil
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import moltfleet
from lab.conftest import Lab as PlainLab
from lab.guest import ADDRESS, Guest
from moltfleet.adapters.resources import find_directory

from .conftest import LONGEST_S, Completed, Lab

# What `moltfleet host` imports, for the guest's Python (Debian 12) whatever runs the tests; libvirt is not needed.
LIBRARIES = ("click", "pydantic", "psutil", "platformdirs", "tabulate")
FOR_GUEST = ("--python-version", "3.11", "--platform", "manylinux2014_x86_64", "--implementation", "cp")
SITE = "/opt/moltfleet-site"
# Takes memory, 4 MiB at a time, up to so many MiB, and keeps it.
BALLOON = """
import sys, time
kept = []
while len(kept) * 4 < int(sys.argv[1]):
    kept.append(bytearray(b"x") * (4 << 20))
    time.sleep(0.02)
time.sleep(1000)
"""
# A greeting costs no cryptography, so it can be asked for often; 30 s without one are a failure.
ASKING = """
while :; do
    greeting=$(timeout 30 bash -c "exec 3<>/dev/tcp/$1/22 && head -c 3 <&3" 2>/dev/null)
    echo "${greeting:-silence}"
    sleep 0.2
done
"""
# Everything that containment could have changed, with modes, links and checksums; large files by size and date.
LISTING = """
places='/etc /usr/lib/systemd /usr/local /var/lib/moltfleet-host.json'
find $places -xdev -printf '%p %y %m %u %l\\n' 2>/dev/null | sort
find $places -xdev -type f -size -65k 2>/dev/null | sort | xargs -d '\\n' sha256sum
find $places -xdev -type f -size +64k -printf '%p %s %T@\\n' 2>/dev/null | sort
"""


def pack_site(folder: Path) -> Path:
    """Pack the package with its data and libraries as it would be installed in the guest."""
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), "--only-binary=:all:"]
    subprocess.run([*pip, *FOR_GUEST, *LIBRARIES], check=True, capture_output=True, timeout=300)
    package = Path(moltfleet.__file__).parent
    shutil.copytree(package, site / "moltfleet", ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copytree(find_directory("bootstrap") / "host", site / "moltfleet/data/bootstrap/host")
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(site)], check=True, timeout=300)
    packed = folder / "site.tar.gz"
    with tarfile.open(packed, "w:gz", compresslevel=1) as tar:
        tar.add(site, arcname=".")
    return packed


@dataclass(slots=True)
class Heard:
    """What sshd answered while something else went on: greetings, or "silence"."""

    answers: list[str] = field(default_factory=list)

    def wait_for_more(self, count: int) -> None:
        """Wait until it was asked so many times more."""
        wanted, deadline = len(self.answers) + count, time.monotonic() + LONGEST_S / 4
        while len(self.answers) < wanted:
            assert time.monotonic() < deadline, self.answers
            time.sleep(0.1)


@dataclass(slots=True)
class PlainHost:
    """The guest, driven by SSH from the lab that it runs in."""

    lab: Lab
    guest: Guest

    @classmethod
    def boot(cls, lab: Lab, folder: Path, image: Path, *, memory_mib: int) -> PlainHost:
        """Boot one from an image, with the lab's packages for its apt."""
        host = cls(lab, Guest(PlainLab(lab.name), "host", folder))
        host.guest.define(image, memory_mib)
        host.guest.virsh("start", host.guest.name)
        host.guest.wait_for_login(LONGEST_S / 4)
        host.guest.connect()
        host.shell("cloud-init status --wait >/dev/null")
        line = lab.repo("line").strip()
        host.root(f"echo '{line}' > /etc/apt/sources.list && rm -f /etc/apt/sources.list.d/* && apt-get -qq update")
        return host

    def shell(self, command: str, *, check: bool = True) -> str:
        """What a shell command prints, run as the ordinary user."""
        argv = ("ssh", *self.guest.shared, *self.guest.ssh_options(), f"agent@{ADDRESS}", command)
        done: Completed = self.lab.run(*argv, check=check)
        return done.stdout.strip()

    def root(self, command: str, *, check: bool = True) -> str:
        """Likewise, as root."""
        return self.shell(f"sudo sh -c {shlex.quote(command)}", check=check)

    def settle_in(self, folder: Path, config: str) -> None:
        """Bring moltfleet and its settings there."""
        (folder / "moltfleet.toml").write_text(config)
        (folder / "balloon.py").write_text(BALLOON)
        (folder / "listing.sh").write_text(LISTING)
        names = (
            str(pack_site(folder)),
            *(str(folder / name) for name in ("moltfleet.toml", "balloon.py", "listing.sh")),
        )
        self.lab.run("scp", *self.guest.ssh_options(), *names, f"agent@{ADDRESS}:/tmp/")
        self.root(
            f"mkdir -p {SITE} /etc/moltfleet && tar -xzf /tmp/site.tar.gz -C {SITE}"
            " && cp /tmp/moltfleet.toml /etc/moltfleet/ && cp /tmp/balloon.py /tmp/listing.sh /opt/"
        )

    def moltfleet(self, *arguments: str, sudo: bool = True, code: int = 0) -> Any:
        """Run moltfleet there with --json; returns its document."""
        prefix = "sudo " if sudo else ""
        python = f"{prefix}env PYTHONPATH={SITE} PYTHONDONTWRITEBYTECODE=1 python3"
        text = self.shell(f"{python} -m moltfleet --json {' '.join(arguments)}; echo exit=$?")
        document, _, status = text.rpartition("exit=")
        assert int(status) == code, text
        return json.loads(document)

    def checks(self, **options: Any) -> dict[str, dict[str, Any]]:
        """The rows of `host check` by name."""
        return {check["name"]: check for check in self.moltfleet("host", "check", **options)["checks"]}

    def listing(self) -> set[str]:
        """Everything that containment could have changed."""
        return set(self.root("sh /opt/listing.sh").splitlines())

    def reboot(self) -> None:
        """Boot it again, and wait until it is up."""
        before = self.root("cat /proc/sys/kernel/random/boot_id")
        self.guest.disconnect()
        self.root("systemctl reboot", check=False)
        deadline = time.monotonic() + LONGEST_S / 4
        while self.root("cat /proc/sys/kernel/random/boot_id", check=False) in ("", before):
            assert time.monotonic() < deadline, "it did not come back"
            time.sleep(0.5)
        self.guest.connect()
        self.wait_until("systemctl --quiet is-active multi-user.target")

    def inflate(self, unit: str, mib: int, *, slice_: str) -> None:
        """Let a balloon grow as a unit of its own."""
        self.root(f"systemd-run --quiet --unit={unit} --slice={slice_} python3 /opt/balloon.py {mib}")

    def wait_until(self, condition: str) -> None:
        """Wait until a shell condition holds, looked at in the guest."""
        self.root(f"for i in $(seq 600); do if {condition}; then exit 0; fi; sleep 0.5; done; exit 1")

    @contextmanager
    def asked_all_the_time(self) -> Iterator[Heard]:
        """Ask sshd for its greeting over and over until the context ends; what goes on in it begins after the first."""
        heard = Heard()
        argv = self.lab.argv(("bash", "-c", ASKING, "-", ADDRESS))
        asking = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert asking.stdout is not None
        lines = asking.stdout
        listener = threading.Thread(target=lambda: heard.answers.extend(line.strip() for line in lines), daemon=True)
        listener.start()
        try:
            heard.wait_for_more(1)
            yield heard
        finally:
            asking.terminate()
            asking.wait(timeout=60)
            listener.join(60)
