"""Which of two versions of a login counts, and what a guest cannot make anybody believe."""

from __future__ import annotations

import json

import pytest

from moltfleet.model.logins import KNOWN, LoginEntry, LoginFile, Winner, is_whole, moment_in, newer, renews_itself

NOW = 1_795_000_000.0


def version(content: object, changed_at: float = NOW - 100, path: str = "a.json") -> LoginFile:
    text = content if isinstance(content, str) else json.dumps(content)
    return LoginFile(path, text.encode(), changed_at)


def claude(expires_ms: object, changed_at: float = NOW - 100) -> LoginFile:
    return version({"claudeAiOauth": {"expiresAt": expires_ms, "refreshToken": str(changed_at)}}, changed_at)


def winner(host: LoginFile | None, guest: LoginFile, key: str = "claudeAiOauth.expiresAt") -> Winner:
    return newer(host, guest, newest_by=key, now=NOW)


def test_the_later_moment_in_the_file_wins_whatever_was_written_last() -> None:
    older, later = claude((NOW + 10) * 1000, NOW - 1), claude((NOW + 9000) * 1000, NOW - 500)
    assert winner(older, later) is Winner.GUEST
    assert winner(later, older) is Winner.HOST


def test_the_same_content_is_the_same_whenever_it_was_written() -> None:
    assert winner(version({"a": 1}, NOW - 50), version({"a": 1}, NOW)) is Winner.SAME


def test_without_a_moment_the_last_change_wins_and_a_guest_is_not_from_the_future() -> None:
    assert winner(version({"a": 1}, NOW - 50), version({"a": 2}, NOW - 10), "") is Winner.GUEST
    assert winner(version({"a": 1}, NOW - 10), version({"a": 2}, NOW - 50), "") is Winner.HOST
    assert winner(version({"a": 1}, NOW + 5), version({"a": 2}, NOW + 1e9), "") is Winner.HOST


def test_one_with_a_moment_wins_over_one_without() -> None:
    assert winner(claude(None, NOW), claude((NOW + 10) * 1000, NOW - 900)) is Winner.GUEST
    assert winner(claude((NOW + 10) * 1000, NOW - 900), version({}, NOW)) is Winner.HOST


@pytest.mark.parametrize("torn", ["", "  \n", '{"claudeAiOauth": {"expi', "[]", "null", "[" * 100_000])
def test_what_was_read_in_the_middle_of_a_write_never_wins(torn: str) -> None:
    assert not is_whole(version(torn))
    assert winner(claude(1), version(torn, NOW)) is Winner.HOST
    assert winner(None, version(torn, NOW)) is Winner.HOST
    assert winner(version(torn, NOW), claude(1, 0.0)) is Winner.GUEST


def test_this_machine_takes_a_login_that_it_never_had() -> None:
    assert winner(None, claude(1)) is Winner.GUEST


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        (NOW, NOW),
        (NOW * 1000, NOW),
        ("2026-11-21T21:00:00Z", 1_795_294_800.0),
        ("2026-11-21T21:00:00.123456+01:00", 1_795_291_200.123456),
        # Further ahead than any token, so that it would win for ever.
        (NOW + 401 * 86_400, None),
        (1e300, None),
        (10**400, None),
        (float("nan"), None),
        (float("inf"), None),
        (-5, None),
        (0, None),
        (True, None),
        ("soon", None),
        ([1], None),
        (None, None),
    ],
)
def test_a_moment_is_one_that_can_be_true(value: object, moment: float | None) -> None:
    content = json.dumps({"tokens": {"at": value}}).encode()
    assert moment_in(content, "tokens.at", now=NOW) == pytest.approx(moment)


def test_a_key_that_leads_nowhere_is_no_moment() -> None:
    for content in (b'{"tokens": 5}', b'{"tokens": {}}', b"[1]", b"no"):
        assert moment_in(content, "tokens.at", now=NOW) is None


def test_known_logins_are_files_below_the_home_and_only_renewed_ones_come_back() -> None:
    for name, entry in KNOWN.items():
        assert name == entry.name and entry.files
        assert not any(path.startswith(("/", "~")) or ".." in path for path in entry.files)
    assert {name for name, entry in KNOWN.items() if entry.rotates} == {"claude", "codex", "gemini"}


def test_a_file_never_tells_its_content_by_itself() -> None:
    assert repr(LoginFile("a.json", b"secret", 1.0)) == "LoginFile('a.json', 6 bytes)"


@pytest.mark.parametrize(
    ("name", "content", "renewed"),
    [
        ("claude", {"claudeAiOauth": {"expiresAt": NOW * 1000}}, True),
        ("claude", {"claudeAiOauth": {"expiresAt": 9_999_999_999_999}}, False),
        ("codex", {"last_refresh": "2026-11-21T21:00:00Z"}, True),
        ("codex", {"OPENAI_API_KEY": "sk-1", "tokens": None, "last_refresh": None}, False),
        ("codex", '{"last_refresh": "2026-11-', False),
        ("gh", {"last_refresh": NOW}, False),
    ],
)
def test_what_renews_itself_is_known_by_its_moment(name: str, content: object, renewed: bool) -> None:
    assert renews_itself(KNOWN[name], [version({}), version(content)], now=NOW) is renewed
    assert not renews_itself(KNOWN[name], [], now=NOW)


def test_one_without_a_moment_renews_itself_as_it_was_said_to() -> None:
    mine = LoginEntry("mine", ("a token",), rotates=True)
    assert renews_itself(mine, [version("secret", path="a token")], now=NOW)
    assert not renews_itself(mine, [version("\n", path="a token")], now=NOW)
