"""A guest made with virsh alone, as a check on images that owes nothing to moltfleet itself."""

from __future__ import annotations

import io
import json
import shlex
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pycdlib

from .conftest import Lab

ADDRESS, MAC = "192.168.150.11", "52:54:00:00:00:11"
IMAGES = "/var/lib/libvirt/images"
NETWORK = f"""
<network><name>images</name><forward mode='nat'/><bridge name='images0' stp='off' delay='0'/>
<ip address='192.168.150.1' netmask='255.255.255.0'><dhcp><host mac='{MAC}' ip='{ADDRESS}'/></dhcp></ip></network>
"""
DOMAIN = """
<domain type='{type}'><name>{name}</name><memory unit='MiB'>{memory}</memory><vcpu>{vcpus}</vcpu>
<os><type arch='x86_64' machine='q35'>hvm</type></os>
<features><acpi/><apic/></features><cpu mode='maximum'/>
<devices>
<disk type='file' device='disk'><driver name='qemu' type='qcow2' discard='unmap'/>
<source file='{images}/{name}.qcow2'/><target dev='vda' bus='virtio'/></disk>
<disk type='file' device='disk'><driver name='qemu' type='raw'/>
<source file='{images}/{name}.iso'/><target dev='vdb' bus='virtio'/><readonly/></disk>
<interface type='network'><mac address='{mac}'/><source network='images'/><model type='virtio'/>
<port isolated='yes'/></interface>
<serial type='pty'/><console type='pty'/><rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>
<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>
</devices></domain>
"""


@dataclass(frozen=True, slots=True)
class Guest:
    """One guest of a lab, with the files for reaching it in a scratch directory."""

    lab: Lab
    name: str
    folder: Path

    def virsh(self, *arguments: str) -> str:
        """Run virsh in the lab."""
        return self.lab.output("virsh", "-q", "-c", "qemu:///system", *arguments)

    def define(self, image: Path, memory_mib: int, *, vcpus: int = 1) -> None:
        """Make the network, an overlay on a copy of the image, the seed and the domain."""
        make_key(self.folder / "key")
        make_key(self.folder / "host_key")
        (self.folder / "seed.iso").write_bytes(make_seed(self.name, self.folder))
        kind = "qemu" if "qemu" in self.lab.output("sh", "-c", "test -c /dev/kvm && echo kvm || echo qemu") else "kvm"
        text = DOMAIN.format(type=kind, name=self.name, memory=memory_mib, vcpus=vcpus, images=IMAGES, mac=MAC)
        (self.folder / "domain.xml").write_text(text)
        (self.folder / "network.xml").write_text(NETWORK)
        self.lab.exec("cp", str(image), f"{IMAGES}/base.qcow2")
        overlay = ["-f", "qcow2", "-F", "qcow2", "-b", f"{IMAGES}/base.qcow2", f"{IMAGES}/{self.name}.qcow2", "20G"]
        self.lab.exec("qemu-img", "create", *overlay)
        self.lab.exec("cp", str(self.folder / "seed.iso"), f"{IMAGES}/{self.name}.iso")
        self.virsh("net-create", str(self.folder / "network.xml"))
        self.virsh("define", str(self.folder / "domain.xml"))

    def ssh(self, command: str) -> str:
        """Run a command in the guest."""
        return self.lab.output("ssh", *self.ssh_options(), f"agent@{ADDRESS}", command)

    def ssh_options(self) -> list[str]:
        """Options for ssh and scp, with which only the host key of the seed is trusted."""
        public = (self.folder / "host_key.pub").read_text()
        (self.folder / "known_hosts").write_text(f"{ADDRESS} {public}")
        options = ["-i", self.folder / "key", "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"]
        options += ["-o", "StrictHostKeyChecking=yes", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes", "-q"]
        # A guest that goes down in the middle is noticed.
        options += ["-o", "ConnectTimeout=20", "-o", "ServerAliveInterval=15"]
        return [str(option) for option in options]

    def connect(self) -> None:
        """Keep one connection open for what uses :attr:`shared`: a login costs seconds of an emulated processor."""
        argv = ("ssh", "-MNf", *self.shared, *self.ssh_options(), f"agent@{ADDRESS}")
        # It goes on in the background, and must not hold what its output is read from.
        self.lab.exec("sh", "-c", f"{shlex.join(argv)} </dev/null >/dev/null 2>&1")

    def disconnect(self) -> None:
        """End that connection, if there is one; until the next :meth:`connect` every command logs in."""
        self.lab.exec("ssh", *self.shared, *self.ssh_options(), "-O", "exit", f"agent@{ADDRESS}", check=False)

    @property
    def shared(self) -> tuple[str, ...]:
        """Options with which ssh uses the open connection, if there is one."""
        return ("-S", str(self.folder / "shared"))

    def wait_for_login(self, timeout_s: float) -> None:
        """Wait until a login works."""
        self._wait("login", timeout_s, lambda: self.ssh("true"))

    def wait_for_state(self, state: str, timeout_s: float = 60) -> None:
        """Wait until libvirt reports the state."""

        def check() -> None:
            assert self.virsh("domstate", self.name) == state

        self._wait(state, timeout_s, check)

    def agent(self, command: str) -> object:
        """Call the guest agent."""
        return json.loads(self.virsh("qemu-agent-command", self.name, json.dumps({"execute": command})))["return"]

    def _wait(self, what: str, timeout_s: float, attempt: object) -> None:
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                assert callable(attempt)
                attempt()
                return
            except (OSError, AssertionError):
                assert time.monotonic() < deadline, f"{self.name}: no {what} within {timeout_s} s"
                time.sleep(0.3)


def make_key(path: Path) -> None:
    """Make an ed25519 key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)


def make_seed(name: str, folder: Path) -> bytes:
    """Return a NoCloud seed with one user and the host key."""
    private = (folder / "host_key").read_text().replace("\n", "\n    ")
    user_data = f"""#cloud-config
users:
  - name: agent
    shell: /bin/bash
    sudo: ALL=(ALL) NOPASSWD:ALL
    ssh_authorized_keys: ["{(folder / "key.pub").read_text().strip()}"]
ssh_deletekeys: true
ssh_keys:
  ed25519_private: |
    {private}
  ed25519_public: {(folder / "host_key.pub").read_text().strip()}
"""
    files = {"meta-data": f"instance-id: i-{name}\nlocal-hostname: {name}\n", "user-data": user_data}
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, vol_ident="cidata", joliet=3, rock_ridge="1.09")
    for file, text in files.items():
        short = f"/{file.replace('-', '')[:8].upper()}.;1"
        content = text.encode()
        iso.add_fp(io.BytesIO(content), len(content), short, rr_name=file, joliet_path=f"/{file}")
    written = io.BytesIO()
    iso.write_fp(written)
    iso.close()
    return written.getvalue()
