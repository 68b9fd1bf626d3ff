"""A second moltfleet beside the installed one, whose guest tools differ in one line, and so are another version."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import moltfleet
from moltfleet.adapters.resources import find_directory

from .conftest import User


@dataclass(slots=True)
class NewerUser(User):
    """A user who runs that one. ``pid_file`` is where the next command writes its process id."""

    site: str = ""
    pid_file: str = f"/tmp/moltfleet-newer-{os.getpid()}.pid"

    def argv(self, *arguments: str) -> list[str]:
        """The whole command line; its process can be found, and killed, by its number.

        From a directory without a moltfleet in it, which Python would take before any other.
        """
        script = f'echo $$ > {self.pid_file}; cd /; PYTHONPATH={self.site} exec "$@"'
        program = (sys.executable, "-m", "moltfleet", *self.settings, *arguments)
        return self.lab.argv(("sh", "-c", script, "-", *program), user=self.name)


@contextmanager
def newer_user(owner: User) -> Iterator[NewerUser]:
    """Make the other moltfleet, for as long as the context lasts."""
    site = Path(tempfile.mkdtemp(prefix="moltfleet-newer.", dir="/var/tmp"))
    try:
        package = site / "moltfleet"
        ignored = shutil.ignore_patterns("__pycache__", "data")
        shutil.copytree(Path(moltfleet.__file__).parent, package, ignore=ignored)
        for name in ("bootstrap", "cloud-init"):
            shutil.copytree(find_directory(name), package / "data" / name, ignore=ignored)
        with (package / "data/bootstrap/guest/moltguest/__init__.py").open("a") as file:
            file.write("# Another version.\n")
        site.chmod(0o755)
        yield NewerUser(owner.lab, owner.name, owner.settings, owner.uri, site=str(site))
    finally:
        shutil.rmtree(site)
