"""`moltfleet completion`: the script that makes a shell complete commands, options and names."""

from __future__ import annotations

import click
from click.shell_completion import ShellComplete, get_completion_class

from moltfleet.cli.command import FleetCommand


@click.command(
    "completion",
    cls=FleetCommand,
    example="moltfleet completion bash > ~/.local/share/bash-completion/completions/moltfleet",
)
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion_command(ctx: click.Context, shell: str) -> None:
    """Print the completion script of a shell.

    It completes commands, options, and the names of clones and goldens.
    """
    form = get_completion_class(shell)
    assert form is not None
    completer = form(ctx.find_root().command, {}, "moltfleet", "_MOLTFLEET_COMPLETE")
    # The base class, because bash's own form starts bash just to look at its version.
    click.echo(ShellComplete.source(completer))
