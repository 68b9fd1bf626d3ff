"""Tells an address on the web of a night, by one POST. Only its host is ever shown: the rest of it may be secret."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx

from moltfleet.model.errors import ToolFailed
from moltfleet.model.names import printable
from moltfleet.model.nightreport import summary

if TYPE_CHECKING:
    from moltfleet.model.nightly import Night

_TIMEOUT_S = 15.0
_HINT = "See webhook under [nightly] in the config."


class Webhook:
    """Posts nights to one address. Redirects are not followed: what was meant for one host goes to no other."""

    def __init__(self, url: str) -> None:
        self._url = url

    def post(self, night: Night) -> None:
        """Tell of a night; ``text`` is what chat programs show. Raises: ToolFailed."""
        failures = [printable(failure, limit=500) for failure in night.failures]
        document = {
            "schema": "moltfleet.night-event/1",
            "text": "\n".join((summary(night), *failures)),
            "outcome": str(night.outcome),
            "started_at": night.started_at,
            "ended_at": night.ended_at,
            "failures": failures,
        }
        host = _host(self._url)
        try:
            answer = httpx.post(self._url, json=document, timeout=_TIMEOUT_S, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise ToolFailed(f"The webhook on {host!r} cannot be reached", details=str(error), hint=_HINT) from error
        if not answer.is_success:
            raise ToolFailed(f"The webhook on {host!r} answered {answer.status_code}", hint=_HINT)


def _host(url: str) -> str:
    try:
        return printable(urlsplit(url).hostname or "")
    except ValueError:
        return ""
