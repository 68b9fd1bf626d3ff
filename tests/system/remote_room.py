"""Keep room for a domain as for a remote libvirt, in a volume of its pool: `remote_room.py NAME`, until its input ends.

Prints "kept", with what others kept at that moment, as NAME:OWNER.
"""

import sys

from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.libvirt.gate import Gate
from moltfleet.adapters.libvirt.storage import LibvirtStorage
from moltfleet.adapters.reservations import LockReservations
from moltfleet.adapters.volumelocks import NoLocks, VolumeLocks
from moltfleet.config import Config
from moltfleet.model.load import Reservation, Wanted
from moltfleet.model.size import Size


def main(name: str) -> None:
    """Wire it as cli/wiring.py does for a remote URI."""
    config, clock = Config(), SystemClock()
    storage = LibvirtStorage(Gate(config.uri), NoLocks(), pool=config.pool, path=str(config.pool_path))
    reservations = LockReservations(VolumeLocks(storage, clock), clock)
    others: list[str] = []

    def check(kept: tuple[Reservation, ...]) -> None:
        others.extend(f"{reservation.name}:{reservation.owner.partition(' ')[0]}" for reservation in kept)

    with reservations.hold(Wanted(name, Size.of_gib(1), Size.of_mib(8)), check=check):
        print("kept", *others, flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
