"""The ``Guests`` port; paramiko is imported at the first login, as a warm molt reads nothing but a banner."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING

from moltfleet.adapters.ssh.banner import read_banner
from moltfleet.adapters.sshjump import straight

if TYPE_CHECKING:
    from moltfleet.adapters.sshjump import Dial
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.ports import GuestSession


class SshGuests:
    """The ``Guests`` port. ``private_key`` returns the fleet key's file and is asked at each login (it may make it).

    ``dial`` is how a guest's address is reached.
    """

    def __init__(self, private_key: Callable[[], Path], *, dial: Dial = straight) -> None:
        self._private_key = private_key
        self._dial = dial

    def banner(self, endpoint: Endpoint, *, timeout_s: float) -> str | None:
        """See the port."""
        return read_banner(endpoint.host, endpoint.port, timeout_s=timeout_s, dial=self._dial)

    def login(self, endpoint: Endpoint, *, timeout_s: float) -> AbstractContextManager[GuestSession]:
        """See the port."""
        from moltfleet.adapters.ssh.login import login

        return login(endpoint, self._private_key(), timeout_s=timeout_s, dial=self._dial)
