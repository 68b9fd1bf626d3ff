"""How every command is made: shared options before and after it, an example, and what comes after ``--``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from moltfleet.cli.completing import complete_clones
from moltfleet.cli.invocation import Invocation
from moltfleet.model.errors import InvalidInput, MoltfleetError
from moltfleet.model.size import Size


def _flag(name: str) -> Callable[[click.Context, click.Parameter, Any], None]:
    def remember(ctx: click.Context, _: click.Parameter, value: Any) -> None:
        if value:
            setattr(ctx.ensure_object(Invocation), name, True)

    return remember


def _more_verbose(ctx: click.Context, _: click.Parameter, value: int) -> None:
    ctx.ensure_object(Invocation).verbosity += value


def shared_options(*, environment: bool, show_yes: bool, show_dry_run: bool) -> list[click.Option]:
    """Return the options that are accepted before and after a command; variables are read once, before it."""

    def flag(name: str, declarations: list[str], help: str, *, hidden: bool = False) -> click.Option:
        variable = f"MOLTFLEET_{name.upper()}" if environment else None
        return click.Option(
            declarations, is_flag=True, expose_value=False, callback=_flag(name), help=help, hidden=hidden,
            envvar=variable, show_envvar=environment,
        )  # fmt: skip

    return [
        flag("json", ["--json"], "Write the result as JSON (docs/json.md)."),
        click.Option(
            ["-v", "--verbose"],
            count=True,
            expose_value=False,
            callback=_more_verbose,
            help="Tell every change and the details of errors; -vv every libvirt call.",
            envvar="MOLTFLEET_VERBOSE" if environment else None,
            show_envvar=environment,
        ),
        flag("quiet", ["-q", "--quiet"], "Tell nothing but results and errors."),
        flag("yes", ["-y", "--yes"], "Do not ask before destroying something.", hidden=not show_yes),
        flag("dry_run", ["--dry-run"], "Show what would be done, and change nothing.", hidden=not show_dry_run),
    ]


class FleetCommand(click.Command):
    """A command of ours. ``changes`` has a dry run; ``destroys`` also asks, or needs ``--yes``."""

    changes_clones = True

    def __init__(self, *args: Any, example: str, changes: bool = False, destroys: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example
        self.changes = changes or destroys
        self.destroys = destroys
        self.shared = shared_options(environment=False, show_yes=self.destroys, show_dry_run=self.changes)
        self.params.extend(self.shared)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; afterwards, also when it failed for some clones, ssh is told which there are now."""
        try:
            result = super().invoke(ctx)
        except (MoltfleetError, click.exceptions.Exit):
            self._tell_ssh(ctx)
            raise
        self._tell_ssh(ctx)
        return result

    def _tell_ssh(self, ctx: click.Context) -> None:
        if self.changes and self.changes_clones:
            ctx.ensure_object(Invocation).keep_ssh_config()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the command's own options, then the shared ones."""
        help_option = self.get_help_option(ctx)
        shared = [*self.shared, *([help_option] if help_option else [])]
        own = [p for p in self.get_params(ctx) if isinstance(p, click.Option) and p not in shared]
        for title, parameters in (("Options", own), ("Shared options", shared)):
            rows = [row for parameter in parameters if (row := parameter.get_help_record(ctx))]
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the example, line by line as it is to be typed."""
        with formatter.section("Example" if "\n" not in self.example else "Examples"):
            # Not write_text, which would wrap it: an example is there to be copied.
            formatter.write("".join(f"{'':>{formatter.current_indent}}{line}\n" for line in self.example.splitlines()))


class CommandGroup(click.Group):
    """A group that shows whole summaries, in ``sections`` of names if there are any."""

    sections: Mapping[str, Iterable[str]] = {}

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Show the help to somebody who only typed the name."""
        return super().parse_args(ctx, args or ["--help"])

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list per section, the summaries aligned across them."""
        sections = self.sections or {"Commands": self.list_commands(ctx)}
        width = max(len(name) for names in sections.values() for name in names)
        for title, names in sections.items():
            commands = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(title):
                formatter.write_dl([(f"{n:<{width}}", c.get_short_help_str(limit=90)) for n, c in commands if c])


class GuestCommand(FleetCommand):
    """A command whose words after ``--`` belong to the guest; they arrive as parameter ``command``."""

    changes_clones = False

    def __init__(self, *args: Any, needs_command: bool = False, **options: Any) -> None:
        super().__init__(*args, **options)
        self.needs_command = needs_command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Cut the words after the first ``--`` off before click looks at them."""
        cut = args.index("--") if "--" in args else len(args)
        rest = super().parse_args(ctx, args[:cut])
        ctx.params["command"] = tuple(args[cut + 1 :])
        return rest

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        """Show the part after ``--`` in the usage line."""
        return [*super().collect_usage_pieces(ctx), "-- COMMAND..." if self.needs_command else "[-- COMMAND...]"]


def size_option(name: str, help: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add an option whose value is a size such as 12G, 512M, or 12288 for MiB."""
    return click.option(name, type=parse_size, metavar="SIZE", help=help)


def parse_size(value: str | Size) -> Size:
    """Read a size for click. Raises: BadParameter."""
    if isinstance(value, Size):
        return value
    try:
        return Size.parse(value)
    except InvalidInput as error:
        raise click.BadParameter(f"{error.brief}. {error.hint}") from error


timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=click.FloatRange(1, 604_800),
    metavar="SECONDS",
    help="Give up on a clone after so long, its login counted, and end the command there.",
)


FILE = click.Path(path_type=Path)


def choose_targets(names: tuple[str, ...], *, everyone: bool) -> tuple[str, ...]:
    """Return the patterns for an operation, to which none at all means every clone.

    Raises: UsageError unless exactly one of names and ``--all`` was given.
    """
    if names and everyone:
        raise click.UsageError("Names and --all exclude each other")
    if not names and not everyone:
        raise click.UsageError("No clone is named; --all means every clone")
    return names


def targets(what: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the arguments ``names`` and ``--all`` (as ``everyone``)."""

    def add(function: Callable[..., Any]) -> Callable[..., Any]:
        function = click.option("--all", "everyone", is_flag=True, help=f"{what} every clone.")(function)
        return click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_clones)(function)

    return add
