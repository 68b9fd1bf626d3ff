"""`moltfleet agent` over a real sshd and the OpenSSH client, in a real tmux on both sides: one login, one line."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from fakes import World, a_world
from moltfleet.adapters.clock import SystemClock
from moltfleet.adapters.openssh import SshClient, write_known_hosts
from moltfleet.adapters.resources import BootstrapFiles
from moltfleet.cli.app import app
from moltfleet.cli.invocation import Invocation
from moltfleet.operations.agent import session_words
from moltfleet.operations.fleet import Fleet

# What agent-session does of interest here; the real one needs the guest's systemd.
SESSION = """\
#!/bin/sh
[ "$1" = --detached ] || exit 2
tmux -L "$2" has-session -t "=$2" 2>/dev/null ||
    exec tmux -L "$2" -f /dev/null new-session -d -s "$2" -c "${3:-$HOME/work}"
"""
CLI = '#!/bin/sh\n[ "$1" = --version ] || exit 1\necho "2.3.4 (A CLI)"\n'
PROGRAMS = (
    "sh",
    "bash",
    "awk",
    "sed",
    "tr",
    "cut",
    "head",
    "readlink",
    "grep",
    "sleep",
    "tmux",
    "git",
    "infocmp",
    "timeout",
)
SLOW = "#!/bin/sh\nsleep 60\n"
PATIENCE_S = 30.0


@dataclass
class Guest:
    """A clone called crab-1 whose guest is an sshd with a home of its own."""

    home: Path
    programs: Path
    server: object
    fleet: Fleet
    world: World
    state: Path

    def program(self, name: str, text: str) -> None:
        path = self.programs / name
        path.unlink(missing_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def write(self, name: str, text: str) -> None:
        path = self.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def tmux(self, *words: str) -> str:
        argv = ["tmux", "-L", "agent", *words]
        environment = {**os.environ, "TMUX_TMPDIR": str(self.home)}
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False).stdout

    def wait(self, what: str) -> str:
        """What the session shows once it shows something."""
        end = time.monotonic() + PATIENCE_S
        while what not in (shown := self.tmux("capture-pane", "-p", "-J", "-t", "=agent:")):
            assert time.monotonic() < end, f"never shown: {what}\n{shown}"
            time.sleep(0.1)
        return shown

    def logins(self) -> int:
        """How often somebody logged in."""
        return (self.server.home / "log").read_text().count("Accepted publickey for")

    def do(self, *words: str) -> tuple[int, str, str]:
        invocation = Invocation(build_fleet=lambda *_: self.fleet, environment={"HOME": str(self.home.parent)})
        result = CliRunner().invoke(app, list(words), obj=invocation, catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def guest(guest_of: Callable[..., object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Guest]:
    home, programs, state = tmp_path / "home", tmp_path / "programs", tmp_path / "state"
    (home / "work").mkdir(parents=True)
    programs.mkdir()
    server = guest_of("crab-1", HOME=home, PATH=programs, TMUX_TMPDIR=home, SHELL="/bin/sh", GIT_CONFIG_NOSYSTEM=1)
    monkeypatch.setenv("XDG_DATA_HOME", str(state))
    monkeypatch.setenv("XDG_STATE_HOME", str(state))
    keys = state / "moltfleet"
    keys.mkdir(parents=True)
    shutil.copy(server.home / "fleet_key", keys / "id_ed25519")
    world = a_world(clones=("crab-1", "prawn-1"), emulation_factor=1)
    record = world.record("crab-1")
    attachment = replace(record.attachment, kind="user", ssh_port=server.endpoint.port)
    user = pwd.getpwuid(os.getuid()).pw_name
    changed = replace(record, attachment=attachment, host_keys=server.endpoint.host_keys, user=user)
    world.hypervisor.write_record("crab-1", changed)
    fleet = replace(world.fleet, guests=server.guests(), bootstrap=BootstrapFiles(), clock=SystemClock())
    made = Guest(home, programs, server, fleet, world, state)
    made.program("agent-session", SESSION)
    # No agent or gh that this machine happens to have; calls and not links, as a test may write over one of these.
    for name in PROGRAMS:
        made.program(name, f'#!/bin/sh\nexec {shutil.which(name)} "$@"\n')
    yield made
    made.tmux("kill-server")


def argv(guest: Guest, directory: str = "", *command: str) -> list[str]:
    client = SshClient(guest.state / "moltfleet/id_ed25519", guest.state / "known_hosts")
    write_known_hosts(client.known_hosts, [guest.server.endpoint])
    words = session_words(guest.fleet, "crab-1", directory, command, act="connect")
    return client.argv(guest.server.endpoint, words, terminal=True)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Callable[..., str]]:
    """Words for a tmux that is this person's terminal."""
    socket = str(tmp_path / "terminal")

    def tmux(*words: str) -> str:
        line = ["tmux", "-S", socket, "-f", "/dev/null", *words]
        return subprocess.run(line, capture_output=True, text=True, timeout=30, check=True).stdout

    yield tmux
    subprocess.run(["tmux", "-S", socket, "kill-server"], capture_output=True, check=False)


def shown(terminal: Callable[..., str], what: str, *target: str) -> str:
    end = time.monotonic() + PATIENCE_S
    while what not in (screen := terminal("capture-pane", "-p", "-J", *target)):
        assert time.monotonic() < end, f"never shown: {what}\n{screen}"
        time.sleep(0.1)
    return screen


def test_a_terminal_ends_up_in_the_session_with_the_line_in_its_last_row(guest, terminal):
    guest.program("claude", CLI)
    guest.write(".claude/.credentials.json", "{}")
    guest.write(".gitconfig", '[user]\nname = "Ann #{pane_id} %H"\nemail = ann@example.org\n')
    terminal("new-session", "-d", "-x", "200", "-y", "20", "--", *argv(guest, "", "printf 'I am %s\\n' there"))
    screen = shown(terminal, "crab-1: claude 2.3.4")
    shown(terminal, "I am there")
    assert "git as Ann #{pane_id} %H <ann@example.org>, commits unsigned" in screen
    assert guest.tmux("list-clients", "-t", "=agent").count("\n") == 1
    assert guest.logins() == 1


def test_leaving_a_session_leaves_it_running_and_coming_back_finds_it(guest, terminal):
    terminal("new-session", "-d", "-x", "120", "-y", "20", "--", *argv(guest, "", "MINE=still; echo $MINE begun"))
    shown(terminal, "still begun")
    # The terminal's own server would end with its only session.
    terminal("new-session", "-d", "-s", "other", "--", "sleep", "600")
    guest.tmux("detach-client", "-s", "agent")
    terminal("new-session", "-d", "-s", "again", "-x", "120", "-y", "20", "--", *argv(guest))
    shown(terminal, "still begun", "-t", "=again:")
    guest.tmux("send-keys", "-t", "=agent:", "echo $MINE here", "Enter")
    assert "still here" in guest.wait("still here")


def test_where_somebody_is_at_work_a_command_gets_a_window_of_its_own(guest):
    (guest.home / "work/app").mkdir()
    assert guest.do("agent", "crab-1", "--", "echo first")[0] == 0
    guest.wait("first")
    assert guest.do("agent", "crab-1", "--path", "~/work/app", "--", "pwd; echo second")[0] == 0
    assert f"{guest.home}/work/app\nsecond" in guest.wait("\nsecond")
    assert guest.tmux("list-windows", "-t", "=agent").count("\n") == 2


def test_words_are_typed_as_they_were_given(guest):
    words = ("printf", "[%s]\n", "a b", "it's", "$HOME", "-n")
    assert guest.do("agent", "crab-1", "--", *words)[0] == 2
    assert guest.do("agent", "crab-1", "--", "printf", "[%s]", *words[2:])[0] == 0
    guest.wait("[a b][it's][$HOME][-n]")


def test_without_a_terminal_the_line_is_told_and_one_login_is_all(guest, capfd):
    guest.program("codex", CLI)
    guest.program("gh", CLI)
    guest.write(".config/gh/hosts.yml", "github.com:\n    user: ann\n    oauth_token: gho_secret\n")
    guest.write(
        ".gitconfig", "[user]\nname = Ann\nsigningKey = ~/.ssh/sign\n[commit]\ngpgSign = true\n[gpg]\nformat = ssh\n"
    )
    durations_s = []
    for turn in range(3):
        started = time.monotonic()
        code, _, said = guest.do("agent", "crab")
        durations_s.append(time.monotonic() - started)
        out, err = capfd.readouterr()
        assert (code, said, err) == (0, "", "")
        assert out == (
            "crab-1: no claude, codex 2.3.4 (no login), no gemini, gh as ann, git as Ann, signing key is missing\n"
            "Session agent runs in crab-1; from a terminal: moltfleet agent crab-1\n"
        )
        assert guest.logins() == turn + 1
    # Other tests may have both processors meanwhile.
    assert min(durations_s) < 3, durations_s


def test_versions_come_from_files_and_a_program_that_hangs_is_not_waited_for(guest):
    package = guest.home / "lib/node_modules/@anthropic-ai/claude-code"
    guest.write(
        "lib/node_modules/@anthropic-ai/claude-code/package.json", '{\n  "name": "x",\n  "version": "2.0.14"\n}\n'
    )
    (package / "cli.js").write_text(SLOW)
    (package / "cli.js").chmod(0o755)
    (guest.programs / "claude").symlink_to(package / "cli.js")
    guest.program("gemini", SLOW)
    code, out, _ = guest.do("agent", "crab-1", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["programs"] == [
        {"name": "claude", "version": "2.0.14", "installed": True, "logged_in": False},
        {"name": "codex", "version": None, "installed": False, "logged_in": False},
        {"name": "gemini", "version": None, "installed": True, "logged_in": False},
    ]
    assert (document["clone"], document["act"], document["session"]) == ("crab-1", "found", "agent")
    assert document["git"] == {"identity": None, "signing": "off"}


def test_no_secret_is_told(guest, capfd):
    for name in (".claude/.credentials.json", ".codex/auth.json", ".config/gh/hosts.yml"):
        guest.write(name, '{"oauth_token": "sk-secret"}\n')
    for name in ("claude", "codex", "gh"):
        guest.program(name, CLI)
    told = guest.do("agent", "crab-1", "--json")
    guest.do("agent", "crab-1")
    assert "secret" not in str(told) + str(capfd.readouterr())
    assert [one["logged_in"] for one in json.loads(told[1])["programs"]] == [True, True, False]


def test_a_guest_without_sessions_gives_a_plain_shell(guest, terminal):
    (guest.programs / "agent-session").unlink()
    terminal("new-session", "-d", "-x", "120", "-y", "20", "--", *argv(guest, "work"))
    shown(terminal, "No agent-session in crab-1: this is a plain shell")
    terminal("send-keys", "echo $PWD is it", "Enter")
    shown(terminal, f"{guest.home.name}/work is it")
    code, out, _ = guest.do("agent", "crab-1", "--json")
    assert (code, json.loads(out)["session"]) == (0, None)
    code, out, _ = guest.do("agent", "crab-1", "--json", "--", "true")
    assert (code, json.loads(out)["error"]["code"]) == (7, "guest-failed")


def test_a_directory_that_is_not_there_is_said(guest, capfd):
    assert guest.do("agent", "crab-1", "--path", "nowhere")[0] == 3
    assert "there is no directory nowhere in the guest" in capfd.readouterr().err
    code, out, _ = guest.do("agent", "crab-1", "--path", "nowhere", "--json")
    assert (code, json.loads(out)["error"]["brief"]) == (
        7,
        "No agent session was started in 'crab-1': there is no directory nowhere in the guest",
    )


def test_what_a_hostile_guest_says_of_itself_stays_text(guest):
    guest.write(".gitconfig", '[user]\nname = "\\u001b]0;owned\\u0007 x"\n')
    guest.program("git", "#!/bin/sh\nprintf '\\033]0;owned\\007\\tssh\\tx\\n%70000s' x\n")
    code, out, _ = guest.do("agent", "crab-1", "--json")
    assert code == 0
    assert "\x1b" not in out and "u001b" not in out and len(out) < 4000


def test_a_login_that_is_refused_is_told_in_our_words(guest, stranger_key, monkeypatch, capfd):
    shutil.copy(stranger_key, guest.state / "moltfleet/id_ed25519")
    guest.world.hypervisor.behave("crab-1", has_agent=False)
    fleet = replace(guest.fleet, guests=type(guest.fleet.guests)(lambda: stranger_key))
    guest.fleet = fleet
    code, _, said = guest.do("agent", "crab-1")
    assert code == 7
    assert "'crab-1'" in said and said.count("Error: ") == 1
