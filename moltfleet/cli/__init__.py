"""The command line: parse, call one operation, render. The only room that joins operations to adapters."""


def main() -> None:
    """Run the command line and end the process."""
    from moltfleet.cli.app import app

    app(prog_name="moltfleet")
