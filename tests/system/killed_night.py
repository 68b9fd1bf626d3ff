"""Run moltfleet and die by SIGKILL when its night is written down for the Nth time: `killed_night.py N ARGUMENTS…`.

As with `killed.py` the program has no hook for this: what it does is logged, and this process listens to the log.
"""

import logging
import os
import signal
import sys


class Killer(logging.Handler):
    """Kills its own process at the Nth record of a journal that was written."""

    def __init__(self, count: int) -> None:
        super().__init__(logging.DEBUG)
        self._left = count

    def emit(self, record: logging.LogRecord) -> None:
        """See the class."""
        if record.getMessage() == "night: written down":
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Listen, then run the command line as installed."""
    from moltfleet.cli import main as moltfleet

    journal = logging.getLogger("moltfleet.operations.nightjournal")
    journal.setLevel(logging.DEBUG)
    journal.addHandler(Killer(int(sys.argv[1])))
    sys.argv = ["moltfleet", *sys.argv[2:]]
    moltfleet()


if __name__ == "__main__":
    main()
