"""Frame a build: is it needed, what does each step take, and what must be undone when it stops."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from images.errors import BuildError

LIBRARY = Path(__file__).parent
END_TIMEOUT_S = 10.0


def compute_recipe(program: Path, *options: str, extra: Iterable[Path] = ()) -> str:
    """Return a digest of everything that decides what the image will be, but for package versions."""
    digest = hashlib.sha256()
    for path in (program, *sorted(LIBRARY.glob("*.py")), *sorted(extra)):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    for option in options:
        digest.update(b"\0" + option.encode())
    return digest.hexdigest()


def is_up_to_date(output: Path, recipe: str) -> bool:
    """Say whether the output was built from this recipe."""
    beside = get_recipe_path(output)
    return output.exists() and beside.exists() and beside.read_text().strip() == recipe


def get_recipe_path(output: Path) -> Path:
    """Return where an image's recipe digest is kept."""
    return output.with_name(output.name + ".recipe")


def publish(work: Path, output: Path, recipe: str, companions: dict[str, Path]) -> None:
    """Move the finished image and its companions (by suffix) into place; the image comes last but one."""
    get_recipe_path(output).unlink(missing_ok=True)
    for suffix, path in companions.items():
        _move(path, output.with_name(output.name + suffix))
    _move(work, output)
    note = work.with_name("recipe")
    note.write_text(recipe + "\n")
    _move(note, get_recipe_path(output))


def _move(source: Path, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        shutil.move(source, temporary)
        temporary.chmod(0o644)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a step's title, and how long it took."""
    print(f"{title} ...", end=" ", file=sys.stderr, flush=True)
    start = time.monotonic()
    try:
        yield
    except BaseException:
        print("failed", file=sys.stderr)
        raise
    print(f"{time.monotonic() - start:.1f} s", file=sys.stderr)


def run(*argv: str | Path, folder: Path | None = None, extra: dict[str, str] | None = None) -> str:
    """Run a program quietly and return its output; raise with the end of what it said."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", **(extra or {})}
    process = subprocess.Popen(
        [str(part) for part in argv],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, complaints = process.communicate()
    except BaseException:
        end_session(process)
        raise
    if process.returncode != 0:
        tail = "\n".join((output + complaints).strip().splitlines()[-15:])
        raise BuildError(f"{argv[0]} failed with status {process.returncode}:\n{tail}")
    return output


def end_session(process: subprocess.Popen[str]) -> None:
    """End an interrupted program with all its children: politely, so that it cleans up, then by force."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError, subprocess.TimeoutExpired):
            os.killpg(process.pid, signal_number)
            process.wait(END_TIMEOUT_S)


@contextmanager
def work_directory() -> Iterator[Path]:
    """Make a scratch directory and remove it, also on Ctrl-C and SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = Path(tempfile.mkdtemp(prefix="moltfleet-image.", dir=os.environ.get("TMPDIR", "/var/tmp")))
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        remove_tree(folder)


def remove_tree(folder: Path) -> None:
    """Unmount whatever is still mounted below the directory, then remove it."""
    mounts = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for mount in sorted((m for m in mounts if m.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", mount], check=False)
    shutil.rmtree(folder, ignore_errors=True)


def parse_size(text: str) -> int:
    """Return bytes for a size such as 4G or 512M."""
    match = re.fullmatch(r"(\d+)([MG])", text)
    if match is None:
        raise BuildError(f"Size {text!r} is not a number followed by M or G", code=2)
    return int(match[1]) * {"M": 2**20, "G": 2**30}[match[2]]


def require(wanted: Sequence[str]) -> None:
    """Raise with the install line when a program of these packages is missing."""
    from labhost import packages  # the one list of host packages

    missing = packages.find_missing({name: packages.EVERYTHING[name] for name in wanted})
    if missing:
        raise BuildError(f"Not installed: {', '.join(missing)}", hint=packages.format_install_line(missing))
    if os.geteuid() != 0:
        raise BuildError("Building an image needs root", hint="Run it with sudo.")
