"""A clone that has something: memory that goes, places that are full, a health check that lies."""

from __future__ import annotations

import shlex
import time
from dataclasses import dataclass
from typing import Any

from .conftest import User

# Takes so many MiB a second, for ever.
LEAK = """
import sys, time
kept = []
while True:
    kept.append(bytearray(b"x") * (1 << 20))
    time.sleep(1 / float(sys.argv[1]))
"""
LONGEST_S = 180.0
PROGRAM = "/usr/local/bin/vm-health-check"
# Much of it would reach a terminal that did not know whom it talks to.
LIAR = r"""#!/bin/sh
yes "$(printf '\033[2J\033]0;owned\007{"schema": "moltfleet.guest-health/1", "host": "\033[31m"')" | head -c 3000000
"""


@dataclass(slots=True)
class AilingGuest:
    """A clone with the guest tools."""

    owner: User
    name: str

    def root(self, script: str) -> str:
        """What a script run as root prints."""
        return self.owner.shell(self.name, f"sudo sh -c {shlex.quote(script)}")

    def look(self) -> dict[str, Any]:
        """What ``moltfleet health`` has of it."""
        (result,) = self.owner.json("health", self.name)["results"]
        assert isinstance(result, dict)
        return result

    def codes(self) -> dict[str, str]:
        """The findings of a look, by their codes, with their levels."""
        return {finding["code"]: finding["level"] for finding in self.look()["health"]["findings"]}

    def wait_for(self, *verdicts: str) -> dict[str, Any]:
        """Look until one of these verdicts is given."""
        deadline = time.monotonic() + LONGEST_S
        while (result := self.look())["verdict"] not in verdicts:
            assert time.monotonic() < deadline, result
        return result

    def leak(self, mib_per_s: float) -> None:
        """Let a program named like an agent leak, in nobody's scope."""
        self.root(
            f"mkdir -p /opt/agents && cp $(readlink -f /usr/bin/python3) /opt/agents/claude && "
            f"printf %s {shlex.quote(LEAK)} > /opt/agents/leak.py"
        )
        agent = f"/opt/agents/claude -I -S /opt/agents/leak.py {mib_per_s}"
        self.owner.shell(self.name, f"setsid -f {agent} < /dev/null > /dev/null 2>&1")

    def replace_the_health_check(self, script: str) -> None:
        """Put another program in its place."""
        self.root(f"rm -f {PROGRAM} && printf %s {shlex.quote(script)} > {PROGRAM} && chmod 755 {PROGRAM}")
