"""The wheel installed by pipx: the command runs, and bash, zsh and fish complete it by what the package brings.

Needs PyPI or pip's cache, as whoever installs it does.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# libvirt-python is built from source where pip has not kept it.
_INSTALL_S = 900
_ANSWER_S = 60.0
# Where packages come from, and by what way.
_OF_PIP = ("PIP_", "SSL_", "REQUESTS_", "HTTP_", "HTTPS_", "NO_PROXY")


@dataclass(frozen=True, slots=True)
class Installed:
    """A home directory in which pipx installed the package, and nothing else."""

    home: Path
    share: Path
    environment: dict[str, str]

    def run(self, *argv: str) -> str:
        """What a program prints there."""
        done = subprocess.run(argv, env=self.environment, cwd=self.home, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{argv}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    place = tmp_path_factory.mktemp("pipx")
    built = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(place)]
    subprocess.run(built, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = place.glob("*.whl")
    home = place / "home"
    home.mkdir()
    programs = {"PIPX_HOME": str(place / "pipx"), "PIPX_BIN_DIR": str(place / "bin")}
    # pip keeps what it built where it always does; nothing else is taken from whoever runs the test.
    kept = {key: text for key, text in os.environ.items() if key.upper().startswith(_OF_PIP)}
    pip = {
        "PIP_CACHE_DIR": str(Path.home() / ".cache/pip"),
        "PIP_CONFIG_FILE": str(Path.home() / ".config/pip/pip.conf"),
    }
    path = f"{place / 'bin'}:/usr/local/bin:/usr/bin:/bin"
    environment = pip | kept | programs | {"HOME": str(home), "PATH": path, "TERM": "dumb"}
    # As -c names it, the completion asks no libvirt of this machine.
    environment |= {"LC_ALL": "C.UTF-8", "LIBVIRT_DEFAULT_URI": "test:///default"}
    done = subprocess.run(
        ["pipx", "install", str(wheel)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_INSTALL_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Installed(home, place / "pipx/venvs/moltfleet/share", environment)


def test_the_command_tells_its_version(installed: Installed) -> None:
    assert re.fullmatch(r"moltfleet \d+\.\d+\.\d+\n", installed.run("moltfleet", "--version"))


def test_the_documented_command_makes_bash_complete(installed: Installed) -> None:
    script = "source <(moltfleet completion bash); complete -p moltfleet; COMP_WORDS=(moltfleet mol); COMP_CWORD=1"
    said = installed.run("bash", "--norc", "-c", f'{script}; _moltfleet_completion moltfleet; echo "${{COMPREPLY[*]}}"')
    assert said.splitlines()[-1] == "molt"


def test_bash_completes_by_the_file_of_the_package(installed: Installed) -> None:
    file = installed.share / "bash-completion/completions/moltfleet"
    script = f"source {file}; COMP_WORDS=(moltfleet golden bu); COMP_CWORD=2; _moltfleet_completion moltfleet"
    assert installed.run("bash", "--norc", "-c", f'{script}; echo "${{COMPREPLY[*]}}"') == "build\n"


def test_fish_completes_by_the_file_of_the_package(installed: Installed) -> None:
    environment = installed.environment | {"XDG_DATA_DIRS": str(installed.share)}
    there = Installed(installed.home, installed.share, environment)
    assert offered_by_fish(there, "moltfleet mol") == ["molt"]
    assert offered_by_fish(there, "moltfleet adopt --ap") == ["--apply"]


def test_fish_completes_after_the_documented_command(installed: Installed) -> None:
    folder = installed.home / ".config/fish/completions"
    folder.mkdir(parents=True)
    (folder / "moltfleet.fish").write_text(installed.run("moltfleet", "completion", "fish"))
    assert offered_by_fish(installed, "moltfleet golden bu") == ["build"]


def offered_by_fish(installed: Installed, line: str) -> list[str]:
    """What fish would offer for a line, without the descriptions."""
    return [word.split("\t")[0] for word in installed.run("fish", "-c", f"complete -C '{line}'").splitlines()]


@pytest.mark.parametrize("way", ["package", "documented"])
def test_zsh_completes_what_is_typed(installed: Installed, way: str) -> None:
    folder = installed.share / "zsh/site-functions"
    if way == "documented":
        folder = installed.home / ".zfunc"
        folder.mkdir()
        (folder / "_moltfleet").write_text(installed.run("moltfleet", "completion", "zsh"))
    assert "moltfleet molt " in typed_into_zsh(installed, folder)


def typed_into_zsh(installed: Installed, folder: Path) -> str:
    """What stands on the screen of an interactive zsh after `moltfleet mol` and a press on TAB."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(installed.home)
        os.execve("/usr/bin/zsh", ["zsh", "-f", "-i"], installed.environment)
    try:
        ready = f"PS1=; fpath=({folder} $fpath); autoload -Uz compinit; compinit -u -D; echo re''ady\r"
        os.write(terminal, ready.encode())
        seen = read_until(terminal, "ready")
        os.write(terminal, b"moltfleet mol\t")
        return seen + read_until(terminal, "moltfleet molt ")
    finally:
        os.close(terminal)
        os.waitpid(child, 0)


def read_until(terminal: int, text: str) -> str:
    """Read a terminal until a text stands on it, or for a minute."""
    deadline, seen = time.monotonic() + _ANSWER_S, ""
    while text not in seen and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            seen += os.read(terminal, 4096).decode(errors="replace")
    return seen
