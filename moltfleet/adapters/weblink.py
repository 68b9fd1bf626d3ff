"""URLs and their failures, said in our words: what a person may see of an address, and why it could not be had."""

from __future__ import annotations

import socket
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx

from moltfleet.model.errors import InvalidInput, MoltfleetError, NotFound, ToolFailed
from moltfleet.model.names import printable

TRY_AGAIN = "Run it again: it goes on where it stopped."


class HostUnreached(ToolFailed):
    """The server could not be asked at all, so what is here already may still do."""


def check_url(url: str) -> None:
    """Raises: InvalidInput unless it is an http or https URL with a host."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise InvalidInput(f"URL {shown(url)!r} is malformed", details=str(error)) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise InvalidInput(f"URL {shown(url)!r} is not an http or https address")


def shown(url: str) -> str:
    """Return the URL as it may be shown and recorded: without a login, and without a query that may hold a token."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return printable(url)
    return printable(urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", "")), limit=500)


def file_name(url: str) -> str:
    """Return the last part of the path, as checksum files list it; empty when there is none."""
    return unquote(PurePosixPath(urlsplit(url).path).name)


def answered(url: str, response: httpx.Response) -> MoltfleetError:
    """Build the error for an answer that is not the file."""
    if response.status_code in (404, 410):
        return NotFound(f"No file at {shown(url)}", hint="Look at the address in a browser; images move.")
    host = urlsplit(url).hostname or url
    refused = response.status_code in (401, 403, 407)
    return ToolFailed(
        f"Server {host} answered {response.status_code} {printable(response.reason_phrase)} for {shown(url)}",
        hint="It asks for a login or refuses this address." if refused else "Try again later.",
    )


def broke(url: str, error: httpx.HTTPError, *, done: int = 0) -> MoltfleetError:
    """Build the error for a connection that did not come about, or ended too early."""
    host = urlsplit(url).hostname or url
    if isinstance(error, httpx.TooManyRedirects):
        return ToolFailed(f"Server {host} redirects {shown(url)} in circles", details=str(error))
    if _is_name_failure(error):
        return HostUnreached(
            f"Host {host!r} cannot be resolved", details=str(error), hint="Check the spelling, the network and DNS."
        )
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.ProxyError):
        if "certificate" in str(error).lower():
            return ToolFailed(
                f"Certificate of {host} is not trusted", details=str(error), hint="Check the clock and the CA list."
            )
        return HostUnreached(
            f"Host {host!r} cannot be reached", details=str(error), hint="Check the network, and https_proxy if any."
        )
    why = "nothing came for too long" if isinstance(error, httpx.TimeoutException) else "the connection broke off"
    so_far = f" after {done} bytes" if done else ""
    return ToolFailed(f"Download of {shown(url)} ended{so_far}: {why}", details=str(error), hint=TRY_AGAIN)


def _is_name_failure(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, socket.gaierror):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
