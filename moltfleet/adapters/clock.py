"""The real clock behind the ``Clock`` port."""

from __future__ import annotations

import time


class SystemClock:
    """The ``Clock`` port."""

    def monotonic(self) -> float:
        """See the port."""
        return time.monotonic()

    def now(self) -> float:
        """See the port."""
        return time.time()

    def sleep(self, seconds: float) -> None:
        """See the port; zero and less do not wait."""
        if seconds > 0:
            time.sleep(seconds)
