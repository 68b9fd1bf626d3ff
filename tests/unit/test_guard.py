"""The guard itself: what it stops, and that a mark opens exactly what it names."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable

import libvirt
import pytest


def spawn() -> None:
    subprocess.run([sys.executable, "-c", ""], check=True)


def connect() -> None:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))


def shell() -> None:
    os.system("true")  # noqa: S605


def open_libvirt() -> None:
    libvirt.open("test:///default").close()


@pytest.mark.parametrize("reach", [spawn, connect, shell, open_libvirt])
def test_a_unit_test_that_reaches_outside_fails_past_every_handler(reach: Callable[[], object]) -> None:
    with pytest.raises(BaseException, match="mark the test with") as caught:
        reach()
    assert not isinstance(caught.value, Exception)


@pytest.mark.allow("subprocess")
def test_a_mark_allows_what_it_names_and_nothing_else() -> None:
    spawn()
    with pytest.raises(BaseException, match="mark the test with"):
        connect()


@pytest.mark.allow("socket", "libvirt")
def test_several_things_can_be_allowed_at_once() -> None:
    connect()
    open_libvirt()
