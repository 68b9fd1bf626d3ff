"""Renew what a golden's guest has: the distribution's packages, and the agents' CLIs, which must not renew themselves.

    renew.py [--root DIR] [--packages] [--clis]

Run as root; repeating it completes it. Each act is a named step (see step), so that a failure is found in
/var/log/moltfleet/steps.log; the exit status is 1 when one of them failed. Whatever is asked for, the self-update of
each CLI that is there is switched off for every user, unless somebody has set it. ``--root`` looks for files there.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

APT = ("apt-get", "--option", "DPkg::Lock::Timeout=300", "--assume-yes", "--quiet")
# The configuration that is there stays: it is the profile's, or a person's.
UPGRADE = (*APT, "--no-install-recommends", "--option", "Dpkg::Options::=--force-confold", "dist-upgrade")
# npm's package, and the command that must start afterwards.
CLIS = {"@anthropic-ai/claude-code": "claude", "@openai/codex": "codex", "@google/gemini-cli": "gemini"}
INSTALL = 'npm install --global --prefix /usr/local --no-fund --no-audit "$1" && "$2" --version'
ENVIRONMENT = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "NPM_CONFIG_GLOBALCONFIG": "/etc/npmrc"}


def run_step(name: str, *argv: str) -> bool:
    """Run a step by the program beside this one; whether it succeeded."""
    step = Path(__file__).resolve().parent / "step"
    return subprocess.run([str(step), name, *argv], env=ENVIRONMENT).returncode == 0


def renew_packages() -> bool:
    """Bring every package of the distribution up to date; True when all went well."""
    return run_step("apt-update", *APT, "update") and run_step("upgrade", *UPGRADE)


def installed_clis(root: Path) -> dict[str, str]:
    """Return the CLIs that npm installed for everybody; what else npm installed may not even be from its registry."""
    library = root / "usr/local/lib/node_modules"
    return {package: command for package, command in CLIS.items() if (library / package / "package.json").exists()}


def renew_clis(root: Path) -> bool:
    """Install the newest version of each CLI, and see that it starts; a failing one does not stop the others."""
    failed = [package for package, command in installed_clis(root).items() if not _renew_cli(root, package, command)]
    return not failed


def _renew_cli(root: Path, package: str, command: str) -> bool:
    # Put there by cloud-init/fragments/24-agent-clis.yaml; a golden that was made otherwise has npm alone.
    installer = root / "usr/local/lib/moltfleet/agent-cli"
    how = (str(installer),) if installer.exists() else ("sh", "-c", INSTALL, "sh")
    return run_step(f"renew-{command}", *how, f"{package}@latest", command)


def _of_claude(text: str) -> str:
    settings = json.loads(text or "{}")
    settings.setdefault("env", {}).setdefault("DISABLE_AUTOUPDATER", "1")
    return json.dumps(settings, indent=2) + "\n"


def _of_gemini(text: str) -> str:
    settings = json.loads(text or "{}")
    general = settings.setdefault("general", {})
    general.setdefault("enableAutoUpdate", False)
    general.setdefault("enableAutoUpdateNotification", False)
    return json.dumps(settings, indent=2) + "\n"


def _of_codex(text: str) -> str:
    key = "check_for_update_on_startup"
    is_set = any(line.lstrip().startswith(key) for line in text.splitlines())
    # Before the first table of the file, where a key would belong to that.
    return text if is_set else f"{key} = false\n{text}"


# For each command the file that holds for every user, and what makes of its text one that says no to self-updates.
SETTINGS: dict[str, tuple[str, Callable[[str], str]]] = {
    "claude": ("etc/claude-code/managed-settings.json", _of_claude),
    "codex": ("etc/codex/config.toml", _of_codex),
    "gemini": ("etc/gemini-cli/settings.json", _of_gemini),
}


def keep_from_updating(root: Path) -> bool:
    """Switch the self-update of each installed CLI off; False when a file of settings cannot be read."""
    well = True
    for command in installed_clis(root).values():
        name, edit = SETTINGS[command]
        file = root / name
        try:
            _rewrite(file, edit)
        except (ValueError, AttributeError, TypeError) as error:
            sys.stderr.write(f"renew: {file} cannot be read: {error}\n")
            well = False
    return well


def _rewrite(file: Path, edit: Callable[[str], str]) -> None:
    before = file.read_text() if file.exists() else ""
    after = edit(before)
    if before and _means_the_same(before, after):
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    beside = file.with_name(file.name + ".new")
    beside.write_text(after)
    beside.chmod(0o644)
    beside.replace(file)


def _means_the_same(before: str, after: str) -> bool:
    if before == after:
        return True
    try:
        return bool(json.loads(before) == json.loads(after))
    except ValueError:
        return False


def main(arguments: list[str]) -> int:
    """Do what was asked for; 1 when something failed, 2 when the command line cannot be read."""
    root, rest = Path("/"), list(arguments)
    if rest[:1] == ["--root"] and len(rest) > 1:
        root, rest = Path(rest[1]), rest[2:]
    if not set(rest) <= {"--packages", "--clis"}:
        sys.stderr.write("usage: renew.py [--root DIR] [--packages] [--clis]\n")
        return 2
    done = [
        renew_packages() if "--packages" in rest else True,
        renew_clis(root) if "--clis" in rest else True,
        keep_from_updating(root),
    ]
    return 0 if all(done) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
