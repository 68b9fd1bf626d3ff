"""In-memory stand-ins for every port, behaving as real libvirt and real guests were seen to behave."""

from fakes.chronicle import FakeChronicle
from fakes.clock import FakeClock
from fakes.files import FakeBootstrap, FakeImages, FakeKeys, FakeProfiles, FakeSeeds
from fakes.guests import Behaviour, FakeGuest, FakeGuests, FakeSession, failed, ok
from fakes.hypervisor import FakeHypervisor
from fakes.locks import FakeLocks
from fakes.logins import FakeLogins
from fakes.meter import FakeMeter, a_calm_host
from fakes.networks import FakeNetworks
from fakes.nights import FakeNights
from fakes.notifier import FakeNotifier
from fakes.process import Killed, Process, effects_told_to
from fakes.rescues import FakeRescues
from fakes.samples import FakeSamples
from fakes.storage import Disk, FakeStorage, qcow2_image
from fakes.world import World, a_fleet, a_world

__all__ = [
    "Behaviour",
    "Disk",
    "FakeBootstrap",
    "FakeChronicle",
    "FakeClock",
    "FakeGuest",
    "FakeGuests",
    "FakeHypervisor",
    "FakeImages",
    "FakeKeys",
    "FakeLocks",
    "FakeLogins",
    "FakeMeter",
    "FakeNetworks",
    "FakeNights",
    "FakeNotifier",
    "FakeProfiles",
    "FakeRescues",
    "FakeSamples",
    "FakeSeeds",
    "FakeSession",
    "FakeStorage",
    "Killed",
    "Process",
    "World",
    "a_calm_host",
    "a_fleet",
    "a_world",
    "effects_told_to",
    "failed",
    "ok",
    "qcow2_image",
]
