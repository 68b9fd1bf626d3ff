"""What looks for credentials in a golden, on made-up disks: it finds the known ones, and leaves what is none alone."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from moltfleet.adapters.resources import BootstrapFiles

SHELLS = {"dash": ["/bin/dash"], "bash": ["/bin/bash", "--posix"], "busybox": ["/bin/busybox", "sh"]}
LONG = "a1B2c3D4e5" * 5
FOUND = {
    "home/agent/.claude/.credentials.json": "{}",
    "home/agent/.codex/auth.json": "{}",
    "root/.gemini/oauth_creds.json": "{}",
    "root/.netrc": "machine x login y password z",
    "home/agent/.git-credentials": "https://a:b@example.org",
    "home/agent/.config/gh/hosts.yml": "github.com:\n    oauth_token: gho_x\n",
    "home/agent/.npmrc": "//registry.npmjs.org/:_authToken=abc",
    "home/agent/.docker/config.json": '{"auths": {"x": {"auth": "eDp5"}}}',
    "home/agent/.aws/credentials": "[default]",
    "home/agent/.ssh/id_ed25519": "-----BEGIN OPENSSH PRIVATE KEY-----\nx",
    "home/agent/key.pem": "-----BEGIN RSA PRIVATE KEY-----",
    "home/agent/.bashrc": f'export ANTHROPIC_API_KEY="{LONG}"',
    "home/agent/work/.env": f"MY_SERVICE_API_TOKEN={LONG}",
    "home/agent/notes with a space.txt": f"it is ghp_{LONG}",
    "etc/environment": f"OPENAI_API_KEY={LONG}",
    "etc/profile.d/keys.sh": f"export X=sk-ant-{LONG}",
    "opt/app/config.json": f'{{"refresh_token": "{LONG}"}}',
    "root/.gnupg/private-keys-v1.d/A.key": "Key: (private-key",
}
NOT_FOUND = {
    "home/agent/.claude/settings.json": '{"model": "opus"}',
    "home/agent/.codex/config.toml": "model = 'x'",
    "home/agent/.config/gh/config.yml": "git_protocol: https",
    "home/agent/.docker/config.json": '{"credsStore": "pass"}',
    "home/agent/.npmrc": "prefix=/usr/local\n//r/:_authToken=${NPM_TOKEN}",
    "home/agent/.ssh/id_ed25519.pub": "ssh-ed25519 AAAA me",
    "home/agent/.bashrc": 'export ANTHROPIC_API_KEY="$(cat /run/key)"\nalias x=y',
    "home/agent/.gitconfig": "[user]\n\temail = a@example.org",
    "home/agent/.codex/empty": "",
    "home/agent/app/node_modules/tls/test/key.pem": "-----BEGIN RSA PRIVATE KEY-----",
    "home/agent/venv/lib/site-packages/test/key.pem": "-----BEGIN RSA PRIVATE KEY-----",
    "usr/share/doc/key.pem": "-----BEGIN RSA PRIVATE KEY-----",
    "home/agent/big.bin": "-----BEGIN RSA PRIVATE KEY-----" + "x" * 1_100_000,
    "root/.claude/.credentials.json": "",
}


def look(root: Path, shell: str = "dash") -> list[str]:
    script = BootstrapFiles().read("secrets.sh").decode()
    argv = [*SHELLS[shell], "-c", script, "sh", "--root", str(root)]
    environment = {"PATH": os.environ["PATH"]}
    if shell == "busybox":
        # Its own find and grep, as guests that have no other.
        programs = root.parent / "bin"
        programs.mkdir(exist_ok=True)
        for name in ("busybox", "find", "grep", "head", "printf", "sh", "sort"):
            if not (programs / name).is_symlink():
                (programs / name).symlink_to("/bin/busybox")
        environment["PATH"] = str(programs)
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def disk(root: Path, files: dict[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


@pytest.mark.parametrize("shell", SHELLS)
def test_credentials_are_named_and_nothing_of_them_told(tmp_path, shell):
    found = look(disk(tmp_path / "a disk", FOUND), shell)
    assert sorted(found) == sorted(f"/{name}" for name in FOUND)
    assert LONG not in str(found)


@pytest.mark.parametrize("shell", SHELLS)
def test_what_is_none_is_left_alone(tmp_path, shell):
    assert look(disk(tmp_path / "a disk", NOT_FOUND), shell) == []


def test_an_empty_disk_has_none(tmp_path):
    assert look(tmp_path) == []


def test_many_files_are_looked_at_in_few_processes(tmp_path):
    home = tmp_path / "disk/home/agent/work"
    home.mkdir(parents=True)
    for number in range(3000):
        (home / f"{number}.txt").write_text("nothing")
    (home / "2999.txt").write_text(f"ghp_{LONG}")
    started = time.monotonic()
    assert look(tmp_path / "disk") == ["/home/agent/work/2999.txt"]
    assert time.monotonic() - started < 20


def test_a_guest_without_the_programs_is_said(tmp_path):
    script = BootstrapFiles().read("secrets.sh").decode()
    argv = ["/bin/dash", "-c", script, "sh", "--root", str(tmp_path)]
    done = subprocess.run(argv, env={"PATH": "/nowhere"}, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (1, "secrets: there is no find\n")


def test_a_home_that_leads_elsewhere_is_not_followed(tmp_path):
    disk(tmp_path / "other", FOUND)
    (tmp_path / "disk/home").mkdir(parents=True)
    (tmp_path / "disk/home/agent").symlink_to(tmp_path / "other/home/agent")
    assert look(tmp_path / "disk") == []


def test_a_disk_that_cannot_be_looked_at_is_said():
    done = subprocess.run(
        ["dash", "-c", BootstrapFiles().read("secrets.sh").decode(), "sh", "--root", "/nowhere"], check=False
    )
    assert done.returncode == 1
