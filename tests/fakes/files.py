"""What comes from this machine's files: keys, seeds, base images, bootstrap programs, profiles."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from pathlib import Path

from fakes.guests import FLEET_KEY
from fakes.storage import qcow2_image
from moltfleet.model.errors import NotFound
from moltfleet.model.ports import HostKeyPair, SeedSpec, SourceImage
from moltfleet.model.recipe import CloudConfig, Profile
from moltfleet.model.size import Size

SCRIPTS = ("after-molt.sh", "before-save.sh", "identity.sh", "provision.sh", "rescue.sh", "seal.sh", "verify.py")


class FakeKeys:
    """The Keys port; every host key is another one."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def fleet_public_key(self) -> str:
        return FLEET_KEY

    def user_public_keys(self) -> tuple[str, ...]:
        return ("ssh-ed25519 AAAAme me",)

    def new_host_key(self) -> HostKeyPair:
        number = next(self._numbers)
        return HostKeyPair(private=f"private-{number}", public=f"ssh-ed25519 AAAAhost{number}")


class FakeSeeds:
    """The Seeds port: JSON that the guests here read at their first boot."""

    def build(self, spec: SeedSpec) -> bytes:
        identity = spec.identity
        seed = {
            "instance_id": spec.instance_id,
            "hostname": spec.hostname,
            "host_key": identity.host_key.public,
            "authorized": "\n".join(identity.authorized_keys),
            "documents": [document.text for document in spec.documents],
        }
        return json.dumps(seed).encode()


class FakeImages:
    """The Images port: every source but "missing" is a small qcow2 image whose content follows from its name."""

    def __init__(self) -> None:
        self.capacity = Size.of_gib(3)
        self.fetched: list[str] = []
        self._directory = tempfile.TemporaryDirectory(prefix="moltfleet-images-")

    def fetch(self, source: str, *, sha256: str | None = None) -> SourceImage:
        if source == "missing":
            raise NotFound(f"Image {source!r} does not exist")
        self.fetched.append(source)
        content = qcow2_image(capacity=self.capacity) + source.encode()
        path = Path(self._directory.name) / hashlib.sha256(source.encode()).hexdigest()
        path.write_bytes(content)
        return SourceImage(
            path=path,
            format="qcow2",
            virtual_size=self.capacity,
            sha256=hashlib.sha256(content).hexdigest(),
            origin=source,
            verified_by="a test",
        )


class FakeBootstrap:
    """The Bootstrap port: programs that only say their name, by which the guests here know them."""

    def tree(self, folder: str) -> dict[str, bytes]:
        names = {"guest": ("bin/claude", "install.py"), "trials": ("density.py", "proofs.py")}[folder]
        return {name: f"#!/usr/bin/python3\n# {folder}/{name}\n".encode() for name in names}

    def names(self) -> tuple[str, ...]:
        return SCRIPTS

    def read(self, name: str) -> bytes:
        if name not in SCRIPTS:
            raise NotFound(f"No bootstrap file is named {name!r}")
        return f"# {name}\n".encode()


class FakeProfiles:
    """The Profiles port."""

    def names(self) -> tuple[str, ...]:
        return ("agent", "minimal", "none")

    def get(self, name: str) -> Profile:
        if name not in self.names():
            raise NotFound(f"No profile is named {name!r}", hint="There are: agent, minimal, none.")
        fragment = CloudConfig(f"{name}.yaml", "packages: [jq]\n")
        return Profile(name, (fragment,), required_commands=("jq",), required_services=("ssh",))
