"""The few programs that a health check asks: briefly, without a shell, and as the user whose answer it is."""

from __future__ import annotations

import os
import subprocess
import threading
from typing import Any, Protocol

_LONGEST_S = 5.0
_LARGEST = 1 << 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NOBODY = 65534


class Programs(Protocol):
    """Something that runs programs."""

    def ask(self, argv: list[str], *, user: int | None = None) -> str | None:
        """Return what a program prints, cut short; None when it fails, takes too long, or is not there."""


class RealPrograms:
    """Programs of this machine. Asked for another user's answer, root becomes that user first, and others get none."""

    def ask(self, argv: list[str], *, user: int | None = None) -> str | None:
        """See the protocol."""
        identity: dict[str, Any] = {}
        if user is not None and user != os.geteuid():
            if os.geteuid() != 0:
                return None
            identity = {"user": user, "group": _group_of(user), "extra_groups": ()}
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": _PATH, "LC_ALL": "C.UTF-8"},
                cwd="/",
                **identity,
            )
        except (OSError, subprocess.SubprocessError):
            return None
        return _said(process)


def _said(process: subprocess.Popen[bytes]) -> str | None:
    timer = threading.Timer(_LONGEST_S, process.kill)
    timer.start()
    try:
        data = process.stdout.read(_LARGEST) if process.stdout else b""
        # Whoever writes more than that finds nobody listening.
        if process.stdout:
            process.stdout.close()
        status = process.wait()
    finally:
        timer.cancel()
    return data.decode("utf-8", "replace") if status == 0 else None


class NoPrograms:
    """Below another root there is nothing to ask."""

    def ask(self, argv: list[str], *, user: int | None = None) -> str | None:
        """See the protocol."""
        return None


def _group_of(user: int) -> int:
    import pwd

    try:
        return pwd.getpwuid(user).pw_gid
    except KeyError:
        return _NOBODY
