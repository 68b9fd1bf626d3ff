"""This machine's logins in memory: the real rule decides who wins, and every version that lost is remembered."""

from __future__ import annotations

from pathlib import Path

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.logins import LoginEntry, LoginFile, Merged, Winner, newer
from moltfleet.model.ports import Clock


class FakeLogins:
    """The HostLogins port. ``files`` are what the home has by path, ``kept`` what had to give way."""

    def __init__(self, clock: Clock) -> None:
        self.files: dict[str, LoginFile] = {}
        self.kept: list[bytes] = []
        self.me = "ann@host"
        self.error: MoltfleetError | None = None
        self._clock = clock

    def has(self, path: str, content: str) -> None:
        """Put a file there, changed now."""
        self.files[path] = LoginFile(path, content.encode(), self._clock.now())

    def owner(self) -> str:
        return self.me

    def read(self, entry: LoginEntry) -> tuple[LoginFile, ...]:
        return tuple(self.files[path] for path in entry.files if path in self.files)

    def merge(self, entry: LoginEntry, guest: LoginFile, *, clone: str) -> Merged:
        if not entry.rotates or guest.path not in entry.files:
            raise ValueError(f"not to be pulled: {guest.path}")
        if self.error is not None:
            raise self.error
        host = self.files.get(guest.path)
        winner = newer(host, guest, newest_by=entry.newest_by, now=self._clock.now())
        if winner is Winner.SAME:
            return Merged(winner)
        loser = guest if winner is Winner.HOST else host
        if winner is Winner.GUEST:
            self.files[guest.path] = guest
        if loser is None or not loser.content.strip():
            return Merged(winner)
        self.kept.append(loser.content)
        return Merged(winner, Path(f"/kept/{len(self.kept)}"))
