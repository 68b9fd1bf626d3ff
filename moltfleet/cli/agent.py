"""`moltfleet agent`: one command to an agent, in a new clone or in one that there is."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from moltfleet.cli.admitting import admission_options
from moltfleet.cli.command import GuestCommand
from moltfleet.cli.completing import complete_clones, complete_goldens
from moltfleet.cli.invocation import Invocation, pass_invocation
from moltfleet.model.errors import WrongState
from moltfleet.model.requests import AgentRequest

if TYPE_CHECKING:
    from moltfleet.model.agentline import AgentLine
    from moltfleet.operations.agent import AgentClone

# ssh(1) ends so when it, and not the command, has failed.
_SSH_FAILED = 255
# A login that failed did so within this time.
_LOGIN_S = 20.0


@click.command(
    "agent",
    cls=GuestCommand,
    changes=True,
    example="moltfleet agent\nmoltfleet agent crab-1\nmoltfleet agent --golden web -- claude\n"
    "moltfleet agent crab-1 --code --path work/repos/app",
)
@click.argument("name", required=False, shell_complete=complete_clones)
@click.option("--attach", "newest", is_flag=True, help="Take the newest clone that runs, and make none.")
@click.option("--golden", default="", metavar="GOLDEN", shell_complete=complete_goldens,
              help="Golden of a new clone.  [default: the config's, or the only one]")  # fmt: skip
@click.option("--gui", is_flag=True, help="Look at its screen with virt-viewer.")
@click.option("--code", is_flag=True, help="Open it in VS Code, by Remote SSH.")
@click.option("--path", "directory", default="", metavar="DIR",
              help="Where a new session begins, and what VS Code opens.  [default: ~/work]")  # fmt: skip
@admission_options
@pass_invocation
def agent_command(invocation: Invocation, /, *, gui: bool, code: bool, directory: str, **options: Any) -> None:
    """Go to work in a clone: a new one, or one found by a part of its NAME.

    Without NAME a clone is made and started as by create; one that is off is started. Then it is connected to its
    agent session, which goes on when you leave it (Ctrl-b d), with one line about the logins there. COMMAND is typed
    into the session. What the guest writes reaches your terminal unchanged.
    """
    from moltfleet.operations.agent import bring_up, plan_agent, typed_line

    command: tuple[str, ...] = options.pop("command")
    request = AgentRequest(**options, display=gui)
    _check(request, gui=gui, code=code, more="a command" if command else "--json" if invocation.json else "")
    # Whatever can be wrong is said before a clone is made.
    typed_line(directory, command)
    if invocation.dry_run:
        return invocation.show_plan((*plan_agent(invocation.fleet, request), _way(gui=gui, code=code)))
    if code:
        _check_included(invocation)
    clone = bring_up(invocation.fleet, request)
    if clone.act != "found":
        invocation.keep_ssh_config()
    if invocation.json:
        return _tell(invocation, clone, directory, command)
    if gui or code:
        status = _look(invocation, clone) if gui else _edit(invocation, clone, directory)
    else:
        status = _connect(invocation, clone, directory, command)
    return _leave(status)


def _leave(status: int) -> None:
    click.get_current_context().exit(status)


def _check(request: AgentRequest, *, gui: bool, code: bool, more: str) -> None:
    ways = {"NAME": request.name is not None, "--attach": request.newest, "--golden": bool(request.golden)}
    chosen = [way for way, is_chosen in ways.items() if is_chosen]
    if len(chosen) > 1:
        raise click.UsageError(f"{chosen[0]} and {chosen[1]} exclude each other")
    if gui and code:
        raise click.UsageError("--gui and --code exclude each other")
    if (gui or code) and more:
        raise click.UsageError(f"{'--gui' if gui else '--code'} goes without {more}")


def _way(*, gui: bool, code: bool) -> str:
    return "look at its screen" if gui else "open it in VS Code" if code else "connect to its agent session"


def _connect(invocation: Invocation, clone: AgentClone, directory: str, command: tuple[str, ...]) -> int:
    """Hand the terminal over at once; only when ssh cannot log in it is looked into why, as that costs a login more."""
    from moltfleet.cli.wiring import ssh_arguments
    from moltfleet.operations.agent import session_words
    from moltfleet.operations.guest import login

    fleet = invocation.fleet
    words = session_words(fleet, clone.where.name, directory, command, act="connect")
    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    arguments = ssh_arguments(invocation.config, clone.where, words, terminal=has_terminal)
    started = fleet.clock.monotonic()
    status = invocation.open_ssh(invocation.config, arguments, clone.known)
    if status != _SSH_FAILED or fleet.clock.monotonic() - started > _LOGIN_S:
        return status
    # Lets this user's key in where somebody else made the clone, and tells failures in our words.
    with login(fleet, clone.where):
        pass
    return invocation.open_ssh(invocation.config, arguments, clone.known)


def _look(invocation: Invocation, clone: AgentClone) -> int:
    name = clone.where.name
    # Its display is a socket that only libvirt hands out.
    return invocation.open_program(
        ("virt-viewer", "--connect", invocation.config.uri, "--attach", "--domain-name", name)
    )


def _check_included(invocation: Invocation) -> None:
    from moltfleet.cli.wiring_access import build_ssh_config

    if not build_ssh_config(invocation.config).is_included():
        raise WrongState(
            "VS Code logs in by ~/.ssh/config, which does not know the clones",
            hint="Once: moltfleet ssh-config --install",
        )


def _edit(invocation: Invocation, clone: AgentClone, directory: str) -> int:
    from moltfleet.cli.wiring_access import build_ssh_config
    from moltfleet.operations.agent import code_directory
    from moltfleet.operations.logins import logins

    fleet = invocation.fleet
    fleet.keys.fleet_public_key()
    build_ssh_config(invocation.config).write(lambda: logins(fleet))
    remote = f"ssh-remote+{clone.where.name}"
    return invocation.open_program(("code", "--remote", remote, code_directory(clone, directory)))


def _tell(invocation: Invocation, clone: AgentClone, directory: str, command: tuple[str, ...]) -> None:
    from moltfleet.operations.agent import start_session

    session, line = start_session(invocation.fleet, clone.where, directory, command)
    invocation.show(agent_document(clone, session, line), "")


def agent_document(clone: AgentClone, session: str | None, line: AgentLine) -> dict[str, object]:
    """``moltfleet.agent/1``."""
    where = clone.where
    github = line.github
    return {
        "schema": "moltfleet.agent/1",
        "clone": where.name,
        "act": clone.act,
        "session": session,
        "ssh": {"host": where.host, "port": where.port, "user": where.user},
        "programs": [
            {"name": one.name, "version": one.version or None, "installed": one.installed, "logged_in": one.logged_in}
            for one in line.programs
        ],
        "gh": {
            "installed": bool(github and github.installed),
            "logged_in": bool(github and github.logged_in),
            "user": line.github_user or None,
        },
        "git": {"identity": line.identity or None, "signing": line.signing},
    }
