"""Keep the small apt repository that a lab's guests install from; publish nothing beyond the lab."""

from __future__ import annotations

import fcntl
import gzip
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from images import mirrors

from labhost.errors import LabError
from labhost.packages import REPOSITORY, find_missing, format_install_line
from labhost.place import WWW_PORT, Place

CACHE = Path("/var/cache/moltfleet")
BINARY = Path("dists/lab/main/binary-amd64")
SOURCE_LINE = f"deb [trusted=yes] http://GATEWAY:{WWW_PORT}/debian lab main"


def add_packages(place: Place, names: Sequence[str], *, image: Path, release: str) -> tuple[str, ...]:
    """Add the packages, and what the image lacks of their dependencies; return the files' names."""
    status = image.with_name(image.name + ".status")
    if not status.exists():
        raise LabError(f"Image {image} has no list of its packages", hint="scripts/build-debian-image", code=3)
    archives = CACHE / "debs" / release
    with (
        opened_repository(place) as pool,
        tempfile.TemporaryDirectory(prefix="moltfleet-apt.") as folder,
        held(archives),
    ):
        configuration = write_private_apt(Path(folder), status, release, archives)
        apt(configuration, "update")
        install = ("--yes", "--no-install-recommends", "install", *names)
        listing = apt(configuration, "-o", f"Dir::Cache::archives={folder}/none", "--print-uris", *install)
        files = re.findall(r"^'[^']+' (\S+) \d+", listing, re.MULTILINE)
        apt(configuration, "--download-only", *install)
        for name in files:
            shutil.copy2(archives / name, pool / unquote(name).replace(":", "%3a"))
    return tuple(files)


def write_private_apt(folder: Path, status: Path, release: str, archives: Path) -> Path:
    """Write an apt configuration that sees the image's packages instead of this machine's."""
    lists = CACHE / "lists" / release
    for path in (archives / "partial", lists / "partial", folder / "none" / "partial", folder / "state"):
        path.mkdir(parents=True, exist_ok=True)
    sources, configuration = folder / "sources.list", folder / "apt.conf"
    sources.write_text("\n".join(mirrors.list_sources(release)) + "\n")
    shutil.copy(status, folder / "state" / "status")
    settings = {
        "Dir::Etc::Parts": "/dev/null",
        "Dir::Etc::SourceList": sources,
        "Dir::Etc::SourceParts": "/dev/null",
        "Dir::State": folder / "state",
        "Dir::State::Lists": lists,
        "Dir::State::Status": folder / "state" / "status",
        "Dir::Cache": folder,
        "Dir::Cache::Archives": archives,
        "APT::Sandbox::User": "root",
        "APT::Architecture": "amd64",
        "Acquire::Languages": "none",
    }
    lines = [f'{key} "{value}";' for key, value in settings.items()]
    configuration.write_text("\n".join((*lines, *mirrors.list_options())) + "\n")
    return configuration


def bump_package(place: Place, name: str) -> str:
    """Build the next version of a made-up package, add it, and return the version."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9+.-]+", name):
        raise LabError(f"Package name {name!r} is not one that dpkg takes", code=2)
    with opened_repository(place) as pool, tempfile.TemporaryDirectory(prefix="moltfleet-deb.") as folder:
        version = f"1.{len(list(pool.glob(f'{name}_1.*_all.deb')))}"
        tree = Path(folder) / "tree"
        (tree / "DEBIAN").mkdir(parents=True)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: Lab <lab@localhost>\n"
            f"Description: made-up package of the lab\n"
        )
        content = tree / "usr/share" / name / "version"
        content.parent.mkdir(parents=True)
        content.write_text(version + "\n")
        tree.chmod(0o755)
        run("dpkg-deb", "--root-owner-group", "--build", str(tree), str(pool / f"{name}_{version}_all.deb"))
    return version


@contextmanager
def opened_repository(place: Place) -> Iterator[Path]:
    """Hold the repository's lock, give its pool, and write the index afterwards."""
    missing = find_missing(REPOSITORY)
    if missing:
        raise LabError(f"Not installed: {', '.join(missing)}", hint=format_install_line(missing), code=7)
    if not place.www.is_dir():
        raise LabError(f"Lab {place.name!r} does not exist", hint=f"scripts/lab up --name {place.name}", code=3)
    pool = place.www / "debian" / "pool"
    pool.mkdir(parents=True, exist_ok=True)
    with held(place.www):
        yield pool
        write_index(place.www / "debian")


@contextmanager
def held(directory: Path) -> Iterator[None]:
    """Hold a directory's lock, and wait for it: apt gives up where another lab is at work in the same cache."""
    directory.mkdir(parents=True, exist_ok=True)
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def write_index(repository: Path) -> None:
    """Write Packages and Release for what is in the pool."""
    (repository / BINARY).mkdir(parents=True, exist_ok=True)
    packages = run("apt-ftparchive", "packages", "pool", folder=repository).encode()
    replace(repository / BINARY / "Packages", packages)
    replace(repository / BINARY / "Packages.gz", gzip.compress(packages))
    options = [f"-oAPT::FTPArchive::Release::{key}=lab" for key in ("Origin", "Suite", "Codename")]
    options += ["-oAPT::FTPArchive::Release::Components=main", "-oAPT::FTPArchive::Release::Architectures=amd64"]
    release = run("apt-ftparchive", *options, "release", "dists/lab", folder=repository)
    lines = (line for line in release.splitlines() if not line.endswith(" Release"))  # the old one's own sums
    replace(repository / "dists/lab/Release", "".join(f"{line}\n" for line in lines).encode())


def replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old one or the new one; hidden, as apt-ftparchive lists the rest."""
    temporary = path.parents[0] / f".{path.name}.tmp"
    temporary.write_bytes(content)
    temporary.replace(path)


def apt(configuration: Path, *arguments: str) -> str:
    """Run apt-get with a private configuration."""
    return run("apt-get", *arguments, environment={"APT_CONFIG": str(configuration)})


def run(*argv: str, folder: Path | None = None, environment: dict[str, str] | None = None) -> str:
    """Run a program and return its output; raise with the last line it said."""
    merged = {**os.environ, "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive", **(environment or {})}
    result = subprocess.run(argv, cwd=folder, env=merged, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if result.returncode != 0:
        said = (result.stderr or result.stdout).strip().splitlines()
        raise LabError(f"{argv[0]} failed: {said[-1] if said else result.returncode}", code=7)
    return result.stdout
