"""Say whether a guest has what its profile promises, and what its golden's manifest records; one line of JSON.

    verify.py [--root DIR] [--settle SECONDS] [COMMAND...] [-- SERVICE...]

Exit status 1 when a command is missing, a service is not active, or a step of the build failed.
``--settle`` waits before memory is measured: right after a boot it is not the idle figure. ``--root`` asks no program.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Request:
    """What is to be verified."""

    commands: tuple[str, ...]
    services: tuple[str, ...]
    root: Path
    settle_s: float

    @property
    def is_live(self) -> bool:
        """Whether the running system is meant, and programs can be asked."""
        return self.root == Path("/")


def parse(arguments: list[str]) -> Request:
    """Read the command line. Raises: ValueError."""
    root, settle_s, rest = Path("/"), 0.0, list(arguments)
    while rest and rest[0] in ("--root", "--settle"):
        if len(rest) < 2:
            raise ValueError(f"{rest[0]} has no value")
        option, value = rest.pop(0), rest.pop(0)
        root, settle_s = (Path(value), settle_s) if option == "--root" else (root, float(value))
    cut = rest.index("--") if "--" in rest else len(rest)
    return Request(tuple(rest[:cut]), tuple(rest[cut + 1 :]), root, settle_s)


def ask(*argv: str) -> str:
    """Return a program's output, whatever its exit status; empty when there is no such program."""
    environment = {**os.environ, "PATH": PATH, "LC_ALL": "C"}
    try:
        done = subprocess.run(argv, capture_output=True, text=True, errors="replace", timeout=120, env=environment)
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def missing_commands(request: Request) -> list[str]:
    """Return the commands that are in no directory of the system's path."""
    path = ":".join(str(request.root / directory.lstrip("/")) for directory in PATH.split(":"))
    return [command for command in request.commands if shutil.which(command, path=path) is None]


def failed_services(services: tuple[str, ...]) -> dict[str, str]:
    """Return each service that is not active, with its state as systemd says it."""
    states = {service: ask("systemctl", "is-active", service) or "unknown" for service in services}
    return {service: state for service, state in states.items() if state != "active"}


def failed_steps(root: Path) -> list[str]:
    """Return the names of the build's steps whose last run failed."""
    last: dict[str, int] = {}
    try:
        lines = (root / "var/log/moltfleet/steps.log").read_text(errors="replace").splitlines()
    except OSError:
        return []
    for line in lines:
        step = json.loads(line)
        last[step["step"]] = step["exit"]
    return [name for name, status in last.items() if status != 0]


def packages() -> dict[str, str]:
    """Return the versions of all installed Debian packages."""
    lines = ask("dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Version}\n").splitlines()
    columns = (line.split("\t") for line in lines if line.startswith("ii"))
    return {name: version for _, name, version in columns}


def npm_packages(root: Path) -> dict[str, str]:
    """Return the versions of the packages that npm installed for everybody."""
    library = root / "usr/local/lib/node_modules"
    found = {}
    for manifest in sorted([*library.glob("*/package.json"), *library.glob("@*/*/package.json")]):
        content = json.loads(manifest.read_text())
        found[str(content.get("name", manifest.parent.name))] = str(content.get("version", ""))
    return found


def memory_kib(root: Path) -> tuple[int, int]:
    """Return (total, in use) in KiB; in use is what is not available, as in DESIGN's base figure."""
    pairs = (line.split(":") for line in (root / "proc/meminfo").read_text().splitlines())
    kib = {name: int(value.split()[0]) for name, value in pairs}
    return kib["MemTotal"], kib["MemTotal"] - kib["MemAvailable"]


def os_release(root: Path) -> dict[str, str]:
    """Return the distribution's id and version."""
    lines = (root / "etc/os-release").read_text().splitlines()
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return {key.lower(): values.get(key, "").strip('"') for key in ("ID", "VERSION_ID", "PRETTY_NAME")}


def collect(request: Request) -> dict[str, object]:
    """Return the verdict and the facts."""
    time.sleep(request.settle_s)
    installed = packages() if request.is_live else {}
    total_kib, idle_kib = memory_kib(request.root)
    return {
        "schema": "moltfleet.verify/1",
        "missing_commands": missing_commands(request),
        "failed_services": failed_services(request.services) if request.is_live else {},
        "failed_steps": failed_steps(request.root),
        "total_kib": total_kib,
        "idle_kib": idle_kib,
        "os": os_release(request.root),
        "kernel": os.uname().release if request.is_live else "",
        # Not asked of cloud-init itself, whose start takes seconds on an emulated CPU.
        "cloud_init": installed.get("cloud-init", ""),
        "packages": installed,
        "npm_packages": npm_packages(request.root),
    }


def main(arguments: list[str]) -> int:
    """Print the verdict; 1 when something is missing, 2 when the command line cannot be read."""
    try:
        request = parse(arguments)
    except ValueError as error:
        sys.stderr.write(f"verify: {error}\n")
        return 2
    report = collect(request)
    print(json.dumps(report))
    return 1 if any(report[key] for key in ("missing_commands", "failed_services", "failed_steps")) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
