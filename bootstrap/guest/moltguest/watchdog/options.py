"""The command line of the watchdog, read without argparse, which would take a megabyte for as long as it runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

USAGE = """\
usage: moltfleet-watchdog [--dry-run] [--once] [--self-test] [--root DIR] [--config FILE] [--state DIR]
       moltfleet-watchdog --may-start NAME [--owner UID]
       moltfleet-watchdog --reset [NAME] [--owner UID]

Ends an agent that uses more memory than it may, before the guest suffers.

  --dry-run         say what would be done, do nothing
  --once            look once, print what was seen as JSON, act if need be, and end
  --self-test       say whether everything it needs is there; exit status 1 when not
  --root DIR        read /proc, /sys and /etc below DIR; another root than / is always a dry run
  --config FILE     instead of /etc/moltfleet/guest.conf
  --state DIR       keep /var/lib/moltfleet and /run/moltfleet below DIR
  --may-start NAME  print how many seconds to wait before this agent is started again; exit status 4 when disabled
  --reset [NAME]    let agents that were ended too often be started again
  --owner UID       of another user than the one who asks
"""


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for."""

    dry_run: bool = False
    once: bool = False
    self_test: bool = False
    root: str = "/"
    config: str = ""
    state: str = ""
    may_start: str = ""
    reset: str | None = None
    owner: int = -1
    help: bool = False


_FLAGS = {"--dry-run": "dry_run", "--once": "once", "--self-test": "self_test", "--help": "help", "-h": "help"}
_VALUES = {"--root": "root", "--config": "config", "--state": "state", "--may-start": "may_start"}


def parse(arguments: list[str]) -> Options:
    """Read the command line. Raises: ValueError with what is wrong."""
    options, rest = Options(), list(arguments)
    while rest:
        word, equals, value = rest.pop(0).partition("=")
        if word in _FLAGS and not equals:
            options = replace(options, **{_FLAGS[word]: True})  # type: ignore[arg-type]
        elif word == "--reset":
            following = rest.pop(0) if not equals and rest and not rest[0].startswith("-") else value
            options = replace(options, reset=following)
        elif word in _VALUES or word == "--owner":
            if not equals:
                if not rest:
                    raise ValueError(f"{word} has no value")
                value = rest.pop(0)
            options = _with_value(options, word, value)
        else:
            raise ValueError(f"{word!r} is not an option")
    is_dry = options.dry_run or options.root != "/"
    return replace(options, dry_run=is_dry, state=options.state or options.root)


def _with_value(options: Options, word: str, value: str) -> Options:
    if word != "--owner":
        return replace(options, **{_VALUES[word]: value})  # type: ignore[arg-type]
    if not value.isdigit():
        raise ValueError(f"--owner {value!r} is not a user's number")
    return replace(options, owner=int(value))
