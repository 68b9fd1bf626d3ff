"""What networks give to clones: a slot of our own network, a card on another one, a forwarded port."""

from __future__ import annotations

import pytest

from contract.host import Host
from moltfleet.model.errors import NoCapacity, NotFound
from moltfleet.model.records import Attachment

OWN = "moltfleet"


class NetworkContract:
    """Runs wherever networks can be defined."""

    def test_each_slot_is_given_once(self, host: Host) -> None:
        taken: list[Attachment] = []
        for _ in range(20):
            taken.append(host.networks.attach(OWN, OWN, taken=taken))
        assert len({slot.mac for slot in taken}) == len({slot.address for slot in taken}) == 20
        assert {slot.kind for slot in taken} == {OWN}

    def test_a_slot_that_was_given_back_is_given_again_with_the_same_card(self, host: Host) -> None:
        first = host.networks.attach(OWN, OWN, taken=[])
        second = host.networks.attach(OWN, OWN, taken=[first])
        assert host.networks.attach(OWN, OWN, taken=[second]) == first

    def test_a_full_network_says_so(self, host: Host) -> None:
        taken: list[Attachment] = []
        with pytest.raises(NoCapacity, match="all 253 are taken"):
            for _ in range(300):
                taken.append(host.networks.attach(OWN, OWN, taken=taken))
        assert len(taken) == 253

    def test_an_unknown_network_is_not_found(self, host: Host) -> None:
        with pytest.raises(NotFound, match="does not exist"):
            host.networks.attach("libvirt", host.name("nope"), taken=[])

    def test_user_mode_gives_a_port_that_no_other_clone_has(self, host: Host) -> None:
        taken: list[Attachment] = []
        for _ in range(5):
            taken.append(host.networks.attach("user", "", taken=taken))
        assert len({one.ssh_port for one in taken}) == len({one.mac for one in taken}) == 5
        assert {one.address for one in taken} == {None}
