"""Learn from the machine's own apt where Debian packages come from and how to reach it."""

from __future__ import annotations

import re
import subprocess

KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
RELEASES = ("bookworm", "trixie")
DEFAULT_URIS = {
    "": "http://deb.debian.org/debian",
    "-updates": "http://deb.debian.org/debian",
    "-security": "http://deb.debian.org/debian-security",
}
REACHING = re.compile(r"proxy|Check-Valid-Until|Check-Date|Retries", re.IGNORECASE)


def list_sources(release: str) -> tuple[str, ...]:
    """Return one-line apt sources of the release, from the mirrors that this machine uses."""
    uris = {**DEFAULT_URIS, **find_configured_uris()}
    return tuple(f"deb [signed-by={KEYRING}] {uri} {release}{suffix} main" for suffix, uri in uris.items())


def find_configured_uris() -> dict[str, str]:
    """Return the machine's Debian mirrors by suite suffix; nothing on a machine that is not Debian."""
    command = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages"]
    output = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    suites = re.compile(rf"(\S+?)/? (?:{'|'.join(RELEASES)})(|-updates|-security)")
    found = (suites.fullmatch(line) for line in output.splitlines())
    return {match[2]: match[1] for match in found if match}


def list_options() -> tuple[str, ...]:
    """Return the machine's apt options for proxies and clocks, as lines of apt.conf."""
    command = ["apt-config", "dump", "--format", '%F "%v";%n', "Acquire"]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    lines = (line for line in output.splitlines() if not line.endswith('"";'))
    return tuple(line for line in lines if REACHING.search(line.split()[0]))
