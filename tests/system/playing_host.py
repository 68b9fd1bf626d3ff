"""A full guest that plays the host: it has systemd and cgroup v2, and moltfleet itself with what it needs of it."""

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
from moltfleet.adapters.resources import find_directory

from .conftest import User

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
# Everything that containment could have changed, with modes, links and checksums.
LISTING = """
places='/etc /usr/lib/systemd /usr/local /var/lib/moltfleet-host.json'
find $places -xdev -printf '%p %y %m %l\\n' 2>/dev/null | sort
find $places -xdev -type f 2>/dev/null | sort | xargs -d '\\n' sha256sum
"""


def pack_site(folder: Path) -> Path:
    """Pack the package with its data and libraries as it would be installed in the guest."""
    site = folder / "site"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), "--only-binary=:all:"]
    subprocess.run([*pip, *FOR_GUEST, *LIBRARIES], check=True, capture_output=True, timeout=300)
    package = Path(moltfleet.__file__).parent
    shutil.copytree(package, site / "moltfleet", ignore=shutil.ignore_patterns("__pycache__", "data"))
    shutil.copytree(find_directory("bootstrap"), site / "moltfleet/data/bootstrap")
    packed = folder / "site.tar"
    with tarfile.open(packed, "w") as tar:
        tar.add(site, arcname=".")
    packed.chmod(0o644)
    return packed


@dataclass(slots=True)
class Logins:
    """Logins that were tried while something else went on."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)


@dataclass(slots=True)
class PlayingHost:
    """The guest, driven by SSH from the host that it is really on."""

    owner: User
    name: str

    def root(self, command: str, *, check: bool = True) -> str:
        """What a shell command prints, run as root."""
        return self.owner.shell(self.name, f"sudo sh -c {shlex.quote(command)}", check=check)

    def settle_in(self, folder: Path, config: str) -> None:
        """Bring moltfleet and its settings there."""
        folder.chmod(0o755)
        self.owner.run("copy", str(pack_site(folder)), f"{self.name}:/tmp/site.tar")
        self.root(f"mkdir -p {SITE} /etc/moltfleet && tar -xf /tmp/site.tar -C {SITE}")
        self.owner.shell(self.name, f"cat > /tmp/moltfleet.toml <<'EOF'\n{config}EOF")
        self.owner.shell(self.name, f"cat > /tmp/balloon.py <<'EOF'\n{BALLOON}EOF")
        self.owner.shell(self.name, f"cat > /tmp/listing.sh <<'EOF'\n{LISTING}EOF")
        self.root("cp /tmp/moltfleet.toml /etc/moltfleet/ && cp /tmp/balloon.py /opt/ && cp /tmp/listing.sh /opt/")
        self.root("apt-get -qq update")

    def moltfleet(self, *arguments: str, sudo: bool = True, code: int = 0) -> Any:
        """Run moltfleet there with --json; returns its document."""
        prefix = "sudo " if sudo else ""
        python = f"{prefix}env PYTHONPATH={SITE} PYTHONDONTWRITEBYTECODE=1 python3"
        text = self.owner.shell(self.name, f"{python} -m moltfleet --json {' '.join(arguments)}; echo exit=$?")
        document, _, status = text.rpartition("exit=")
        assert int(status) == code, text
        return json.loads(document)

    def checks(self, **options: Any) -> dict[str, dict[str, Any]]:
        """The rows of `host check` by name."""
        return {check["name"]: check for check in self.moltfleet("host", "check", **options)["checks"]}

    def listing(self) -> set[str]:
        """Everything that containment could have changed."""
        return set(self.root("sh /opt/listing.sh").splitlines())

    def inflate(self, unit: str, mib: int, *, slice_: str) -> None:
        """Let a balloon grow as a unit of its own."""
        self.root(f"systemd-run --quiet --unit={unit} --slice={slice_} python3 /opt/balloon.py {mib}")

    def wait_until(self, condition: str, *, timeout_s: float = 90.0) -> None:
        """Wait until a shell condition holds, looked at in the guest."""
        tries = f"for i in $(seq {int(timeout_s * 2)}); do if {condition}; then exit 0; fi; sleep 0.5; done; exit 1"
        self.root(tries)

    @contextmanager
    def tried_all_the_time(self) -> Iterator[Logins]:
        """Log in again and again from another thread until the context ends."""
        logins, over = Logins(), threading.Event()

        def try_on() -> None:
            while not over.is_set():
                try:
                    self.owner.shell(self.name, "true")
                    logins.answered += 1
                except AssertionError as error:
                    logins.failed.append(str(error))
                time.sleep(0.2)

        thread = threading.Thread(target=try_on)
        thread.start()
        try:
            yield logins
        finally:
            over.set()
            thread.join(60)
