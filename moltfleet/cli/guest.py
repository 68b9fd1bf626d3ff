"""`moltfleet ssh`, `exec` and `copy`: into the guests."""

from __future__ import annotations

import click

from moltfleet.cli.command import FleetCommand, GuestCommand
from moltfleet.cli.completing import complete_clones, complete_paths
from moltfleet.cli.invocation import Invocation, pass_invocation


@click.command("ssh", cls=GuestCommand, example="moltfleet ssh base-1\nmoltfleet ssh base-1 -- tmux attach")
@click.argument("name", shell_complete=complete_clones)
@pass_invocation
def ssh_command(invocation: Invocation, /, *, name: str, command: tuple[str, ...]) -> None:
    """Log in to a clone with the OpenSSH client, or run COMMAND there with your terminal.

    The clone's host key is checked against the one it was made with. What the guest writes reaches your terminal
    unchanged. The exit status is that of ssh.
    """


@click.command("copy", cls=FleetCommand, changes=True, example="moltfleet copy notes.md base-1:work/")
@click.argument("source", metavar="SRC", shell_complete=complete_paths)
@click.argument("destination", metavar="DST", shell_complete=complete_paths)
@pass_invocation
def copy_command(invocation: Invocation, /, *, source: str, destination: str) -> None:
    """Copy a file or a directory into a clone or out of one; one side is NAME:PATH."""


@click.command("exec", cls=GuestCommand, changes=True, example="moltfleet exec base-1 -- uptime")
@pass_invocation
def exec_command(invocation: Invocation, /, *, command: tuple[str, ...]) -> None:
    """Run a command in clones, side by side."""
