"""One run of the command line: its options, and the settings and fleet that are built only when a command asks."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from moltfleet.cli.errors import Declined
from moltfleet.model.errors import InvalidInput, MoltfleetError

if TYPE_CHECKING:
    from moltfleet.config import Config
    from moltfleet.model.domain import Endpoint
    from moltfleet.model.ports import Progress
    from moltfleet.operations.fleet import Fleet
    from moltfleet.operations.host import Host
    from moltfleet.operations.scheduling import Scheduling

# Given the settings (whose ``uri`` is the effective one), the URI and the progress.
FleetBuilder = Callable[["Config", str, "Progress"], "Fleet"]
# Given the settings and the progress.
HostBuilder = Callable[["Config", "Progress"], "Host"]
# Given the settings, the progress, and the options that go before the command in whatever is scheduled.
SchedulingBuilder = Callable[["Config", "Progress", tuple[str, ...]], "Scheduling"]
# Given the arguments of the OpenSSH client and the clones whose host keys it is to know; returns its exit status.
SshOpener = Callable[["Config", Sequence[str], Iterable["Endpoint"]], int]
# Given a program's argument list; lets it have the terminal and returns its exit status.
ProgramOpener = Callable[[Sequence[str]], int]
# Given the settings and the fleet; brings up to date what plain ssh reads, if that was ever asked for.
SshConfigKeeper = Callable[["Config", "Fleet"], None]


def _wire(config: Config, uri: str, progress: Progress) -> Fleet:
    from moltfleet.cli.wiring import build_fleet

    return build_fleet(config, uri, progress)


def _wire_host(config: Config, progress: Progress) -> Host:
    from moltfleet.cli.wiring_host import build_host

    return build_host(config, progress)


def _wire_scheduling(config: Config, progress: Progress, options: tuple[str, ...]) -> Scheduling:
    from moltfleet.cli.wiring_schedule import build_scheduling

    return build_scheduling(config, progress, options)


def _keep_ssh_config(config: Config, fleet: Fleet) -> None:
    from moltfleet.cli.wiring_access import keep_ssh_config

    keep_ssh_config(config, fleet)


def _open_ssh(config: Config, arguments: Sequence[str], known: Iterable[Endpoint]) -> int:
    from moltfleet.cli.wiring import open_ssh

    return open_ssh(config, arguments, known)


def _open_program(arguments: Sequence[str]) -> int:
    from moltfleet.cli.wiring import open_program

    return open_program(arguments)


@dataclass(slots=True)
class Invocation:
    """The object on click's context. Fields above ``uri`` are for tests; the others are set by options."""

    build_fleet: FleetBuilder = _wire
    build_host: HostBuilder = _wire_host
    build_scheduling: SchedulingBuilder = _wire_scheduling
    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    interactive: bool | None = None
    open_ssh: SshOpener = _open_ssh
    open_program: ProgramOpener = _open_program
    ssh_config_keeper: SshConfigKeeper = _keep_ssh_config
    uri: str | None = None
    config_file: Path | None = None
    json: bool = False
    verbosity: int = 0
    quiet: bool = False
    yes: bool = False
    dry_run: bool = False
    _config: Config | None = None
    _progress: Progress | None = None
    _fleet: Fleet | None = None

    @property
    def config(self) -> Config:
        """The settings, read once. Raises: InvalidInput."""
        if self._config is None:
            from moltfleet.config import load_config

            self._config = load_config(self.config_file, uri=self.uri, environment=self.environment)
        return self._config

    @property
    def progress(self) -> Progress:
        """What a person sees while waiting, on standard error."""
        if self._progress is None:
            from moltfleet.progress import choose_progress

            self._progress = choose_progress(quiet=self.quiet, verbose=self.verbosity > 0, stream=sys.stderr)
        return self._progress

    def end_progress(self) -> None:
        """Take a live display off the terminal, also when work goes on in threads that an interrupt left behind."""
        if self._progress is not None:
            from moltfleet.progress import ConsoleProgress

            if isinstance(self._progress, ConsoleProgress):
                self._progress.close()

    @property
    def fleet(self) -> Fleet:
        """The fleet, connected once."""
        if self._fleet is None:
            from moltfleet.cli.logs import configure_logging

            configure_logging(self.verbosity)
            self._fleet = self.build_fleet(self.config, self.config.uri, self.progress)
        return self._fleet

    @property
    def host(self) -> Host:
        """This machine, for the commands that are about it and not about libvirt."""
        from moltfleet.cli.logs import configure_logging

        configure_logging(self.verbosity)
        return self.build_host(self.config, self.progress)

    @property
    def scheduling(self) -> Scheduling:
        """This machine's timers; what is scheduled gets the libvirt and the settings that were named for this run."""
        from moltfleet.cli.logs import configure_logging

        configure_logging(self.verbosity)
        return self.build_scheduling(self.config, self.progress, self.own_options)

    @property
    def own_options(self) -> tuple[str, ...]:
        """The options by which another run finds the libvirt and the settings that were named for this one."""
        file = self.config_file or self.environment.get("MOLTFLEET_CONFIG")
        uri = self.uri or self.environment.get("LIBVIRT_DEFAULT_URI")
        return (*(("--connect", uri) if uri else ()), *(("--config", str(Path(file).absolute())) if file else ()))

    @property
    def is_interactive(self) -> bool:
        """Whether there is a person at a terminal to ask."""
        if self.interactive is not None:
            return self.interactive
        return sys.stdin.isatty() and sys.stderr.isatty()

    def keep_ssh_config(self) -> None:
        """After a command that asked the fleet for something: plain ssh knows the clones that there are now.

        The command's own end is what counts: a failure here is told, and no more.
        """
        if self._fleet is None or self.dry_run:
            return
        try:
            self.ssh_config_keeper(self.config, self._fleet)
        except MoltfleetError as error:
            self.progress.warn(f"What plain ssh knows of clones is as before: {error.brief}", hint=error.hint)

    def show(self, document: Mapping[str, Any], text: str) -> None:
        """Write the result: the document with ``--json``, else the text unless it is empty."""
        if self.json:
            click.echo(json.dumps(document, indent=2))
        elif text:
            click.echo(text)

    def show_plan(self, lines: tuple[str, ...]) -> None:
        """Write what would be done (``--dry-run``)."""
        from moltfleet.cli.documents import dry_run_document

        self.show(dry_run_document(lines), "\n".join(lines))

    def confirm(self, question: str, plan: Callable[[], tuple[str, ...]]) -> None:
        """Let a person agree to something that cannot be taken back; ``plan`` is computed only to be shown.

        Raises: InvalidInput without a terminal, Declined.
        """
        if self.yes:
            return
        if not self.is_interactive:
            raise InvalidInput(
                "Nothing was changed: there is no terminal to confirm on",
                hint="Add --yes to go ahead, or --dry-run to see what would be done.",
            )
        for line in plan():
            click.echo(line, err=True)
        if not click.confirm(question, err=True):
            raise Declined("Nothing was changed")


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)
