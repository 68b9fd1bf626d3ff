"""The command line: parse, call one operation, render. The only room that joins operations to adapters."""

import os


def main() -> None:
    """Run the command line and end the process."""
    # pydantic would read what every installed package says of itself, and we have no plugins for it.
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    from moltfleet.cli.app import app

    app(prog_name="moltfleet")
