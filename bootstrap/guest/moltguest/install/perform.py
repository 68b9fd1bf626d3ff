"""Installing and removing, step by step: whatever interrupts them, the old version works, or the next try completes it.

The order of an installation: the new tree beside the old one, tried; the record of all that is about to be; the files;
everything on disk; the link that counts. So removing finds whatever was put there, at any moment.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace

from moltguest import settings
from moltguest.install.merge import merge, plan, unmerge, wanted
from moltguest.install.places import Place, places
from moltguest.install.record import PATH, UNFINISHED, Record, read_record, write_file, write_link, write_record
from moltguest.install.status import digest_at
from moltguest.install.system import LINGER, WATCHDOG, System
from moltguest.install.tree import CURRENT, HOME, digest, digest_of_tree, read_tree, why_it_fails, write_tree

_STORE = f"{HOME}/saved"


class Failed(Exception):
    """It was not done, and what was there before still works."""


def install(source: str, version: str, root: str = "/") -> list[str]:
    """Install the tree at ``source``. Returns what is not as it should be beside that. Raises: Failed, OSError."""
    files = read_tree(source)
    if not {"install.py", "bin/moltfleet-watchdog", "moltguest/__init__.py"} <= files.keys():
        raise Failed(f"{source} does not hold the tools")
    system = System(root)
    before = _begin(root, version)
    _put_tree(files, version, root, before, live=system.is_live)
    found = places(files, version, settings.read(root)[0].agents)
    wished = [place for place in found if _may_fill(root, place, before)]
    record = _planned(files, version, wished, before, system, root)
    _announce(root, before, record)
    changed = _fill(root, wished)
    changed |= _merge(root, before, record)
    system.linger(record.lingering)
    os.sync()
    was = _link_at(root, CURRENT)
    write_link(os.path.join(root, CURRENT), version)
    if system.is_live:
        system.take_up(changed)
        _start_watchdog(system, root, before, record, was)
    _forget(root, before, record, was)
    return system.problems


def remove(root: str = "/") -> list[str]:
    """Take everything away, and put back what it stood in the place of. Returns what could not be. Raises: OSError."""
    record = read_record(root) or Record()
    system = System(root)
    if system.is_live:
        system.run("systemctl", "stop", WATCHDOG)
    for path, note in record.merged.items():
        if problem := unmerge(root, path, note):
            system.problems.append(problem)
        _take(root, path + UNFINISHED)
    _take_all(root, record)
    system.unlinger(record.lingering)
    # Last of the files: until then a second try finds what is left.
    _take(root, PATH)
    for folder in sorted(record.folders, reverse=True):
        _take_folder(root, folder)
    if system.is_live:
        system.do("systemctl", "daemon-reload")
        system.restart_readers(record.files)
    return system.problems


def _take_all(root: str, record: Record) -> None:
    trees = tuple(f"{HOME}/{version}/" for version in record.versions)
    for path in record.files:
        if path in record.saved:
            _give_back(root, path)
        elif not path.startswith(trees):
            _take(root, path)
    _take(root, CURRENT)
    for version in record.versions:
        _take_tree(root, version)
    shutil.rmtree(os.path.join(root, _STORE), ignore_errors=True)


def _begin(root: str, version: str) -> Record:
    """Write down that a tree of this version is about to be there; returns what there was before."""
    before = read_record(root) or Record()
    before.folders = sorted({*before.folders, *_lacking(root, [PATH])})
    write_record(root, replace(before, versions=sorted({*before.versions, version})))
    return before


def _put_tree(files: dict[str, bytes], version: str, root: str, before: Record, *, live: bool) -> None:
    """Put the tree where it belongs, tried; one of the same content that is there already stays."""
    final = os.path.join(root, HOME, version)
    if os.path.isdir(final) and digest_of_tree(read_tree(final)) == digest_of_tree(files):
        return
    write_tree(files, f"{final}.new", f"/{HOME}/{version}")
    if why := why_it_fails(f"{final}.new", live=live):
        _take_tree(root, version, whole=False)
        _end(root, before)
        raise Failed(f"version {version} does not work here: {why}")
    if os.path.isdir(final):
        os.rename(final, f"{final}.old")
    os.rename(f"{final}.new", final)
    _take_tree(root, version, whole=False)


def _end(root: str, before: Record) -> None:
    """Nothing came of it: the record is again as it was."""
    if before.versions:
        write_record(root, before)
    else:
        _take(root, PATH)


def _may_fill(root: str, place: Place, before: Record) -> bool:
    return not place.shy or place.path in before.files or not os.path.lexists(os.path.join(root, place.path))


def _planned(
    files: dict[str, bytes], version: str, wished: list[Place], before: Record, system: System, root: str
) -> Record:
    """Return the record of what is about to be."""
    record = Record(version, digest_of_tree(files))
    record.files = {f"{HOME}/{version}/{path}": digest(content) for path, content in files.items()}
    record.files |= {place.path: place.digest for place in wished}
    foreign = [p.path for p in wished if p.path not in before.files and digest_at(root, p.path) is not None]
    record.saved = sorted({*before.saved, *foreign})
    record.merged = dict(before.merged)
    for path, change in wanted(root).items():
        note, problem = plan(root, path, change)
        if problem:
            system.problems.append(problem)
        if note and "before" in before.merged.get(path, {}):
            note["before"] = before.merged[path]["before"]
        if note:
            record.merged[path] = note
    record.lingering = sorted({*before.lingering, *system.not_lingering()})
    record.versions = sorted({*before.versions, version})
    marks = [f"{LINGER}/{name}" for name in record.lingering]
    record.folders = sorted({*before.folders, *_lacking(root, [*record.files, *record.merged, *marks])})
    return record


def _lacking(root: str, paths: list[str]) -> set[str]:
    """Return the folders that have to be made for these files, those of trees left out."""
    found = set()
    for path in paths:
        folder = os.path.dirname(path)
        while folder and not os.path.isdir(os.path.join(root, folder)):
            found.add(folder)
            folder = os.path.dirname(folder)
    return found


def _announce(root: str, before: Record, record: Record) -> None:
    """Write down what is about to be there along with what is; keep what ours takes the place of."""
    for path in record.saved:
        kept = os.path.join(root, _STORE, path)
        if path not in before.saved:
            _take(root, f"{_STORE}/{path}")
            os.makedirs(os.path.dirname(kept), mode=0o700, exist_ok=True)
            shutil.copy2(os.path.join(root, path), kept, follow_symlinks=False)
    version, tree = (before.version, before.tree) if before.version else (record.version, record.tree)
    both = Record(version, tree, {**before.files, **record.files}, record.saved, record.merged)
    both.lingering, both.folders, both.versions = record.lingering, record.folders, record.versions
    write_record(root, both)


def _fill(root: str, wished: list[Place]) -> set[str]:
    """Write whatever is not there as it should be; returns the paths of that."""
    changed = set()
    for place in wished:
        whole = os.path.join(root, place.path)
        is_same = digest_at(root, place.path) == place.digest
        if is_same and (place.target or os.stat(whole).st_mode & 0o777 == place.mode):
            continue
        if place.target:
            write_link(whole, place.target)
        else:
            write_file(whole, place.content, place.mode)
        changed.add(place.path)
    return changed


def _merge(root: str, before: Record, record: Record) -> set[str]:
    changed = {path for path, note in record.merged.items() if note is not before.merged.get(path)}
    for path in changed:
        merge(root, path, record.merged[path])
    return changed


def _start_watchdog(system: System, root: str, before: Record, record: Record, was: str) -> None:
    """Restart the watchdog when it is another one now; when that fails, the version before is put back."""
    if before.tree == record.tree and system.is_active(WATCHDOG):
        return
    if system.do("systemctl", "restart", WATCHDOG):
        return
    why = system.problems[-1]
    if before.version and was == before.version != record.version:
        _go_back(system, root, before, record)
    raise Failed(f"{WATCHDOG} does not start: {why}")


def _go_back(system: System, root: str, before: Record, record: Record) -> None:
    files = read_tree(os.path.join(root, HOME, before.version))
    found = places(files, before.version, settings.read(root)[0].agents)
    _fill(root, [place for place in found if place.path in before.files])
    for path in record.files:
        if path not in before.files and not path.startswith(f"{HOME}/{record.version}/"):
            _take(root, path)
    write_link(os.path.join(root, CURRENT), before.version)
    # Merged words, lingering and kept files stay as they are now.
    write_record(root, replace(record, version=before.version, tree=before.tree, files=before.files))
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", WATCHDOG)


def _forget(root: str, before: Record, record: Record, was: str) -> None:
    """Take away what only older versions had, and all trees but this one and the one before."""
    for path in before.files:
        if path not in record.files and not path.startswith(tuple(f"{HOME}/{name}/" for name in before.versions)):
            _take(root, path)
    for path in [path for path in record.saved if path not in record.files]:
        _give_back(root, path)
        record.saved.remove(path)
    previous = was if was != record.version else next((v for v in before.versions if v != record.version), "")
    for version in record.versions:
        if version not in (record.version, previous):
            _take_tree(root, version)
    record.versions = sorted({record.version, previous} - {""})
    write_record(root, record)


def _take_tree(root: str, version: str, *, whole: bool = True) -> None:
    """Remove a version, or only what an interrupted installation left beside it."""
    for ending in ("", ".new", ".old") if whole else (".new", ".old"):
        shutil.rmtree(os.path.join(root, HOME, version + ending), ignore_errors=True)


def _take(root: str, path: str) -> None:
    whole = os.path.join(root, path)
    for found in (whole, whole + UNFINISHED):
        if os.path.islink(found) or os.path.isfile(found):
            os.unlink(found)


def _take_folder(root: str, folder: str) -> None:
    try:
        os.rmdir(os.path.join(root, folder))
    except OSError:
        # Somebody has put something there since, or it has gone.
        return


def _give_back(root: str, path: str) -> None:
    """Put somebody's file where it was; one that is not in the store is there already."""
    kept = os.path.join(root, _STORE, path)
    if os.path.lexists(kept):
        os.makedirs(os.path.dirname(os.path.join(root, path)), exist_ok=True)
        shutil.move(kept, os.path.join(root, path))


def _link_at(root: str, path: str) -> str:
    try:
        return os.readlink(os.path.join(root, path))
    except OSError:
        return ""
