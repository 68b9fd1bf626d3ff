"""Clones as Ansible's dynamic inventory, and the program that ``ansible -i`` runs for it.

The form is that of https://docs.ansible.com/ansible/latest/dev_guide/developing_inventory.html, so there is
no ``schema``: every key beside ``_meta`` would be a group.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.adapters.openssh import SshClient, write_known_hosts
from moltfleet.adapters.sshconfig import is_safe, options_beside
from moltfleet.model.errors import AlreadyExists, ToolFailed

if TYPE_CHECKING:
    from moltfleet.model.inventory import InventoryHost

# Ansible shares connections by itself, under names of its own.
_ANSIBLES_OWN = ("ControlMaster=", "ControlPath=")
_GOLDEN = re.compile(r"[a-z0-9-]+")
_MARK = "# Ansible's inventory of moltfleet's clones; written by `moltfleet inventory --script`."


def inventory_document(client: SshClient, hosts: Iterable[InventoryHost], *, uri: str) -> dict[str, Any]:
    """Return what ``--list`` prints: groups by golden and by state, all in group ``moltfleet``.

    Clones without a known address are left out: Ansible would look for a machine of that name. Raises: InvalidInput.
    """
    known = sorted((host for host in hosts if _is_plain(host)), key=lambda host: host.login.name)
    groups: dict[str, list[str]] = {"moltfleet": []}
    for host in known:
        for group in ("moltfleet", _group("golden", host.golden), _group("state", host.state)):
            groups.setdefault(group, []).append(host.login.name)
    variables = {host.login.name: host_variables(client, host, uri=uri) for host in known}
    return {"_meta": {"hostvars": variables}, **{name: {"hosts": groups[name]} for name in sorted(groups)}}


def host_variables(client: SshClient, host: InventoryHost, *, uri: str) -> dict[str, Any]:
    """Return what ``--host`` prints. Raises: InvalidInput."""
    options = (*client.options(host.login.name), *options_beside(uri))
    chosen = [option for option in options if not option.startswith(_ANSIBLES_OWN)]
    return {
        "ansible_host": host.login.host,
        "ansible_port": host.login.port,
        "ansible_user": host.login.user,
        "ansible_ssh_common_args": shlex.join(word for option in chosen for word in ("-o", option)),
        "moltfleet_golden": host.golden,
        "moltfleet_generation": host.generation,
        "moltfleet_state": str(host.state),
        "moltfleet_memory_mib": host.memory.mib,
        "moltfleet_vcpus": host.vcpus,
    }


def pin(client: SshClient, hosts: Iterable[InventoryHost]) -> None:
    """Make the known_hosts that the variables name hold these clones' keys. Raises: ToolFailed."""
    write_known_hosts(client.known_hosts, (host.login for host in hosts))


def script_text(program: Sequence[str]) -> str:
    """Return the program for ``ansible -i``; ``program`` is how moltfleet is started, with its options."""
    return f'#!/bin/sh\n{_MARK}\nexec {shlex.join(program)} --quiet inventory "$@"\n'


def write_script(path: Path, program: Sequence[str]) -> None:
    """Write it, executable; one of ours is replaced. Raises: AlreadyExists for any other file, ToolFailed."""
    target = path.resolve()
    try:
        there = read_small(target, limit=4096)
        if there is not None and _MARK.encode() not in there:
            raise AlreadyExists(f"File {str(path)!r} exists and is no inventory of ours", hint="Name another file.")
        write_atomically(target, script_text(program).encode("utf-8", "surrogateescape"), mode=0o755)
    except OSError as error:
        raise ToolFailed(f"File {str(path)!r} cannot be written: {error.strerror}") from error


def _is_plain(host: InventoryHost) -> bool:
    """Ansible evaluates what stands in double braces; the record of a clone can be edited."""
    return is_safe(host.login) and _GOLDEN.fullmatch(host.golden) is not None


def _group(kind: str, value: str) -> str:
    """Return a name that Ansible takes for a group without a warning: letters, digits, underscores."""
    return re.sub(r"[^A-Za-z0-9_]", "_", f"{kind}_{value}")
