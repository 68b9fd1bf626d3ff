"""A night told to a real server: what it gets, and that of the address nothing is shown but the host."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from moltfleet.adapters.webhook import Webhook
from moltfleet.model.errors import ToolFailed
from moltfleet.model.nightly import CloneNight, Night, Outcome, Scope, State

NIGHT = Night(
    "2026-11-20T03:30:00Z", "2026-11-20T07:30:00Z", Scope.LEAKING, "0.1.0", Outcome.FAILED, "2026-11-20T04:00:00Z"
).with_clone(CloneNight("crab-1", "molt", "leaks", "leaking", State.FAILED, error="it broke\x1b[2J"))
SECRET = "services/T0/B0/very-secret"


@contextmanager
def server(status: int, *, location: str = "") -> Iterator[tuple[str, list[bytes]]]:
    got: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(status)
            if location:
                self.send_header("Location", location)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}", got
    finally:
        listening.shutdown()
        listening.server_close()


def test_the_night_arrives_as_a_document_without_control_characters() -> None:
    with server(200) as (address, got):
        Webhook(f"{address}/{SECRET}").post(NIGHT)
    (body,) = got
    document = json.loads(body)
    assert (document["schema"], document["outcome"]) == ("moltfleet.night-event/1", "failed")
    assert document["text"].startswith("The night of 2026-11-20T03:30:00Z failed: 1 failed\ncrab-1: it broke")
    assert "\x1b" not in document["text"]


@pytest.mark.parametrize("status", [302, 403, 500])
def test_another_answer_is_a_failure_that_shows_the_host_only(status: int) -> None:
    with server(200) as (elsewhere, got), server(status, location=f"{elsewhere}/x") as (address, _):
        with pytest.raises(ToolFailed) as caught:
            Webhook(f"{address}/{SECRET}").post(NIGHT)
        # What was meant for one host goes to no other.
        assert got == []
    assert caught.value.brief == f"The webhook on '127.0.0.1' answered {status}"


@pytest.mark.parametrize("address", ["http://127.0.0.1:1/", "http://[::1/", "http://no-such-host.invalid/"])
def test_one_that_cannot_be_reached_is_a_failure(address: str) -> None:
    with pytest.raises(ToolFailed) as caught:
        Webhook(f"{address}{SECRET}").post(NIGHT)
    assert "cannot be reached" in caught.value.brief
    assert SECRET not in f"{caught.value.brief} {caught.value.details} {caught.value.hint}"
