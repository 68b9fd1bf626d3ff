"""Keep the npm registry of a lab: plain files that its web server hands out; publish nothing beyond the lab."""

from __future__ import annotations

import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labhost.errors import LabError
from labhost.packages import find_missing, format_install_line
from labhost.place import WWW_PORT, Place

ADDRESS = f"http://GATEWAY:{WWW_PORT}/npm/"
CACHE = Path("/var/cache/moltfleet/npm")
# What the guests are; npm asks for the description of every package, and takes only what fits.
GUEST = {"os": "linux", "cpu": "x64", "libc": "glibc"}

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A package that the asked ones depend on, and what npm knows of it without having fetched it."""

    name: str
    version: str
    known: Mapping[str, Any]

    @property
    def fits(self) -> bool:
        """Whether a guest would take it."""
        return all(value in self.known.get(key, [value]) for key, value in GUEST.items())


def add_packages(place: Place, specs: Sequence[str], *, gateway: str) -> tuple[str, ...]:
    """Add the packages and all that they depend on; return what was fetched, as NAME@VERSION."""
    missing = find_missing({"npm": "npm"})
    if missing:
        raise LabError(f"Not installed: {', '.join(missing)}", hint=format_install_line(missing), code=7)
    if not place.www.is_dir():
        raise LabError(f"Lab {place.name!r} does not exist", hint=f"scripts/lab up --name {place.name}", code=3)
    registry = place.www / "npm"
    archives = registry / "archives"
    archives.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="moltfleet-npm.") as folder:
        wanted = tuple(resolve(Path(folder), specs))
        fitting = [f"{package.name}@{package.version}" for package in wanted if package.fits]
        packed = json.loads(npm(Path(folder), "pack", "--json", "--pack-destination", str(archives), *fitting))
    files = {(item["name"], item["version"]): item for item in packed}
    address = f"{ADDRESS.replace('GATEWAY', gateway)}archives/"
    for package in wanted:
        item = files.get((package.name, package.version))
        manifest = describe_absent(package) if item is None else read_manifest(archives, item, address)
        write_document(registry / package.name, manifest)
    return tuple(fitting)


def resolve(folder: Path, specs: Sequence[str]) -> Iterator[Wanted]:
    """Find every package that npm would want, for whatever machine, and install none."""
    (folder / "package.json").write_text("{}")
    npm(folder, "install", "--package-lock-only", "--ignore-scripts", "--no-audit", "--no-fund", *specs)
    lock = json.loads((folder / "package-lock.json").read_text())
    seen = set()
    for where, entry in lock["packages"].items():
        # An alias has its real name inside; what is bundled comes with its owner.
        key = (entry.get("name") or where.rpartition("node_modules/")[2], entry.get("version"))
        if where and not entry.get("inBundle") and key not in seen:
            seen.add(key)
            yield Wanted(*key, known=entry)


def read_manifest(archives: Path, item: Mapping[str, Any], address: str) -> Manifest:
    """Read what a packed package says of itself, and add where it is and its checksum."""
    name = item["filename"].replace("@", "").replace("/", "-")
    with tarfile.open(archives / name) as archive:
        path = next(path for path in archive.getnames() if path.count("/") == 1 and path.endswith("/package.json"))
        content = archive.extractfile(path)
        manifest: Manifest = json.load(content) if content else {}
    if isinstance(manifest.get("bin"), str):
        manifest["bin"] = {manifest["name"].rpartition("/")[2]: manifest["bin"]}
    manifest["dist"] = {"tarball": address + name, "integrity": item["integrity"], "shasum": item["shasum"]}
    return manifest


def describe_absent(package: Wanted) -> Manifest:
    """Describe a package that no guest takes, just far enough that npm passes it over."""
    limits = {key: package.known[key] for key in GUEST if key in package.known}
    return {"name": package.name, "version": package.version, "dist": {"tarball": "none:"}, **limits}


def write_document(path: Path, manifest: Manifest) -> None:
    """Add a version to a package's document, the one that npm asks for first."""
    document = json.loads(path.read_text()) if path.exists() else {"name": manifest["name"], "versions": {}}
    document["versions"][manifest["version"]] = manifest
    document["dist-tags"] = {"latest": choose_latest(document["versions"])}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))


def choose_latest(versions: Iterable[str]) -> str:
    """Return the highest version; one with a suffix, such as a machine's name, counts below all without."""
    return max(versions, key=lambda version: ("-" not in version, [int(n) for n in version.split("-")[0].split(".")]))


def npm(folder: Path, *arguments: str) -> str:
    """Run npm with a cache of its own and return its output; raise with what it complained of."""
    options = ("--cache", str(CACHE), "--loglevel", "error")
    result = subprocess.run(["npm", *arguments, *options], cwd=folder, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        said = [line for line in result.stderr.splitlines() if line.strip() and "error code" not in line]
        raise LabError(f"npm failed: {said[0] if said else result.returncode}", code=7)
    return result.stdout
