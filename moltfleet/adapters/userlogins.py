"""The port of this machine's logins, which few commands ask for anything: what it takes is imported then."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from moltfleet.adapters.loginfiles import LoginFiles
    from moltfleet.model.logins import LoginEntry, LoginFile, Merged


class UserLogins:
    """The port; ``store`` is where versions are kept that had to give way."""

    def __init__(self, home: Path, store: Path, *, signing_key: Path | None) -> None:
        self._home = home
        self._store = store
        self._signing_key = signing_key

    def owner(self) -> str:
        """See the port."""
        return self._files().owner()

    def read(self, entry: LoginEntry) -> tuple[LoginFile, ...]:
        """See the port."""
        return self._files().read(entry)

    def merge(self, entry: LoginEntry, guest: LoginFile, *, clone: str) -> Merged:
        """See the port."""
        return self._files().merge(entry, guest, clone=clone)

    def _files(self) -> LoginFiles:
        from moltfleet.adapters.loginfiles import LoginFiles

        return LoginFiles(self._home, self._store, signing_key=self._signing_key)
