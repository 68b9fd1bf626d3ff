"""A clone's first boot: up the ladder, cloud-init switched off for good, then its clean point."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import GuestFailed
from moltfleet.model.records import CloneRecord, Phase
from moltfleet.operations import admission, adopt_pin, clean, layers, login_keeping
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.model.ports import GuestSession
    from moltfleet.model.requests import AdmissionRequest
    from moltfleet.operations.fleet import Fleet

# The watchdog may be on its way up still: it is waited for, for ten seconds.
_HAS_STOPPED = """\
[ -e /usr/local/lib/moltfleet/current ] && command -v systemctl >/dev/null || exit 1
i=0
until systemctl is-active --quiet moltfleet-watchdog; do
  [ $i -lt 20 ] || { echo stopped; break; }
  i=$((i+1)); sleep 0.5
done
"""


def run(fleet: Fleet, name: str, clone: CloneRecord, terms: AdmissionRequest | None = None) -> CloneRecord:
    """Start a clone that was never ready, and take its clean point. The caller holds its lock and keeps room for it.

    One that an interrupted first start left running goes on from there. Raises: NoRoom.
    """
    if not fleet.hypervisor.get(name).is_active:
        if terms is not None:
            admission.recheck(fleet, name, terms)
        fleet.hypervisor.start(name)
        record(Effect.CREATE_STARTED, name)
    layers.check_live_chain(fleet, name, clone, clone.top)
    clone = adopt_pin.pin(fleet, name, clone)
    guest = Guest(name, lambda: find_endpoint(fleet, name, clone), is_seeded=clone.phase is Phase.CREATING)
    with ready(fleet, guest, title=f"Starting {name}") as session:
        switch_off_cloud_init(fleet, name, session)
        check_tools(fleet, name, session)
    record(Effect.CREATE_READIED, name)
    clone = take_clean_point(fleet, name, clone)
    # One that has been moved to another generation may have kept something.
    return login_keeping.put_back(fleet, name, clone, login_keeping.Account())


def take_clean_point(fleet: Fleet, name: str, clone: CloneRecord) -> CloneRecord:
    """Make the clean point of a clone that has just become ready for the first time, and so a ready clone of it."""
    with fleet.progress.step(f"Taking the clean point of {name}"):
        clone = clean.take(fleet, name, clone, warm=clone.wants_ram)
    clone = replace(clone, phase=Phase.READY, stopped=False)
    fleet.hypervisor.write_record(name, clone)
    record(Effect.CREATE_RECORDED, name)
    return clone


def check_tools(fleet: Fleet, name: str, session: GuestSession) -> None:
    """Refuse to make a clean point of a guest whose golden had the guest tools, and whose watchdog does not run.

    Raises: GuestFailed.
    """
    answer = session.run(_HAS_STOPPED, timeout_s=timeouts(fleet).login, limit=256)
    if answer.exit_code == 0 and answer.text.strip() == "stopped":
        raise GuestFailed(
            f"Guest tools of {name!r} do not work: the watchdog does not run",
            hint="Build the golden anew; --no-tools makes one without.",
        )


def leave_defined(fleet: Fleet, name: str, clone: CloneRecord) -> None:
    """Note that everything is there but the first boot."""
    fleet.hypervisor.write_record(name, replace(clone, phase=Phase.DEFINED))
    record(Effect.CREATE_RECORDED, name)


def switch_off_cloud_init(fleet: Fleet, name: str, session: GuestSession) -> None:
    """Keep cloud-init from running at every later boot: the identity is settled. Raises: GuestFailed."""
    command = "sudo -n sh -c 'mkdir -p /etc/cloud && : > /etc/cloud/cloud-init.disabled && sync'"
    result = session.run(command, timeout_s=timeouts(fleet).login)
    if result.exit_code != 0:
        raise GuestFailed(
            f"cloud-init could not be switched off in {name!r}", hint="The login needs sudo without password."
        )
