"""Runs the command of ``notify``, never a shell; it gets the event as last argument, on stdin, and in variables."""

from __future__ import annotations

import json
import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.adapters.run import run
from moltfleet.model.names import printable

if TYPE_CHECKING:
    from moltfleet.model.events import Event

# A command that wants to talk to somebody slow has to do that behind itself.
_TIMEOUT_S = 30.0
_LONGEST = 1000


@dataclass(frozen=True, slots=True)
class CommandNotifier:
    """The :class:`~moltfleet.model.ports.Notifier` port; without a ``command`` it does nothing."""

    command: str

    def tell(self, event: Event, *, at: str) -> None:
        """See the port."""
        if not self.command:
            return
        text = printable(event.text, limit=_LONGEST)
        variables = {"MOLTFLEET_EVENT": str(event.kind), "MOLTFLEET_CLONE": event.clone, "MOLTFLEET_TEXT": text}
        argv = [*shlex.split(self.command), text]
        # The user's own command, as from the user's own shell: a desktop's needs the session bus.
        run(
            argv,
            timeout_s=_TIMEOUT_S,
            input=json.dumps(event_document(event, at)).encode(),
            env={**os.environ, **variables},
        )


def event_document(event: Event, at: str) -> dict[str, str]:
    """``moltfleet.event/1`` of docs/json.md."""
    return {
        "schema": "moltfleet.event/1",
        "event": str(event.kind),
        "clone": event.clone,
        "text": printable(event.text, limit=_LONGEST),
        "at": at,
    }
