"""To be run by name. Plain ssh, Ansible's inventory and another person's key, on real clones."""

from __future__ import annotations

import json

from .conftest import Completed, User

_STRANGER = ("-F", "none", "-i", ".ssh/stranger", "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes")
# Whose host key it is, is not the question here.
_UNCHECKED = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null")


def ssh(user: User, *words: str, check: bool = True) -> Completed:
    """OpenSSH's client as the user types it in her home directory."""
    line = ("sh", "-c", 'cd && exec ssh -n "$@"', "-", *words)
    return user.lab.run(*line, user=user.name, check=check)


def config(user: User) -> str:
    return user.lab.run("sh", "-c", "cat ~/.ssh/config", user=user.name).stdout


def test_plain_ssh_knows_every_clone_by_its_name(alice: User, crab: str) -> None:
    alice.write(".ssh/config", "Host web\n  Port 2222\n")
    alice.run("ssh-config", "--install")
    try:
        assert ssh(alice, crab, "hostname").stdout.strip() == crab
        # Whatever is created later is known as well, and gone when it is deleted.
        alice.run("create", "tiny", "prawn")
        assert ssh(alice, "prawn", "hostname").stdout.strip() == "prawn"
        alice.run("molt", "prawn", "--yes")
        assert ssh(alice, "prawn", "hostname").stdout.strip() == "prawn"
        alice.run("delete", "prawn", "--yes")
        assert ssh(alice, "prawn", "true", check=False).returncode == 255
        assert json.loads(alice.run("ssh-config", "--json").stdout)["clones"] == [crab]
    finally:
        alice.run("ssh-config", "--remove")
    assert config(alice) == "Host web\n  Port 2222\n"


def test_the_inventory_tells_what_ssh_needs(alice: User, crab: str) -> None:
    document = json.loads(alice.run("inventory").stdout)
    assert crab in document["golden_tiny"]["hosts"] and crab in document["state_running"]["hosts"]
    variables = document["_meta"]["hostvars"][crab]
    line = f"ssh -n {variables['ansible_ssh_common_args']} -l {variables['ansible_user']} {variables['ansible_host']}"
    assert alice.lab.run("sh", "-c", f"{line} hostname", user=alice.name).stdout.strip() == crab


def test_another_persons_key_is_let_in_until_the_next_molt(alice: User, crab: str) -> None:
    alice.lab.run(
        "sh",
        "-c",
        "mkdir -p -m 700 ~/.ssh && rm -f ~/.ssh/stranger* && ssh-keygen -q -t ed25519 -N '' -f ~/.ssh/stranger",
        user=alice.name,
    )
    home = alice.lab.run("sh", "-c", "echo $HOME", user=alice.name).stdout.strip()
    where = alice.clone(crab)["ssh"]
    login = (*_STRANGER, *_UNCHECKED, "-p", str(where["port"]), f"{where['user']}@{where['host']}", "hostname")
    assert ssh(alice, *login, check=False).returncode == 255
    (result,) = alice.json("key", "authorise", crab, "--key", f"{home}/.ssh/stranger.pub", "--once")["results"]
    assert result["outcome"] == "authorised", result
    assert ssh(alice, *login).stdout.strip() == crab
    alice.run("molt", crab, "--yes")
    assert ssh(alice, *login, check=False).returncode == 255
