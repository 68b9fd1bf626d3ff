"""Say what tells this guest from every other one, as one line of JSON; changes nothing.

The host compares the answers of a build and of its clones: any two equal facts mean that an image was not sealed.
``--root DIR`` reads another tree and asks no program. Secrets leave only as SHA-256.
"""

import base64
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

SECRETS = ("var/lib/systemd/random-seed", "var/lib/systemd/credential.secret")


def first_line(path: Path) -> str:
    """Return a small file's first line, empty when it cannot be read."""
    try:
        with path.open(errors="replace") as file:
            return file.readline(4096).strip()
    except OSError:
        return ""


def digest(path: Path) -> str | None:
    """Return the SHA-256 of a file's content; None when there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def host_keys(root: Path) -> list[dict[str, str]]:
    """Return each public host key as "type base64", with the fingerprint as ssh-keygen prints it."""
    found = []
    for path in sorted((root / "etc/ssh").glob("ssh_host_*_key.pub")):
        words = first_line(path).split()
        if len(words) >= 2:
            raw = base64.b64decode(words[1])
            fingerprint = base64.b64encode(hashlib.sha256(raw).digest()).decode().rstrip("=")
            found.append({"key": " ".join(words[:2]), "fingerprint": f"SHA256:{fingerprint}"})
    return found


def macs(root: Path) -> list[str]:
    """Return the addresses of the network cards; bridges and other devices without hardware do not count."""
    cards = sorted((root / "sys/class/net").glob("*"))
    return [first_line(card / "address") for card in cards if (card / "device").exists()]


def addresses() -> list[str]:
    """Return the global addresses of all interfaces. Raises: OSError, CalledProcessError."""
    argv = ["ip", "-json", "address", "show", "scope", "global"]
    answer = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=20).stdout)
    return sorted(info["local"] for link in answer for info in link.get("addr_info", []))


def dhcp_client_ids(root: Path) -> list[str]:
    """Return what systemd-networkd called itself in its leases."""
    leases = sorted((root / "run/systemd/netif/leases").glob("*"))
    lines = (line for lease in leases for line in lease.read_text(errors="replace").splitlines())
    return [line.removeprefix("CLIENTID=") for line in lines if line.startswith("CLIENTID=")]


def collect(root: Path) -> dict[str, object]:
    """Return all facts of the tree below ``root``."""
    is_live = root == Path("/")
    secrets = {path.rpartition("/")[2]: digest(root / path) for path in SECRETS}
    return {
        "schema": "moltfleet.identity/1",
        "machine_id": first_line(root / "etc/machine-id"),
        "dbus_machine_id": first_line(root / "var/lib/dbus/machine-id"),
        "boot_id": first_line(root / "proc/sys/kernel/random/boot_id"),
        "hostname": os.uname().nodename if is_live else first_line(root / "etc/hostname"),
        "instance_id": first_line(root / "var/lib/cloud/data/instance-id"),
        "product_uuid": first_line(root / "sys/class/dmi/id/product_uuid"),
        "host_keys": host_keys(root),
        "macs": macs(root),
        "addresses": addresses() if is_live else [],
        "dhcp_client_ids": dhcp_client_ids(root),
        "secrets": secrets,
    }


def main(arguments: list[str]) -> int:
    """Print the facts."""
    root = Path(arguments[1]) if arguments[:1] == ["--root"] and len(arguments) == 2 else Path("/")
    print(json.dumps(collect(root)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
