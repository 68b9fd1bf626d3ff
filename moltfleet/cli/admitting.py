"""`--force REASON` and `--wait-for-room [SECONDS]`: what every command that may bring a guest up can be told."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import click

from moltfleet.model.names import printable
from moltfleet.model.requests import AdmissionRequest

_LONGEST_REASON = 200


def _reason(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    reason = printable(value, limit=_LONGEST_REASON + 1).strip()
    if not reason:
        raise click.BadParameter('a reason is needed, such as --force "the other clones are idle".')
    if len(reason) > _LONGEST_REASON:
        raise click.BadParameter(f"the reason is longer than {_LONGEST_REASON} characters.")
    return reason


def _seconds(_: click.Context, __: click.Parameter, value: str | None) -> float:
    if value is None:
        return 0.0
    if value == "":
        return math.inf
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds <= 604_800:
        problem = f"{printable(value)!r} is not a number of seconds; write --wait-for-room=SECONDS, or give it last."
        raise click.BadParameter(problem)
    return seconds


def admission_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add both options; the command gets them as parameter ``admission``."""

    @click.option(
        "--force", metavar="REASON", callback=_reason, help="Go on although the host has no room; the reason is noted."
    )
    @click.option(
        "--wait-for-room",
        is_flag=False,
        flag_value="",
        default=None,
        metavar="[SECONDS]",
        callback=_seconds,
        help="Wait for room on the host, as long as it takes or so many seconds.",
    )
    @functools.wraps(function)
    def command(*args: Any, force: str | None, wait_for_room: float, **options: Any) -> Any:
        return function(*args, admission=AdmissionRequest(force=force, wait_s=wait_for_room), **options)

    return command
