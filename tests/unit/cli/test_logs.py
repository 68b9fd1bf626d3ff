"""Logging: what each -v shows, and what none shows."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from moltfleet.cli.logs import configure_logging

LOG = logging.getLogger("moltfleet.adapters.libvirt")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    logger = logging.getLogger("moltfleet")
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def logged(verbosity: int, capsys: pytest.CaptureFixture[str]) -> str:
    configure_logging(verbosity)
    LOG.debug("call listAllDomains")
    LOG.info("Defined domain crab-1")
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@pytest.mark.parametrize(("verbosity", "lines"), [(0, 0), (1, 1), (2, 2), (3, 2)])
def test_effects_come_with_v_and_libvirt_calls_with_vv(
    verbosity: int, lines: int, capsys: pytest.CaptureFixture[str]
) -> None:
    text = logged(verbosity, capsys)
    assert len(text.splitlines()) == lines
    assert ("Defined domain crab-1" in text) is (verbosity > 0)


def test_configuring_twice_does_not_say_everything_twice(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(1)
    assert len(logged(1, capsys).splitlines()) == 1


def test_a_private_key_is_blanked_whoever_logged_it(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(2)
    LOG.info("seed: %s", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0\n-----END OPENSSH PRIVATE KEY-----\nrest")
    LOG.info("cut off: %s", "-----BEGIN OPENSSH PRIVATE KEY-----\nc2VjcmV0")
    text = capsys.readouterr().err
    assert "c2VjcmV0" not in text
    assert "(private key)\nrest" in text


def test_what_a_guest_said_cannot_drive_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(1)
    LOG.info("banner %s", "SSH-2.0\x1b[2J")
    assert "\x1b" not in capsys.readouterr().err
