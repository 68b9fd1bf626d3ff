"""Prove that a golden is sealed: two fresh clones of it must differ from its build, and from each other (DESIGN D7)."""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.errors import GuestFailed
from moltfleet.model.identity import IdentityFacts, missing, parse_facts, shared
from moltfleet.model.recipe import GuestIdentity, HostKeyPair
from moltfleet.model.size import Size
from moltfleet.model.volumes import probe_domain
from moltfleet.operations import admission, create, measuring, networks, removing, seeding
from moltfleet.operations.clones import find_endpoint
from moltfleet.operations.create_plan import CreatePlan
from moltfleet.operations.deadlines import timeouts
from moltfleet.operations.parallel import check_wanted, each
from moltfleet.operations.ready import Guest, ready

if TYPE_CHECKING:
    from moltfleet.model.records import CloneRecord, GoldenRecord
    from moltfleet.model.requests import AdmissionRequest
    from moltfleet.operations.fleet import Fleet

_PROBE_MEMORY = Size.of_gib(2)
_ROOM_S = 300.0


def prove(fleet: Fleet, golden: str, record: GoldenRecord, build: IdentityFacts, terms: AdmissionRequest) -> None:
    """Boot two clones and compare.

    The build is done by now, so that room for them is waited for. Raises: GuestFailed, which names what is shared.
    """
    patient = replace(terms, wait_s=max(terms.wait_s, _ROOM_S))
    with fleet.progress.step("Proving that clones differ"):
        first, second = _read_both(fleet, golden, record, patient)
    for who, one, other in (
        ("a clone and the build", first, build),
        ("a clone and the build", second, build),
        ("two clones", first, second),
    ):
        common = shared(one, other)
        if common:
            raise GuestFailed(
                f"Golden {golden!r} is not sealed: {who} share {', '.join(common)}",
                hint="A --script or user-data writes an identity after cloud-init, or cloud-init is switched off.",
            )


def _read_both(fleet: Fleet, golden: str, record: GoldenRecord, terms: AdmissionRequest) -> tuple[IdentityFacts, ...]:
    """Boot both probes and read them. None is removed before both are read: its address would be given out again."""
    plan = _plan(fleet, golden, record)
    keys = {name: fleet.keys.new_host_key() for name in plan.names}
    with ExitStack() as undo:
        clones = {}
        for name in plan.names:
            clones[name] = create.define(fleet, plan, name, keys[name], probe=True)
            undo.callback(removing.remove_clone, fleet, name, clones[name])

        def probe(name: str) -> IdentityFacts:
            with admission.room_for(fleet, plan.candidate(fleet, name), terms):
                facts = _probe(fleet, plan, name, clones[name], keys[name])
                # Off, it leaves its room to the other one.
                fleet.hypervisor.destroy(name)
                return facts

        return each(plan.names, probe, jobs=measuring.side_by_side(fleet, plan.vcpus))


def _plan(fleet: Fleet, golden: str, record: GoldenRecord) -> CreatePlan:
    kind, network = networks.choose(fleet, None)
    return CreatePlan(
        golden=golden,
        record=record,
        names=(probe_domain(golden, 1), probe_domain(golden, 2)),
        memory=min(Size(record.memory), _PROBE_MEMORY),
        # Emulated ones come up sooner side by side: 76 s instead of 129, in a run each on two processors.
        vcpus=1 if measuring.is_emulated(fleet) else min(record.vcpus, max(1, fleet.hypervisor.host().cpus)),
        disk=Size(record.disk),
        linked=True,
        start=True,
        warm=False,
        network_kind=kind,
        network=network,
        user_keys=(),
    )


def _probe(fleet: Fleet, plan: CreatePlan, name: str, clone: CloneRecord, host_key: HostKeyPair) -> IdentityFacts:
    identity = GuestIdentity(
        hostname=name.replace(".", "-"),
        user=clone.user,
        authorized_keys=(fleet.keys.fleet_public_key(),),
        host_key=host_key,
    )
    seeding.write_clone_seed(fleet, clone, identity)
    check_wanted()
    create.make_disk(fleet, plan, clone)
    check_wanted()
    fleet.hypervisor.start(name)
    return _read_facts(fleet, name, clone)


def _read_facts(fleet: Fleet, name: str, clone: CloneRecord) -> IdentityFacts:
    script = shlex.quote(fleet.bootstrap.read("identity.sh").decode())
    guest = Guest(name, lambda: find_endpoint(fleet, name, clone), is_seeded=True)
    with ready(fleet, guest, title=f"Starting {name}") as session:
        facts = parse_facts(session.run(f"sudo -n sh -c {script}", timeout_s=timeouts(fleet).login, limit=65536).text)
    lacking = missing(facts)
    if lacking:
        raise GuestFailed(f"Fresh clone {name!r} has no {', no '.join(lacking)}")
    return facts
