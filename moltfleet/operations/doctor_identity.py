"""Whether every guest is somebody of its own: MAC, address, port, host keys, ids, logins; and goldens without proof."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from moltfleet.model.doctor import Area, Finding
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.records import BuildRecord, CloneRecord, Generation, Phase
from moltfleet.operations import login_sharing

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.operations.doctor_scene import Scene

_WHY = {
    "MAC": "Two network cards with one MAC on one bridge take each other's packets.",
    "address": "Two guests with one address answer in turn, and a login may end in the wrong one.",
    "port": "Only one of them gets the forwarded port; the others do not start.",
    "host key": "Who holds the one guest's key can pose as the other, and nothing would tell.",
    "instance id": "cloud-init takes a known instance id for a reboot, and makes no identity of its own.",
}
_WHY_UNPINNED = "Without a pinned host key there is nothing to check a login against, so there is none."
_WHY_UNSEALED = (
    "A generation is published with its manifest once fresh clones of it were seen to differ; without it nobody knows "
    "that clones do not share keys and ids."
)
_WHY_LOGIN = (
    "Such a login is one for one place: whoever renews it first may log the others out, and a server that takes that "
    "for theft ends it for good."
)
_LARGEST_MANIFEST = 8 << 20


def examine(scene: Scene) -> Iterator[Finding]:
    """Compare all records with each other, also those that a command works on; then look at goldens."""
    for (what, value), names in _shared(scene.domains).items():
        if len(names) > 1:
            yield _duplicate(what, value, names)
    yield from _shared_logins(scene)
    for domain, clone in scene.clones():
        if clone.phase is Phase.READY and not clone.host_keys:
            fix = f"Save its work, then moltfleet delete {domain.name}, and create it anew."
            yield _finding("unpinned", domain.name, "its record has no host key", _WHY_UNPINNED, fix)
    for domain, golden in scene.goldens():
        for generation in golden.generations if scene.has_pool and not golden.deleting else ():
            if generation.volume in scene.volumes and not _has_manifest(scene, generation):
                fact = f"generation {generation.number} has no manifest that can be read"
                fix = f"Build the next generation, and clones of that: moltfleet golden build {domain.name}"
                yield _finding("unsealed", domain.name, fact, _WHY_UNSEALED, fix)


def _finding(kind: str, subject: str, fact: str, why: str, fix: str) -> Finding:
    return Finding(kind, Area.IDENTITY, subject, fact, why, fix)


def _shared(domains: tuple[Domain, ...]) -> dict[tuple[str, str], list[str]]:
    """Who has what, by what it is and its value; MACs and addresses count within one network."""
    found: dict[tuple[str, str], list[str]] = {}
    for domain in domains:
        for trait in set(_traits(domain)):
            found.setdefault(trait, []).append(domain.name)
    return dict(sorted(found.items()))


def _traits(domain: Domain) -> Iterator[tuple[str, str]]:
    record = domain.record
    if not isinstance(record, CloneRecord | BuildRecord):
        return
    attachment = record.attachment
    network = f" on {attachment.name}" if attachment.name else ""
    if attachment.kind == "user":
        yield "port", str(attachment.ssh_port)
    elif attachment.mac:
        yield "MAC", f"{attachment.mac.lower()}{network}"
    if attachment.address:
        yield "address", f"{attachment.address}{network}"
    yield from (("host key", key) for key in record.host_keys)
    if isinstance(record, CloneRecord):
        yield "instance id", record.instance_id


def _duplicate(what: str, value: str, names: list[str]) -> Finding:
    said = "" if what == "host key" else f" {value}"
    fact = f"{', '.join(names[1:])} has the same {what}{said}"
    fix = f"Save the work of all but one, then delete them and create them anew: moltfleet delete {' '.join(names[1:])}"
    return _finding("duplicate", names[0], fact, _WHY[what], fix)


def _shared_logins(scene: Scene) -> Iterator[Finding]:
    """Tell of logins that renew themselves and that two clones get; names alone are told."""
    fleet = scene.fleet
    known = fleet.config.logins.entries()
    for login in dict.fromkeys(fleet.config.logins.allow):
        first, *others = login_sharing.holders(fleet, scene.domains, login) or ("",)
        try:
            if others and login_sharing.renews(fleet, known[login]):
                fact = f"{', '.join(others)} is given the same login {login!r}, which renews itself"
                fix = (
                    f"Leave it in one of them: moltfleet sync-auth {' '.join(others)} --forget --only {login}. "
                    "docs/logins.md says how clones get one each."
                )
                yield _finding("shared-login", first, fact, _WHY_LOGIN, fix)
        except MoltfleetError as error:
            scene.note(error)


def _has_manifest(scene: Scene, generation: Generation) -> bool:
    if generation.manifest not in scene.volumes:
        return False
    try:
        content = scene.fleet.storage.read(generation.manifest, limit=_LARGEST_MANIFEST)
        return isinstance(json.loads(content.rstrip(b"\0")), dict)
    except ValueError:
        return False
    except MoltfleetError as error:
        scene.note(error)
        return True
