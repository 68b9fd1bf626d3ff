"""A clone whose guest is a private sshd on this machine, and a tool that renews its token whenever it is used."""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fakes import FakeClock, World, a_world
from moltfleet.adapters.loginfiles import LoginFiles
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.model.logins import SyncRequest
from moltfleet.model.requests import MoltRequest
from moltfleet.model.results import MoltResult
from moltfleet.operations import molt, sync_auth
from moltfleet.operations.fleet import Fleet
from moltfleet.operations.sync_auth import SyncResult

# A tool as they are: the token before is worth nothing from the moment that the server has handed out the next one.
TOOL = """\
import json, os, pathlib, sys, time
server, file = pathlib.Path(sys.argv[1]), pathlib.Path.home() / ".codex/auth.json"
login = json.loads(file.read_text())
if login["tokens"]["refresh_token"] != server.read_text():
    sys.exit("logged out")
number = int(server.read_text().rpartition("-")[2]) + 1
server.write_text(f"secret-{number}")
login = {"last_refresh": time.time(), "tokens": {"refresh_token": f"secret-{number}"}}
new = file.with_suffix(".new")
new.write_text(json.dumps(login))
new.chmod(0o600)
new.replace(file)
"""


class Bootstrap(BootstrapFiles):
    """The real programs, in a made-up home; ``before`` is what a guest does instead."""

    def __init__(self, home: Path) -> None:
        super().__init__()
        self.home = home
        self.before = ""

    def read(self, name: str) -> bytes:
        home = shlex.quote(str(self.home))
        settings = f"HOME={home} GIT_CONFIG_NOSYSTEM=1\nexport HOME GIT_CONFIG_NOSYSTEM\n{self.before}\n"
        return settings.encode() + super().read(name)


@dataclass
class Clone:
    """crab-1: ``home`` is its guest's, ``mine`` this machine's; ``server`` holds the one token that is good."""

    world: World
    fleet: Fleet
    home: Path
    mine: Path
    store: Path
    server: Path
    bootstrap: Bootstrap

    def use(self, home: Path) -> subprocess.CompletedProcess[str]:
        """Use the tool at a home; it renews its token, or is logged out."""
        argv = [sys.executable, "-c", TOOL, str(self.server)]
        return subprocess.run(argv, env={**os.environ, "HOME": str(home)}, capture_output=True, text=True, check=False)

    def sync(self, **request: Any) -> SyncResult:
        (result,) = sync_auth.sync_auth(self.fleet, ("crab-1",), SyncRequest(**request))
        return result

    def molt(self, **options: Any) -> MoltResult:
        (result,) = molt.molt(self.fleet, ("crab-1",), MoltRequest(**options))
        return result

    def token_at(self, home: Path) -> str:
        return str(json.loads((home / ".codex/auth.json").read_text())["tokens"]["refresh_token"])

    def wipe(self) -> None:
        """What a molt does to a disk: of the home nothing is left but what the golden had."""
        shutil.rmtree(self.home)
        self.home.mkdir(mode=0o755)


def a_clone(server: Any, tmp_path: Path, *allow: str, **settings: Any) -> Clone:
    """Make it, with the login on this machine and nothing in the guest; its restores and starts wipe the home."""
    home, mine, store = tmp_path / "the guest's/agent", tmp_path / "host/ann", tmp_path / "store"
    for directory in (home, mine / ".codex"):
        directory.mkdir(parents=True)
    world = a_world(clones=("crab-1",), logins={"allow": list(allow or ("codex",)), **settings}, emulation_factor=1)
    record = world.record("crab-1")
    attachment = replace(record.attachment, kind="user", ssh_port=server.endpoint.port)
    user = pwd.getpwuid(os.getuid()).pw_name
    changed = replace(record, attachment=attachment, host_keys=server.endpoint.host_keys, user=user)
    world.hypervisor.write_record("crab-1", changed)
    bootstrap = Bootstrap(home)
    key = world.config.logins.signing_key
    logins = LoginFiles(mine, store, signing_key=Path(key) if key else None)
    fleet = replace(
        world.fleet, guests=server.guests(), bootstrap=bootstrap, clock=Waiting(world.clock), host_logins=logins
    )
    clone = Clone(world, fleet, home, mine, store, tmp_path / "server", bootstrap)
    clone.fleet = replace(fleet, hypervisor=Wiping(world.hypervisor, clone))  # type: ignore[arg-type]
    clone.server.write_text("secret-0")
    login = {"last_refresh": 1_700_000_000, "tokens": {"refresh_token": "secret-0"}}
    (mine / ".codex/auth.json").write_text(json.dumps(login))
    return clone


class Waiting:
    """The clock of the made-up guest, whose waits take as long as they say."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now()

    def monotonic(self) -> float:
        return self._clock.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self._clock.sleep(seconds)


class Wiping:
    """A hypervisor that clears the home whenever the guest goes back to its clean point."""

    def __init__(self, inner: Any, clone: Clone) -> None:
        self._inner = inner
        self._clone = clone

    def __getattr__(self, name: str) -> Any:
        if name in ("restore", "start"):
            self._clone.wipe()
        return getattr(self._inner, name)
