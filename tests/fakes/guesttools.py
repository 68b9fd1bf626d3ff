"""The guest tools in a guest in memory: what the host's commands about them lead to there, as the installer does it."""

from __future__ import annotations

import hashlib
import io
import json
import re
import tarfile
from typing import Protocol

from moltfleet.model.domain import CommandResult

SCHEMA = "moltfleet.guest-tools/1"
TRIALS = "/tmp/moltfleet-trials.abc123"
LEAK = "/tmp/moltfleet-proof.abc_123"


class Files(Protocol):
    """A guest's files."""

    def read(self, key: str) -> str: ...

    def write(self, key: str, text: str) -> None: ...


def answer(guest: Files, command: str, input: bytes, *, lacks: str) -> CommandResult | None:
    """Answer a command about the tools; None when it is about something else.

    The file "tools" holds the version that is installed, "tools-changed" what somebody changed since.
    """
    if "install.py install" in command:
        return _install(guest, command, input)
    if "install.py remove" in command:
        guest.write("tools", "")
        return CommandResult(0, b"", b"")
    if "status --json" in command:
        return _status(guest, lacks)
    if "mktemp -d /tmp/moltfleet-trials" in command:
        with tarfile.open(fileobj=io.BytesIO(input)) as tar:
            assert "proofs.py" in tar.getnames()
        return CommandResult(0, f"{TRIALS}\n".encode(), b"")
    if "proofs.py leak-begin" in command:
        guest.write("leaking", "yes")
        return CommandResult(0, f"{LEAK}\n".encode(), b"")
    if f"test -e {LEAK}/outcome" in command:
        # Over at the second look.
        looks = guest.read("looks") + "."
        guest.write("looks", looks)
        return CommandResult(0 if len(looks) > 1 else 1, b"", b"")
    if found := re.search(r"density\.py (\d+) ", command):
        return CommandResult(0, json.dumps(stage(int(found[1]))).encode(), b"")
    if "proofs.py " in command:
        if "leak-end" in command:
            guest.write("leaking", "")
        return CommandResult(0, json.dumps({"passed": True, "tried": "this", "happened": "that"}).encode(), b"")
    return None


def _status(guest: Files, lacks: str) -> CommandResult:
    if lacks:
        return CommandResult(0, f"{lacks}\n".encode(), b"")
    version = guest.read("tools")
    if not version:
        return CommandResult(0, b"none\n", b"")
    changed = guest.read("tools-changed").split()
    report = {"schema": SCHEMA, "version": version, "sha256": "0" * 64, "changed": changed, "missing": []}
    return CommandResult(0, json.dumps(report).encode(), b"")


def _install(guest: Files, command: str, input: bytes) -> CommandResult:
    found = re.search(r" sh (\S+) ([0-9a-f]{64}) \d+$", command)
    assert found is not None, command
    if hashlib.sha256(input).hexdigest() != found[2]:
        return CommandResult(1, b"", b"the tools did not arrive whole\n")
    with tarfile.open(fileobj=io.BytesIO(input)) as tar:
        assert "install.py" in tar.getnames()
    guest.write("tools", found[1])
    guest.write("tools-changed", guest.read("tools-changed-again"))
    return CommandResult(0, b"installed\n", b"")


def stage(count: int, *, gave_way: str | None = None, **changes: object) -> dict[str, object]:
    """What a step of the density test tells; nothing gives way unless said otherwise."""
    gib = 1 << 30
    return {
        "schema": "moltfleet.density-stage/1",
        "agents": count,
        "well": count if gave_way is None else count - 1,
        "gave_way": gave_way,
        "said": "" if gave_way is None else "No space left on device",
        "heap_errors": 0,
        "node": True,
        "contained": True,
        "peaks": {"memory": gib, "shm": count * gib // 16, "disk": count << 20, "processes": 100 + count},
        "sizes": {"memory": 16 * gib, "shm": 2 * gib, "disk": 40 * gib, "processes": 32768},
        "greeting_s": 0.05,
        "seconds": 20.5,
        **changes,
    }
