"""What this machine's logins do with a version that comes out of a guest, wherever they are kept."""

from __future__ import annotations

import json
from typing import Protocol

import pytest

from moltfleet.model.logins import KNOWN, HostLogins, LoginFile, Winner

CODEX, PATH = KNOWN["codex"], ".codex/auth.json"
# Earlier than any clock that these run by.
_LONG_AGO = 1_700_000_000


class Home(Protocol):
    """A place with logins that can be looked at from outside."""

    logins: HostLogins

    def put(self, path: str, content: bytes) -> None:
        """Have a file."""

    def kept(self) -> list[bytes]:
        """All versions that had to give way."""


def version(number: int) -> LoginFile:
    content = json.dumps({"last_refresh": _LONG_AGO + number, "token": f"secret-{number}"}).encode()
    return LoginFile(PATH, content, float(_LONG_AGO + number))


def has(home: Home) -> bytes:
    (found,) = home.logins.read(CODEX)
    return found.content


class LoginsContract:
    """Runs on the fake and on the files."""

    def test_a_login_that_was_never_there_is_taken(self, home: Home) -> None:
        assert home.logins.read(CODEX) == ()
        merged = home.logins.merge(CODEX, version(1), clone="crab-1")
        assert (merged.winner, merged.kept, has(home)) == (Winner.GUEST, None, version(1).content)

    def test_the_newer_one_wins_and_the_other_is_kept(self, home: Home) -> None:
        home.put(PATH, version(1).content)
        merged = home.logins.merge(CODEX, version(2), clone="crab-1")
        assert (merged.winner, has(home), home.kept()) == (Winner.GUEST, version(2).content, [version(1).content])
        assert merged.kept is not None
        merged = home.logins.merge(CODEX, version(0), clone="crab-1")
        assert (merged.winner, has(home)) == (Winner.HOST, version(2).content)
        assert merged.kept is not None
        assert sorted(home.kept()) == sorted((version(0).content, version(1).content))

    def test_the_same_is_nothing_new(self, home: Home) -> None:
        home.put(PATH, version(1).content)
        merged = home.logins.merge(CODEX, version(1), clone="crab-1")
        assert (merged.winner, merged.kept, home.kept()) == (Winner.SAME, None, [])

    def test_half_of_one_never_wins(self, home: Home) -> None:
        home.put(PATH, version(1).content)
        half = LoginFile(PATH, version(2).content[:20], 9e9)
        assert home.logins.merge(CODEX, half, clone="crab-1").winner is Winner.HOST
        assert has(home) == version(1).content

    def test_only_files_of_a_login_that_is_renewed_are_taken(self, home: Home) -> None:
        for entry, path in ((CODEX, ".ssh/authorized_keys"), (KNOWN["gh"], ".config/gh/hosts.yml")):
            with pytest.raises(ValueError, match="not to be pulled"):
                home.logins.merge(entry, LoginFile(path, b"theirs", 1.0), clone="crab-1")
        assert home.logins.read(KNOWN["gh"]) == ()

    def test_a_login_that_is_there_is_read_file_by_file(self, home: Home) -> None:
        home.put(".gemini/google_accounts.json", b"{}")
        assert [file.path for file in home.logins.read(KNOWN["gemini"])] == [".gemini/google_accounts.json"]
        assert home.logins.owner().count("@") == 1
