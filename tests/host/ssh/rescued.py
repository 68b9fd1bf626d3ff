"""A clone whose guest is a private sshd on this machine, with a made-up home; real git and tar on both sides."""

from __future__ import annotations

import os
import pwd
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fakes import World, a_world
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.rescue.store import RescueFiles
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.rescue import Manifest, RescueResult
from moltfleet.model.size import Size
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.rescue import rescue

PLAIN = {
    "PATH": os.environ["PATH"], "HOME": "/nonexistent", "LC_ALL": "C.UTF-8", "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "crab", "GIT_AUTHOR_EMAIL": "crab@example.org",
    "GIT_COMMITTER_NAME": "crab", "GIT_COMMITTER_EMAIL": "crab@example.org",
}  # fmt: skip


def git(where: Path, *words: str, input: bytes = b"") -> str:
    """Run git as a person does; it must succeed."""
    argv = ["git", "-c", "init.defaultBranch=main", "-C", str(where), *words]
    return subprocess.run(argv, env=PLAIN, input=input, check=True, capture_output=True).stdout.decode().strip()


class Bootstrap(BootstrapFiles):
    """The real programs; the guest's tmux is not that of this machine. ``before`` is what a guest does with them."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home
        self.before = ""

    def read(self, name: str) -> bytes:
        settings = f"TMUX_TMPDIR={self.home} MOLTFLEET_ROOT={self.home}; export TMUX_TMPDIR MOLTFLEET_ROOT\n"
        return f"{settings}{self.before}\n".encode() + super().read(name)


@dataclass
class Clone:
    """crab-1: ``home`` is what its guest has, ``kept`` what this machine keeps of it."""

    world: World
    fleet: Fleet
    home: Path
    kept: Path
    bootstrap: Bootstrap

    def does(self, **acts: str) -> None:
        """Let the guest do something else than it is asked, in shell, for each named act."""
        cases = "".join(f"{act}) {shell} ;;\n" for act, shell in acts.items())
        self.bootstrap.before = f"case $1 in\n{cases}esac"

    def rescue(self) -> RescueResult:
        return rescue(self.fleet, "crab-1", reason="a test")

    def manifest(self, result: RescueResult) -> Manifest:
        (saved,) = [saved for saved in self.fleet.rescues.saved() if saved.directory == result.directory]
        assert saved.manifest is not None
        assert self.fleet.rescues.verify(saved) == ()
        return saved.manifest

    def repository(self, name: str = "app", *, remote: bool = True) -> Path:
        """Make a repository with a commit, which its remote has when it has one."""
        where = self.home / "work/repos" / name
        where.mkdir(parents=True)
        git(where, "init", "--quiet")
        (where / "main.c").write_text("one\ntwo\nthree\n")
        (where / ".gitignore").write_text("*.o\n")
        git(where, "add", ".")
        git(where, "commit", "--quiet", "-m", "first")
        if remote:
            there = self.home.parent / f"remotes/{name}.git"
            git(self.home, "clone", "--quiet", "--bare", str(where), str(there))
            git(where, "remote", "add", "origin", str(there))
            git(where, "fetch", "--quiet", "origin")
        return where


def a_clone(server: Any, tmp_path: Path, *, is_root: bool = False, **settings: Any) -> Clone:
    """Make it; ``settings`` are those under [rescue]."""
    home, kept = tmp_path / "home/agent", tmp_path / "kept"
    (home / "work/artifacts").mkdir(parents=True)
    wanted = {
        "roots": [str(home / "work/repos")],
        "paths": [str(home / "work/artifacts")],
        "seconds": 60.0,
        "directory": str(kept),
        **settings,
    }
    world = a_world(clones=("crab-1",), rescue=wanted, emulation_factor=1)
    record = world.record("crab-1")
    attachment = replace(record.attachment, kind="user", ssh_port=server.endpoint.port)
    user = pwd.getpwuid(os.getuid()).pw_name
    changed = replace(record, attachment=attachment, host_keys=server.endpoint.host_keys, user=user)
    world.hypervisor.write_record("crab-1", changed)
    config = world.config.rescue
    store = RescueFiles(
        kept, per_clone=config.per_clone, total=config.total, is_root=is_root, measure_free=lambda _: Size.of_gib(50)
    )
    bootstrap = Bootstrap(home)
    fleet = replace(world.fleet, guests=server.guests(), bootstrap=bootstrap, clock=SystemClock(), rescues=store)
    return Clone(world, fleet, home, kept, bootstrap)
