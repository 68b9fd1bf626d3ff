"""Look at what would save this host if everything leaked at once; changes nothing, and says what it could not read."""

from __future__ import annotations

from collections.abc import Callable

from moltfleet.model.errors import MoltfleetError
from moltfleet.model.hostcheck import Check, CheckState
from moltfleet.operations import host_check_memory as memory
from moltfleet.operations import host_check_services as services
from moltfleet.operations.host import Host

# Name, why it matters, and the look itself, in the order of the table: what limits, what acts, what must survive.
Look = Callable[[Host], memory.Finding]
ROWS: tuple[tuple[str, str, Look], ...] = (
    ("cgroups", memory.WHY_CGROUPS, memory.look_at_cgroups),
    ("pressure", memory.WHY_PRESSURE, memory.look_at_pressure),
    ("machine.slice", memory.WHY_LIMIT, memory.look_at_limit),
    ("emulators", memory.WHY_EMULATORS, memory.look_at_emulators),
    ("sum", memory.WHY_SUM, memory.look_at_sum),
    ("swap", memory.WHY_SWAP, memory.look_at_swap),
    ("earlyoom", services.WHY_EARLYOOM, services.look_at_earlyoom),
    ("earlyoom avoids", services.WHY_AVOID, services.look_at_avoided),
    ("systemd-oomd", services.WHY_OOMD, services.look_at_oomd),
    ("sshd", services.WHY_SSHD, services.look_at_sshd),
    ("libvirtd", services.WHY_LIBVIRTD, services.look_at_libvirtd),
    ("weights", services.WHY_WEIGHTS, services.look_at_weights),
    ("docker", services.WHY_DOCKER, services.look_at_docker),
    ("ksm", memory.WHY_KSM, memory.look_at_ksm),
    ("free pages", memory.WHY_REPORTING, memory.look_at_reporting),
    ("egress", services.WHY_EGRESS, services.look_at_egress),
    ("libvirt-guests", services.WHY_GUESTS, services.look_at_libvirt_guests),
)


def check_host(host: Host) -> tuple[Check, ...]:
    """Return every row, whatever state the host is in."""
    return tuple(_check(host, name, why, look) for name, why, look in ROWS)


def _check(host: Host, name: str, why: str, look: Look) -> Check:
    try:
        finding = look(host)
    except MoltfleetError as error:
        return Check(name, CheckState.UNKNOWN, error.brief, why, error.hint)
    return Check(name, finding.state, finding.text, why, finding.fix)
