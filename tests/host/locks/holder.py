"""Holds a lock in a process of its own: prints "held" or the refusal, and lets go when its standard input ends.

Arguments: the directory, the gid of the sharing group, the members' uids (with commas), the lock's name, the verb.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.lockdirectory import Identity
from moltfleet.adapters.locks import FileLocks
from moltfleet.model.errors import MoltfleetError


def main(directory: str, group: str, members: str, name: str, verb: str) -> None:
    os.umask(0o077)
    groups = frozenset((*os.getgroups(), os.getegid()))
    identity = Identity(os.geteuid(), groups, int(group), set(map(int, members.split(","))).__contains__)
    locks = FileLocks(Path(directory), SystemClock(), is_shared=True, identity=identity)
    try:
        with locks.hold(name, verb=verb):
            print("held", flush=True)
            sys.stdin.read()
    except MoltfleetError as error:
        print(error.brief, flush=True)


main(*sys.argv[1:])
