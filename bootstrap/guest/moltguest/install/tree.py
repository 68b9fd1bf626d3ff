"""The tree of tools: read, digested, copied, tried; nothing outside of it is touched here."""

from __future__ import annotations

import compileall
import hashlib
import os
import shutil
import subprocess
import sys

HOME = "usr/local/lib/moltfleet"
CURRENT = f"{HOME}/current"
_TRY_S = 120.0
# Every module once: what is missing or does not parse shows here, and not when memory runs out.
_TRY = """
import os, sys
top = sys.argv[1]
sys.dont_write_bytecode = True
sys.path.insert(0, top)
for folder, _, names in os.walk(os.path.join(top, "moltguest")):
    package = os.path.relpath(folder, top).replace(os.sep, ".")
    for name in sorted(names):
        if name.endswith(".py"):
            __import__(package + ("" if name == "__init__.py" else "." + name[:-3]))
"""


def read_tree(top: str) -> dict[str, bytes]:
    """Return the content of every file below ``top`` by its path there, links followed, Python's caches left out."""
    found = {}
    for folder, folders, names in os.walk(top, followlinks=True):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            path = os.path.join(folder, name)
            with open(path, "rb") as file:
                found[os.path.relpath(path, top)] = file.read()
    return found


def digest(content: bytes) -> str:
    """Return the SHA-256 of a file."""
    return hashlib.sha256(content).hexdigest()


def digest_of_tree(files: dict[str, bytes]) -> str:
    """Return one SHA-256 for names and contents of all files."""
    lines = (f"{digest(content)}  {path}\n" for path, content in sorted(files.items()))
    return digest("".join(lines).encode())


def mode_of(content: bytes) -> int:
    """Return the mode of a file: who begins with an interpreter is a program."""
    return 0o755 if content.startswith(b"#!") else 0o644


def write_tree(files: dict[str, bytes], top: str, final: str) -> None:
    """Write a tree anew at ``top``, compiled as it will be at ``final``."""
    shutil.rmtree(top, ignore_errors=True)
    for path, content in files.items():
        whole = os.path.join(top, path)
        os.makedirs(os.path.dirname(whole), mode=0o755, exist_ok=True)
        with open(whole, "wb") as file:
            file.write(content)
        os.chmod(whole, mode_of(content))
    # Nobody but root could write the caches later, and every start would pay for it.
    compileall.compile_dir(os.path.join(top, "moltguest"), quiet=2, stripdir=top, prependdir=final)


def why_it_fails(top: str, *, live: bool) -> str:
    """Return why a tree cannot be used, empty when it can: every module is imported, and the watchdog tries itself."""
    tries = [[sys.executable, "-IS", "-c", _TRY, top]]
    if live:
        tries.append([sys.executable, "-IS", os.path.join(top, "bin/moltfleet-watchdog"), "--self-test"])
    for argv in tries:
        try:
            done = subprocess.run(argv, capture_output=True, text=True, timeout=_TRY_S, check=False)
        except (OSError, subprocess.SubprocessError) as error:
            return str(error)
        if done.returncode != 0:
            said = (done.stdout + done.stderr).strip().splitlines()
            return next((line for line in said if "FAILED" in line), said[-1] if said else f"status {done.returncode}")
    return ""
