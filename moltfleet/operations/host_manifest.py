"""The manifest of what containment wrote on this host: kept before the first change, so that any run can be undone."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.containment import ContainedFile, Entry, Manifest, Phase, digest_of
from moltfleet.model.errors import HostUnavailable, WrongState
from moltfleet.operations import host_files as files

if TYPE_CHECKING:
    from moltfleet.operations.host import Host

# In a directory that is always there: one of its own would outlive it when a removal is killed at its very end.
MANIFEST_PATH = "/var/lib/moltfleet-host.json"
_LOG = logging.getLogger(__name__)


def require_root(host: Host) -> None:
    """Refuse to begin what would fail halfway. Raises: HostUnavailable."""
    if not host.machine.is_root():
        raise HostUnavailable(
            "Only root can change this host",
            hint="Run it with sudo; with --config FILE for settings of your own, as root has other ones.",
        )


def read_manifest(host: Host) -> Manifest | None:
    """What was written before; None when nothing was. Raises: WrongState."""
    text = host.machine.read(MANIFEST_PATH)
    return None if text is None else Manifest.from_json(text)


def write_manifest(host: Host, manifest: Manifest) -> None:
    """Keep it, in one step."""
    host.machine.write(MANIFEST_PATH, manifest.to_json(), mode=0o644)


def begin_manifest(host: Host, before: Manifest | None, wanted: tuple[ContainedFile, ...], earlyoom: str) -> Manifest:
    """Make the manifest of a run that is to begin: every content that a file of ours can have until its end.

    How the unit ``earlyoom`` was found, is what the first of all runs found.
    """
    state = host.unit(earlyoom, "UnitFileState", "ActiveState")
    previous = before or Manifest(
        Phase.INSTALLING,
        was_enabled=state.get("UnitFileState") == "enabled",
        was_active=state.get("ActiveState") == "active",
    )
    written = {file.path for file in wanted}
    stale = tuple(entry for entry in previous.entries if entry.path not in written)
    made = (new for path in written for new in host.machine.missing_directories(path))
    return replace(
        previous,
        phase=Phase.INSTALLING,
        entries=(*(_entry(host, file, previous.find(file.path)) for file in wanted), *stale),
        directories=tuple(sorted({*previous.directories, *made})),
    )


def _entry(host: Host, file: ContainedFile, before: Entry | None) -> Entry:
    """The entry of a file; what somebody else had at that place is kept in it."""
    now = host.machine.read(file.path)
    digests = tuple(dict.fromkeys((digest_of(file.content), *(before.digests if before else ()))))
    if before is not None:
        if file.merged and now is not None and digest_of(now) not in before.digests:
            # Edited since: what they have now, without our part, is what they get back.
            return replace(before, digests=digests, original=files.unmerge_docker_settings(now))
        return replace(before, digests=digests)
    if now is None or (now == file.content and not file.merged):
        return Entry(file.path, digests, merged=file.merged)
    return Entry(file.path, digests, now, host.machine.mode(file.path), file.merged)


def settled(manifest: Manifest, wanted: Iterable[ContainedFile]) -> Manifest:
    """The manifest at the end of a run: one content per file, and only the files that are to be there."""
    written = {file.path for file in wanted}
    entries = tuple(replace(e, digests=e.digests[:1]) for e in manifest.entries if e.path in written)
    return replace(manifest, phase=Phase.INSTALLED, entries=entries)


def require_unedited(host: Host, manifest: Manifest | None, wanted: tuple[ContainedFile, ...] = ()) -> None:
    """Refuse when a file that is to be written or removed is not by our hand. Raises: WrongState, with their names.

    A merged file is somebody else's anyway: our part is taken out of whatever it is by then.
    """
    entries = () if manifest is None else manifest.entries
    known: dict[str, set[str]] = {entry.path: set(entry.digests) for entry in entries if not entry.merged}
    for file in wanted:
        if not file.merged:
            known.setdefault(file.path, set()).add(digest_of(file.content))
    paths = [path for path, digests in known.items() if _is_foreign(host, path, digests)]
    if paths:
        raise WrongState(
            f"Changed by other hands: {', '.join(paths)}",
            hint="Move the change into a file of your own beside it, or add --discard-edits.",
        )


def _is_foreign(host: Host, path: str, digests: set[str]) -> bool:
    content = host.machine.read(path)
    return content is not None and digest_of(content) not in digests


def put_back(host: Host, entry: Entry) -> None:
    """Take a file of ours away, or our part out of somebody's: exactly as it was, unless they edited it since."""
    now = host.machine.read(entry.path)
    content = entry.original
    if entry.merged and now is not None and digest_of(now) not in entry.digests:
        content = files.unmerge_docker_settings(now)
    if content is None:
        host.machine.remove(entry.path)
    elif content != now:
        host.machine.write(entry.path, content, mode=entry.original_mode)
    _LOG.info("took %s away", entry.path)
