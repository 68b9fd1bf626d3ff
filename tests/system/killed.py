"""Run moltfleet and die by SIGKILL right after one of its effects: `killed.py EFFECT ARGUMENTS…`.

The program has no hook for this: every effect is logged, and this process listens to the log.
"""

import logging
import os
import signal
import sys


class Killer(logging.Handler):
    """Kills its own process at the first record of an effect."""

    def __init__(self, effect: str) -> None:
        super().__init__()
        self._effect = effect

    def emit(self, record: logging.LogRecord) -> None:
        """See the class."""
        if getattr(record, "effect", None) == self._effect:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Listen, then run the command line as installed."""
    from moltfleet.cli import main as moltfleet

    effects = logging.getLogger("moltfleet.effects")
    effects.setLevel(logging.INFO)
    effects.addHandler(Killer(sys.argv[1]))
    sys.argv = ["moltfleet", *sys.argv[2:]]
    moltfleet()


if __name__ == "__main__":
    main()
