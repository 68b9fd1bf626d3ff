"""Keeps 1 GiB for a domain in its own process, if three in all fit: prints "kept", or "refused" and who else is in.

Arguments: the directory, the gid of the sharing group, the members' uids (with commas), the domain's name. It lets go
when its standard input ends.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.lockdirectory import Identity
from moltfleet.adapters.locks import FileLocks
from moltfleet.adapters.reservations import LockReservations
from moltfleet.model.errors import NoCapacity
from moltfleet.model.load import Reservation, Wanted
from moltfleet.model.size import Size

MOST = 3


def check(kept: tuple[Reservation, ...]) -> None:
    if len(kept) >= MOST:
        raise NoCapacity(" ".join(sorted(f"{reservation.name}:{reservation.pid}" for reservation in kept)))


def main(directory: str, group: str, members: str, name: str) -> None:
    os.umask(0o077)
    groups = frozenset((*os.getgroups(), os.getegid()))
    identity = Identity(os.geteuid(), groups, int(group), set(map(int, members.split(","))).__contains__)
    clock = SystemClock()
    reservations = LockReservations(FileLocks(Path(directory), clock, is_shared=True, identity=identity), clock)
    try:
        with reservations.hold(Wanted(name, Size.of_gib(1)), check=check):
            print("kept", flush=True)
            sys.stdin.read()
    except NoCapacity as error:
        print(f"refused {error.brief}", flush=True)


main(*sys.argv[1:])
