"""The bundle of ports and settings that every operation is a function of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.chronicle import Chronicle
    from moltfleet.model.logins import HostLogins
    from moltfleet.model.nightly import Nights
    from moltfleet.model.ports import (
        Bootstrap,
        Clock,
        Guests,
        Hypervisor,
        Images,
        Keys,
        Locks,
        Meter,
        Networks,
        Notifier,
        Profiles,
        Progress,
        Reservations,
        Samples,
        Seeds,
        Storage,
    )
    from moltfleet.model.rescue import Rescues


@dataclass(frozen=True, slots=True)
class Fleet:
    """Everything an operation may touch."""

    config: Config
    hypervisor: Hypervisor
    meter: Meter
    storage: Storage
    networks: Networks
    locks: Locks
    reservations: Reservations
    guests: Guests
    keys: Keys
    seeds: Seeds
    images: Images
    bootstrap: Bootstrap
    profiles: Profiles
    samples: Samples
    notifier: Notifier
    chronicle: Chronicle
    nights: Nights
    rescues: Rescues
    host_logins: HostLogins
    clock: Clock
    progress: Progress
