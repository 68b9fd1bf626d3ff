"""Run moltfleet and wait at one of its effects: `paused.py EFFECT FILE ARGUMENTS…` goes on when FILE is gone.

The program has no hook for this: every effect is logged, and this process listens to the log.
"""

import logging
import pathlib
import sys
import time


class Pauser(logging.Handler):
    """Makes the file at the first record of an effect, and waits until somebody removes it."""

    def __init__(self, effect: str, file: pathlib.Path) -> None:
        super().__init__()
        self._effect = effect
        self._file = file

    def emit(self, record: logging.LogRecord) -> None:
        """See the class."""
        if getattr(record, "effect", None) == self._effect:
            self._file.touch()
            while self._file.exists():
                time.sleep(0.1)


def main() -> None:
    """Listen, then run the command line as installed."""
    from moltfleet.cli import main as moltfleet

    effects = logging.getLogger("moltfleet.effects")
    effects.setLevel(logging.INFO)
    effects.addHandler(Pauser(sys.argv[1], pathlib.Path(sys.argv[2])))
    sys.argv = ["moltfleet", *sys.argv[3:]]
    moltfleet()


if __name__ == "__main__":
    main()
