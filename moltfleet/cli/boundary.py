"""The boundary where errors become a line, a hint and an exit code; bugs pass with their traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from moltfleet.cli.command import CommandGroup
from moltfleet.cli.errors import from_click, interrupted, tell, tell_json
from moltfleet.cli.invocation import Invocation
from moltfleet.model.errors import MoltfleetError


class Boundary(CommandGroup):
    """The outermost group."""

    def main(self, args: Sequence[str] | None = None, *positional: Any, **options: Any) -> Any:
        """Run a command line and end the process with its exit code."""
        arguments = list(sys.argv[1:] if args is None else args)
        options["obj"] = invocation = options.get("obj") or Invocation()
        try:
            code = super().main(arguments, *positional, **options | {"standalone_mode": False})
        except MoltfleetError as error:
            code = _end(error, arguments, invocation)
        except click.Abort:
            code = _end(interrupted(), arguments, invocation)
        except click.ClickException as error:
            code = _end(from_click(error), arguments, invocation)
        sys.exit(code or 0)

    def invoke(self, ctx: click.Context) -> Any:
        """Turn Ctrl-C into an error of ours before click writes its own lines."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise interrupted() from None


def _end(error: MoltfleetError, arguments: Sequence[str], invocation: Invocation) -> int:
    invocation.end_progress()
    # A command line that could not be parsed has not set the option yet.
    if invocation.json or "--json" in arguments:
        tell_json(error)
    else:
        tell(error, verbose=invocation.verbosity > 0)
    return int(error.exit_code)
