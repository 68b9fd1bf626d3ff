"""The root command: global options, and the table of commands, which are imported only when they are used."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from moltfleet import __version__
from moltfleet.cli.boundary import Boundary
from moltfleet.cli.command import FILE, shared_options
from moltfleet.cli.invocation import Invocation

# Sections as `moltfleet --help` shows them; each command with the module that has it under the same name.
SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Capacity": {"plan": "plan", "report": "report.command", "make-room": "make_room", "density": "density"},
    "Goldens": {"golden": "golden"},
    "Clones": {
        "create": "create",
        "start": "power",
        "stop": "power",
        "restart": "power",
        "molt": "molt",
        "undo": "molt",
        "kept": "kept",
        "snapshot": "snapshot",
        "pre-run": "snapshot",
        "post-run": "snapshot",
        "warm": "warm",
        "delete": "delete",
        "cleanup": "delete",
        "list": "listing",
        "status": "listing",
    },
    "Guests": {"ssh": "guest", "exec": "guest", "copy": "guest", "health": "health", "tools": "tools"},
    "Over time": {
        "survey": "survey",
        "hold": "hold",
        "rescue": "rescue",
        "nightly": "nightly",
        "schedule": "schedule",
        "metrics": "metrics",
    },
    "Everyday use": {
        "agent": "agent",
        "each": "each",
        "ssh-config": "ssh_config",
        "inventory": "inventory",
        "sync-auth": "sync_auth",
        "key": "key",
        "doctor": "doctor",
        "adopt": "adopt",
        "host": "host",
        "completion": "completion",
    },
}
_MODULES = {name: module for commands in SECTIONS.values() for name, module in commands.items()}


class FleetGroup(Boundary):
    """A group that imports a command when it is named, and shows all of them in sections."""

    sections = SECTIONS

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.params.extend(shared_options(environment=True, show_yes=True, show_dry_run=True))

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the sections."""
        return list(_MODULES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; its function is called ``NAME_command``."""
        if cmd_name not in _MODULES:
            return None
        module = importlib.import_module(f"moltfleet.cli.{_MODULES[cmd_name]}")
        command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        assert isinstance(command, click.Command)
        return command


@click.group(
    "moltfleet",
    cls=FleetGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option(
    "-c",
    "--connect",
    "uri",
    metavar="URI",
    help="libvirt to work on; else LIBVIRT_DEFAULT_URI, the config's uri, qemu:///system.",
)
@click.option(
    "--config",
    "config_file",
    type=FILE,
    metavar="FILE",
    help="Settings; else MOLTFLEET_CONFIG, ~/.config/moltfleet/moltfleet.toml, /etc/moltfleet/moltfleet.toml.",
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def app(ctx: click.Context, uri: str | None, config_file: Path | None) -> None:
    """Run parallel coding agents in disposable virtual machines.

    Build a golden image once, make linked clones of it, let agents work in them, and molt them back to clean.

    \b
      moltfleet golden build base --image debian-12
      moltfleet create base -n 3
      moltfleet ssh base-1
      moltfleet molt --all
    """
    invocation = ctx.ensure_object(Invocation)
    invocation.uri = uri
    invocation.config_file = config_file
