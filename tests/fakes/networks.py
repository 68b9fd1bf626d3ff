"""Networks in memory: our own with 253 slots, one of somebody's, user mode."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from moltfleet.model.errors import NoCapacity, NotFound
from moltfleet.model.records import Attachment


class FakeNetworks:
    """The Networks port. ``slots`` is how many addresses our network has; ``foreign`` other networks that run."""

    def __init__(self, *, slots: int = 253, foreign: tuple[str, ...] = ("default",)) -> None:
        self.slots = slots
        self.foreign = foreign
        self._numbers = itertools.count(1)

    def attach(self, kind: str, name: str, *, taken: Sequence[Attachment]) -> Attachment:
        if kind == "moltfleet":
            return self._slot(name, {attachment.address for attachment in taken})
        number = next(self._numbers)
        mac = f"52:54:00:00:{number // 256:02x}:{number % 256:02x}"
        if kind == "user":
            return Attachment(kind="user", name="", mac=mac, ssh_port=40_000 + number)
        if name not in self.foreign:
            raise NotFound(f"Network {name!r} does not exist", hint="'virsh net-list --all' lists them.")
        return Attachment(kind="libvirt", name=name, mac=mac)

    def _slot(self, name: str, used: set[str | None]) -> Attachment:
        for number in range(2, 2 + self.slots):
            address = f"192.168.150.{number}"
            if address not in used:
                return Attachment(kind="moltfleet", name=name, mac=f"52:54:00:6d:66:{number:02x}", address=address)
        raise NoCapacity(f"Network {name!r} has no free address: all {self.slots} are taken")
