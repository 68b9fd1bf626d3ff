"""The program moltfleet-watchdog: what it was asked for, and the loop around the guard."""

from __future__ import annotations

import json
import os
import sys
import time

from moltguest import settings as configuration
from moltguest.backoff import Backoff, boot_id, key_of
from moltguest.watchdog import options as command_line
from moltguest.watchdog import selftest, service
from moltguest.watchdog.guard import Guard, World
from moltguest.watchdog.journal import Event, Journal, Lines, Log
from moltguest.watchdog.options import Options
from moltguest.watchdog.signals import PidfdSignals


def main(arguments: list[str]) -> int:
    """Run the program. Returns 1 when something fails, 2 for a bad command line, 4 when an agent may not start."""
    try:
        options = command_line.parse(arguments)
    except ValueError as error:
        sys.stderr.write(f"moltfleet-watchdog: {error}\n{command_line.USAGE}")
        return 2
    if options.help:
        sys.stdout.write(command_line.USAGE)
        return 0
    if options.may_start or options.reset is not None:
        return _back_off(options)
    if options.self_test:
        return _self_test(options)
    try:
        return _watch(options)
    except (OSError, ValueError) as error:
        sys.stderr.write(f"moltfleet-watchdog: {error}\n")
        return 1


def _back_off(options: Options) -> int:
    backoff = Backoff(options.state, boot_id(options.root))
    owner = options.owner if options.owner >= 0 else os.getuid()
    if options.reset is not None:
        backoff.reset(key_of(options.reset, owner) if options.reset else None)
        return _said(backoff.problem)
    wait_s = backoff.wait_s(key_of(options.may_start, owner), time.monotonic())
    sys.stdout.write("disabled\n" if wait_s is None else f"{wait_s:.1f}\n")
    return 4 if wait_s is None else 0


def _said(problem: str) -> int:
    if problem:
        sys.stderr.write(f"moltfleet-watchdog: {problem}\n")
    return 1 if problem else 0


def _self_test(options: Options) -> int:
    status = 0
    for what, wrong, is_fatal in selftest.run(options.root, options.state):
        word = "ok" if not wrong else "FAILED" if is_fatal else "missing"
        sys.stdout.write(f"{word:<8}{what}{': ' + wrong if wrong else ''}\n")
        status = 1 if wrong and is_fatal else status
    return status


def _watch(options: Options) -> int:
    log: Log = Lines() if options.dry_run or options.once else Journal()
    guard = Guard(_world(options, log), dry=options.dry_run)
    if options.once:
        return _once(guard)
    if not options.dry_run and not service.stay_in_memory():
        guard.complain("mlockall(2) is refused: pages of the watchdog may have to be read again when memory is short")
    log.write(Event("started", f"Watching agents in a guest of {guard.limits.total >> 20} MiB"))
    service.run(guard, options.root)
    log.write(Event("stopped", "Watching no more"))
    return 0


def _world(options: Options, log: Log) -> World:
    def read() -> tuple[configuration.Settings, tuple[str, ...]]:
        return configuration.read_file(options.config) if options.config else configuration.read(options.root)

    backoff = Backoff(options.state, boot_id(options.root))
    return World(options.root, options.state, time.monotonic, PidfdSignals(), log, backoff, read)


def _once(guard: Guard) -> int:
    """Look once; whoever was asked to end is seen through."""
    seconds = guard.tick()
    while guard.is_ending:
        time.sleep(seconds)
        seconds = guard.tick()
    sys.stdout.write(json.dumps(guard.state().document()) + "\n")
    return 0
