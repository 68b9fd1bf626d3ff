"""Learn the SSH host keys of an adopted clone from its guest agent, before anybody logs in to it for the first time.

The agent is asked through the hypervisor and not through a network, so that nobody in between can answer for it.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import DeadlinePassed, GuestFailed
from moltfleet.operations.deadlines import Deadline, timeouts
from moltfleet.operations.parallel import pause

if TYPE_CHECKING:
    from moltfleet.model.records import CloneRecord
    from moltfleet.operations.fleet import Fleet

_POLL_S = 1.0
_ARGV = (
    "/bin/sh",
    "-c",
    "cat /etc/ssh/ssh_host_ed25519_key.pub /etc/ssh/ssh_host_ecdsa_key.pub /etc/ssh/ssh_host_rsa_key.pub",
)
_KINDS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ssh-rsa")
_LARGEST = 8 * 1024


def pin(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Wait for the agent of the running clone, and write its host keys down; nothing to do where they are known.

    Raises: DeadlinePassed when no agent answers, GuestFailed when it tells no key.
    """
    if clone.adopted is None or clone.host_keys:
        return clone
    limits = timeouts(fleet)
    with fleet.progress.step(f"Learning the host keys of {name}") as step:
        step.detail("guest agent")
        deadline = Deadline.after(fleet.clock, limits.address + limits.ssh)
        _await_agent(fleet, name, deadline)
        keys = _read_keys(fleet, name)
        # At a first boot the agent may answer before the guest has made its keys.
        while not keys:
            if deadline.has_passed:
                raise GuestFailed(
                    f"Guest {name!r} has no SSH host key", hint="In the guest: sudo apt install openssh-server."
                )
            pause(fleet.clock, _POLL_S)
            keys = _read_keys(fleet, name)
    clone = replace(clone, host_keys=keys)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.ADOPT_PINNED, name)
    return clone


def _await_agent(fleet: Fleet, name: str, deadline: Deadline) -> None:
    while not fleet.hypervisor.agent_answers(name):
        if deadline.has_passed:
            raise DeadlinePassed(
                f"Guest agent of {name!r} did not answer, and its host keys are not known",
                hint=f"In the guest (virt-viewer {name}, virsh console {name}): sudo apt install qemu-guest-agent. "
                f"Then moltfleet start {name}.",
            )
        pause(fleet.clock, _POLL_S)


def _read_keys(fleet: Fleet, name: str) -> tuple[str, ...]:
    answer = fleet.hypervisor.agent_run(name, _ARGV, timeout_s=timeouts(fleet).login, limit=_LARGEST)
    return parse_host_keys(answer.text)


def parse_host_keys(text: str) -> tuple[str, ...]:
    """Public host keys as "type base64", one of a kind; whatever is none is passed over (the guest is hostile)."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(" ")
        blob = rest.split(" ")[0]
        if kind in _KINDS and kind not in found and _is_key(kind, blob):
            found[kind] = f"{kind} {blob}"
    return tuple(found.values())


def _is_key(kind: str, blob: str) -> bool:
    try:
        content = base64.b64decode(blob, validate=True)
    except (binascii.Error, ValueError):
        return False
    name = kind.encode()
    return content.startswith(len(name).to_bytes(4, "big") + name)
