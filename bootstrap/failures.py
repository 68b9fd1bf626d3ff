"""Say what failed while cloud-init built this guest, as one line of JSON; changes nothing.

Self-contained, because it is asked for before any tool is installed: ``python3 -I - < failures.py``.
``--root DIR`` reads another tree. Every text is cut short: the reader shows it to a person.
"""

import json
import sys
from pathlib import Path

STATUS = "run/cloud-init/status.json"
STEPS = "var/log/moltfleet/steps.log"
OUTPUT = "var/log/cloud-init-output.log"
LONGEST = 500
TAIL_LINES = 40


def read(path: Path, limit: int = 1 << 20) -> str:
    """Return the end of a file, empty when it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return ""
    return data[-limit:].decode("utf-8", "replace")


def failed_steps(text: str) -> list[dict[str, object]]:
    """Return the steps whose last run failed; a line that is no JSON object is passed over."""
    last: dict[str, dict[str, object]] = {}
    for line in text.splitlines():
        try:
            step = json.loads(line)
            last[str(step["step"])] = step
        except (ValueError, KeyError, TypeError):
            continue
    return [step for step in last.values() if step.get("exit") != 0]


def stage_errors(text: str) -> list[str]:
    """Return cloud-init's own errors as "stage: text", from each stage of status.json."""
    try:
        stages = json.loads(text)["v1"]
    except (ValueError, KeyError, TypeError):
        return []
    found = []
    for name, stage in stages.items():
        if isinstance(stage, dict):
            found += [f"{name}: {error}"[:LONGEST] for error in stage.get("errors") or []]
    return found


def package_errors(text: str) -> list[str]:
    """Return apt's error lines, each once: cloud-init itself only says that apt-get failed."""
    lines = (line.strip()[:LONGEST] for line in text.splitlines() if line.startswith(("E: ", "dpkg: error")))
    return list(dict.fromkeys(lines))[:20]


def collect(root: Path) -> dict[str, object]:
    """Return everything that failed below ``root``, and the end of cloud-init's output."""
    output = read(root / OUTPUT)
    return {
        "schema": "moltfleet.failures/1",
        "steps": failed_steps(read(root / STEPS)),
        "cloud_init": stage_errors(read(root / STATUS)),
        "packages": package_errors(output),
        "tail": [line[:LONGEST] for line in output.splitlines()[-TAIL_LINES:]],
    }


def main(arguments: list[str]) -> int:
    """Print the collection."""
    root = Path(arguments[1]) if arguments[:1] == ["--root"] and len(arguments) == 2 else Path("/")
    print(json.dumps(collect(root)))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
