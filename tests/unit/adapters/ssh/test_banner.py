from __future__ import annotations

import pytest

from moltfleet.adapters.ssh.banner import identification


@pytest.mark.parametrize("line", [b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n", b"SSH-2.0-OpenSSH_9.2p1 Debian-2\nmore"])
def test_the_identification_line_is_returned_without_its_end(line):
    assert identification(line) == "SSH-2.0-OpenSSH_9.2p1 Debian-2"


@pytest.mark.parametrize(
    "received",
    [
        b"",
        b"SSH-2.0-cut",
        b"HTTP/1.1 400\r\n",
        b"SSH-2.0-\x1b[2J\r\n",
        b"SSH-2.0-caf\xc3\xa9\r\n",
        b"SSH-" + b"x" * 300,
    ],
)
def test_anything_else_is_none(received):
    assert identification(received) is None
