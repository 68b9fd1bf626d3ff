"""What comes from this machine's files: keys, seeds, base images, bootstrap programs, profiles."""

from __future__ import annotations

import hashlib
import itertools
import json
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from fakes.guests import FLEET_KEY
from fakes.storage import qcow2_image
from moltfleet.model.errors import NotFound
from moltfleet.model.ports import HostKeyPair, SeedSpec, SourceImage
from moltfleet.model.publickeys import KnownKey, fingerprint, known_key
from moltfleet.model.recipe import CloudConfig, Profile
from moltfleet.model.size import Size

SCRIPTS = (
    "after-molt.sh",
    "before-save.sh",
    "identity.sh",
    "logins.sh",
    "provision.sh",
    "renew.py",
    "rescue.sh",
    "seal.sh",
    "secrets.sh",
    "verify.py",
)


class FakeKeys:
    """The Keys port; every host key is another one."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)
        self.lines: list[str] = []

    def fleet_public_key(self) -> str:
        return FLEET_KEY

    def user_public_keys(self) -> tuple[str, ...]:
        return ("ssh-ed25519 AAAAme me", *self.lines)

    def known(self) -> tuple[KnownKey, ...]:
        own = (
            KnownKey("SHA256:fleet", "ssh-ed25519", "fleet", "fleet"),
            KnownKey("SHA256:me", "ssh-ed25519", "me", "home"),
        )
        return (*own, *(known_key(line, "authorised") for line in self.lines))

    def check(self, lines: Iterable[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(lines))

    def remember(self, lines: Iterable[str]) -> tuple[KnownKey, ...]:
        new = [line for line in lines if line not in self.user_public_keys()]
        self.lines.extend(new)
        return tuple(known_key(line, "authorised") for line in new)

    def find_remembered(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        found = tuple(key for key in self.known() if key.source == "authorised" and key.fingerprint in prints)
        if len(found) < len(prints):
            raise NotFound("No remembered key has that fingerprint")
        return found

    def forget(self, prints: Sequence[str]) -> tuple[KnownKey, ...]:
        gone = self.find_remembered(prints)
        self.lines = [line for line in self.lines if fingerprint(line) not in prints]
        return gone

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
