"""User-data of builds and clones: a base document made from an identity, and people's documents, for cloud-init to
merge in the guest. Pure; refuses documents that the guest could not merge.

cloud-init's rules cannot express "a later boolean or number wins, lists are appended": its mapping merger either
replaces whole values or keeps every old one that is not text. So the parts go out in the opposite order, the one that
wins first, and each merges *under* what is there: present values stay (no_replace), lists are put in front (prepend),
which gives back the order in which people wrote them.
Documented in https://cloudinit.readthedocs.io/en/latest/reference/merging.html; checked against cloud-init 22.4 and 26.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText
from pathlib import PurePath

import yaml

from moltfleet.adapters.clouddocument import Document, Kind, check_documents
from moltfleet.model.errors import InvalidInput
from moltfleet.model.recipe import CloudConfig, GuestIdentity

# No str() among them: with it, a list coming in under a text would replace the text.
MERGE_TYPE = "list(prepend)+dict(no_replace,recurse_list)"
_BASE_ORIGIN = "moltfleet.yaml"
_LARGEST = 8 << 20
_UNPRINTABLE_IN_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def golden_user_data(identity: GuestIdentity, documents: Sequence[CloudConfig] = ()) -> bytes:
    """Compose what the guest of a golden build is told. Raises: InvalidInput."""
    return _compose(_Base.of(identity), documents)


def clone_user_data(identity: GuestIdentity, documents: Sequence[CloudConfig] = ()) -> bytes:
    """Compose what a clone is told: who it is, and nothing that takes time. Raises: InvalidInput."""
    return _compose(_CloneBase.of(identity), documents)


@dataclass(frozen=True, slots=True)
class _User:
    name: str
    ssh_authorized_keys: tuple[str, ...]
    groups: tuple[str, ...] = ("sudo", "adm")
    shell: str = "/bin/bash"
    sudo: str = "ALL=(ALL) NOPASSWD:ALL"
    lock_passwd: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class _Base:
    """The base document, in cloud-config's own keys."""

    hostname: str
    preserve_hostname: bool = False
    # sudo looks the host's own name up; "localhost" adds that one line, and leaves the rest of /etc/hosts alone.
    manage_etc_hosts: str = "localhost"
    users: tuple[_User, ...]
    disable_root: bool = True
    ssh_pwauth: bool = False
    ssh_deletekeys: bool = True
    # With ssh_keys present nothing is generated; an empty list here would fail cloud-init's schema.
    ssh_genkeytypes: tuple[str, ...] = ("ed25519",)
    ssh_keys: dict[str, str] = field(repr=False)
    ssh: dict[str, bool] = field(default_factory=lambda: {"emit_keys_to_console": False})
    no_ssh_fingerprints: bool = True
    # Leave it as the image has it: on a Debian without the package "locales" it is an error. Text, as the schema says.
    locale: str = "false"
    growpart: dict[str, object] = field(default_factory=lambda: {"mode": "auto", "devices": ["/"]})
    resize_rootfs: bool = True

    @classmethod
    def of(cls, identity: GuestIdentity) -> _Base:
        """Fill in who the guest is."""
        private = identity.host_key.private.rstrip("\n") + "\n"
        return cls(
            hostname=identity.hostname,
            users=(_User(identity.user, identity.authorized_keys),),
            ssh_keys={"ed25519_private": private, "ed25519_public": identity.host_key.public},
        )

    def reserved(self) -> dict[str, object]:
        """Settings that no document may contradict: without them the guest could not be known or logged in to."""
        kept = ("hostname", "preserve_hostname", "ssh_deletekeys", "ssh_genkeytypes", "ssh_keys", "ssh_pwauth")
        return {**{key: _plain(getattr(self, key)) for key in kept}, "fqdn": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class _CloneBase(_Base):
    """What a clone adds: the golden's packages are there, so nothing of apt or GRUB is touched."""

    apt: dict[str, bool] = field(default_factory=lambda: {"preserve_sources_list": True})
    package_update: bool = False
    package_upgrade: bool = False
    package_reboot_if_required: bool = False
    grub_dpkg: dict[str, bool] = field(default_factory=lambda: {"enabled": False})


class _Dumper(yaml.SafeDumper):
    """Writes text of several lines as such, for people to read."""


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _compose(base: _Base, documents: Sequence[CloudConfig]) -> bytes:
    text = "#cloud-config\n" + yaml.dump(asdict(base), Dumper=_Dumper, sort_keys=False, width=4096)
    checked = check_documents([CloudConfig(_BASE_ORIGIN, text), *documents], reserved=base.reserved())
    composed = text.encode() if len(checked) == 1 else _multipart(_in_sending_order(checked))
    if len(composed) > _LARGEST:
        raise InvalidInput(f"User data is larger than {_LARGEST >> 20} MiB in all", hint="Copy large files by script.")
    return composed


def _in_sending_order(documents: Sequence[Document]) -> list[Document]:
    settings = [document for document in documents if document.is_merged]
    return [*reversed(settings), *(document for document in documents if not document.is_merged)]


def _multipart(documents: Sequence[Document]) -> bytes:
    message = MIMEMultipart(boundary=_boundary(documents))
    for number, document in enumerate(documents, start=1):
        message.attach(_part(number, document))
    return message.as_bytes()


def _part(number: int, document: Document) -> MIMEText:
    # Beyond ASCII as base64: cloud-init 22.4 loses 8-bit characters on the way through Python's email package.
    part = MIMEText(document.text, document.kind.value, "us-ascii" if document.text.isascii() else "utf-8")
    del part["MIME-Version"]
    if document.is_merged:
        part["Merge-Type"] = MERGE_TYPE
    # cloud-init runs scripts in the order of their file names.
    part.add_header("Content-Disposition", "attachment", filename=f"{number:03d}-{_file_name(document)}")
    return part


def _file_name(document: Document) -> str:
    name = _UNPRINTABLE_IN_NAME.sub("-", PurePath(document.origin).name).strip("-.")[-60:]
    return name or ("settings" if document.kind is Kind.CLOUD_CONFIG else "part")


def _boundary(documents: Iterable[Document]) -> str:
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.text.encode() + b"\0")
    return f"=={digest.hexdigest()[:32]}=="
