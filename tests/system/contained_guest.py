"""A guest that the tools are installed in, as they arrive over SSH, with stand-ins for agents and another user."""

from __future__ import annotations

import io
import json
import shlex
import tarfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.conftest import Lab as PlainLab
from lab.guest import ADDRESS, Guest
from moltfleet.adapters.resources import BootstrapFiles

from .conftest import LONGEST_S, Lab

MIB = 1 << 20
# Says where it runs, and what it was given; or does something else that is asked of it.
CLAUDE = """\
#!/bin/sh
case ${1-} in
run) shift && exec "$@" ;;
esac
sed -n 's/^0::/inside /p' /proc/self/cgroup
echo "as $(id -un) with $*"
echo "heap $NODE_OPTIONS"
"""
# Takes so many MiB at once and keeps them, deaf to SIGTERM.
HOG = """
import mmap, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
kept = mmap.mmap(-1, int(sys.argv[1]) << 20, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | mmap.MAP_POPULATE)
time.sleep(60)
"""
# Everything that the tools could have changed, with modes, owners, links and checksums; large files by size and date.
LISTING = """
places='/etc /usr/local /usr/bin /usr/sbin /usr/lib/systemd /var/lib/systemd/linger'
find $places -xdev -printf '%p %y %m %u %l\\n' 2>/dev/null | sort
find $places -xdev -type f -size -65k 2>/dev/null | sort | xargs -d '\\n' sha256sum
find $places -xdev -type f -size +64k -printf '%p %s %T@\\n' 2>/dev/null | sort
"""
SETTLE = """
set -e
echo "$1" > /etc/apt/sources.list
rm -f /etc/apt/sources.list.d/*
apt-get -qq update
DEBIAN_FRONTEND=noninteractive apt-get -qq --no-install-recommends install cron earlyoom >/dev/null
useradd --create-home --shell /bin/sh visitor
mkdir -p /etc/docker
echo '{"log-driver": "json-file"}' > /etc/docker/daemon.json
cat > /usr/local/bin/claude
chmod 755 /usr/local/bin/claude
"""


def pack() -> bytes:
    """Pack the tools as they are sent."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for path, content in BootstrapFiles().tree("guest").items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(content), 0o755 if content.startswith(b"#!") else 0o644
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


@dataclass(slots=True)
class ContainedGuest:
    """The guest, driven by SSH from the lab that it runs in."""

    lab: Lab
    guest: Guest
    folder: Path

    @classmethod
    def boot(cls, lab: Lab, folder: Path, image: Path, *, memory_mib: int) -> ContainedGuest:
        """Boot one, with what the tests want of Debian in it."""
        guest = Guest(PlainLab(lab.name), "contained", folder)
        guest.define(image, memory_mib)
        guest.virsh("start", guest.name)
        guest.wait_for_login(LONGEST_S / 4)
        guest.connect()
        found = cls(lab, guest, folder)
        found.shell("cloud-init status --wait >/dev/null")
        lab.repo("add", "earlyoom", "cron")
        found.root_with(SETTLE, lab.repo("line").strip(), input=CLAUDE)
        (folder / "tools.tar.gz").write_bytes(pack())
        (folder / "hog.py").write_text(HOG)
        (folder / "listing.sh").write_text(LISTING)
        names = [str(folder / name) for name in ("tools.tar.gz", "hog.py", "listing.sh")]
        lab.run("scp", *guest.ssh_options(), *names, f"agent@{ADDRESS}:/tmp/")
        found.root("mkdir /opt/tools && tar -xzf /tmp/tools.tar.gz -C /opt/tools && cp /tmp/hog.py /tmp/*.sh /opt")
        return found

    def argv(self, command: str, *options: str) -> tuple[str, ...]:
        """The OpenSSH client's command line."""
        return ("ssh", *self.guest.shared, *self.guest.ssh_options(), *options, f"agent@{ADDRESS}", command)

    def shell(self, command: str, *, code: int = 0) -> str:
        """What a command prints on both outputs, run as the ordinary user; its exit status is as expected."""
        done = self.lab.run(*self.argv(f"{{ {command}\n}} 2>&1"), check=False)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout.strip()

    def root(self, command: str, *, code: int = 0) -> str:
        """Likewise, as root."""
        return self.shell(f"sudo sh -c {shlex.quote(command)}", code=code)

    def root_with(self, script: str, *words: str, input: str) -> None:
        """Run a script as root with words and an input."""
        self.lab.run(*self.argv(f"sudo sh -c {shlex.quote(script)} - {shlex.join(words)}"), input=input)

    def install(self, version: str) -> str:
        """Install the tools as the host does."""
        return self.root(f"PYTHONDONTWRITEBYTECODE=1 python3 /opt/tools/install.py install --version {version}")

    def status(self) -> dict[str, Any]:
        """What the installer says of the tools."""
        document: dict[str, Any] = json.loads(
            self.root("python3 /usr/local/lib/moltfleet/current/install.py status --json")
        )
        return document

    def listing(self) -> set[str]:
        """Everything that the tools could have changed."""
        return set(self.root("sh /opt/listing.sh").splitlines())

    def limits(self) -> dict[str, Any]:
        """The guest's limits, in bytes."""
        document: dict[str, Any] = json.loads(self.shell("moltfleet-limits --json"))
        return document

    def group_file(self, group: str, name: str) -> str:
        """What a file of a control group holds."""
        return self.root(f"cat /sys/fs/cgroup/{group}/{name}")

    def wait_until(self, condition: str) -> None:
        """Wait until a shell condition holds, looked at in the guest."""
        self.root(f"for i in $(seq 300); do if {condition}; then exit 0; fi; sleep 0.2; done; exit 1")

    def boot_again_with(self, memory_mib: int) -> None:
        """Shut it down, give it another size, and start it."""
        self.guest.disconnect()
        self.lab.run(*self.argv("sudo systemctl poweroff"), check=False)
        self.guest.wait_for_state("shut off", LONGEST_S / 4)
        self.guest.virsh("setmaxmem", self.guest.name, f"{memory_mib}M", "--config")
        self.guest.virsh("setmem", self.guest.name, f"{memory_mib}M", "--config")
        self.guest.virsh("start", self.guest.name)
        self.guest.wait_for_login(LONGEST_S / 4)
        self.guest.connect()
        until = time.monotonic() + LONGEST_S / 4
        while self.shell("systemctl is-system-running || :") not in ("running", "degraded"):
            assert time.monotonic() < until, "it does not finish its boot"
            time.sleep(0.5)
