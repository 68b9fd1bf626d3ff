"""Snapshots of clones: frozen layers that stay through molts, to go back to by booting; and chains made short again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from moltfleet.model.domain import DomainState
from moltfleet.model.effects import Effect, record
from moltfleet.model.errors import AlreadyExists, MoltfleetError, NoSpace, WrongState
from moltfleet.model.names import check_name, not_found
from moltfleet.model.records import Phase
from moltfleet.model.requests import AdmissionRequest
from moltfleet.model.results import MoltResult, MoltSeconds
from moltfleet.model.size import Size
from moltfleet.model.snapshots import MOST_SNAPSHOTS, ChainView, SnapshotView
from moltfleet.operations import admission, chains, foreign, freezing, layers, login_keeping, molting, repair, shifting
from moltfleet.operations.clones import clone_names, get_clone
from moltfleet.operations.deadlines import timestamp
from moltfleet.operations.guest_scripts import describe_failure
from moltfleet.operations.power import power_off
from moltfleet.operations.shifting import NewLayer
from moltfleet.operations.start import start_one

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from moltfleet.model.domain import Domain
    from moltfleet.model.records import CloneRecord, Snapshot
    from moltfleet.operations.fleet import Fleet

_AS_USUAL = AdmissionRequest()


def list_snapshots(fleet: Fleet, patterns: Sequence[str]) -> tuple[tuple[SnapshotView, ...], tuple[ChainView, ...]]:
    """The snapshots of the named clones (none named: all), the oldest first, and how long each clone's chain is."""
    allocations = {volume.name: volume.allocation for volume in fleet.storage.volumes()}
    views: list[SnapshotView] = []
    lengths: list[ChainView] = []
    for name in clone_names(fleet, patterns):
        _, clone = get_clone(fleet, name)
        below = chains.own_chain(fleet, clone, clone.top)
        lengths.append(ChainView(name, len(below)))
        views += [_view(name, snapshot, below, allocations) for snapshot in clone.snapshots]
    return tuple(views), tuple(lengths)


def _view(name: str, snapshot: Snapshot, below: Sequence[str], allocations: dict[str, Size]) -> SnapshotView:
    volume = snapshot.stamp.volume
    return SnapshotView(name, snapshot.name, snapshot.taken_at, allocations.get(volume, Size(0)), volume in below)


def new_label(fleet: Fleet) -> str:
    """A name for the snapshot before a run: when it is taken."""
    return f"pre-run-{molting.label_of(timestamp(fleet.clock))}"


def plan_create(fleet: Fleet, name: str, label: str, *, offline: bool) -> tuple[str, ...]:
    """Say what a snapshot would do. Raises as :func:`create` does before its first effect."""
    domain, clone = get_clone(fleet, name)
    live = _is_live(fleet, domain, clone, label, offline=offline)
    how = "while it runs" if live else "with a boot in between" if domain.is_active else "as it is off"
    return (f"{name}: would freeze {clone.top} as {label!r}, {how}",)


def create(
    fleet: Fleet, name: str, label: str, *, offline: bool = False, terms: AdmissionRequest = _AS_USUAL
) -> tuple[SnapshotView, ChainView]:
    """Freeze what the clone's disk is now. ``offline`` powers the guest off for it, and starts it again.

    Raises: NotFound, InvalidInput (name), AlreadyExists, WrongState (no agent, paused, too many), Busy, NoSpace.
    """
    with fleet.locks.hold(name, verb="snapshot"):
        repair.repair_clone(fleet, name)
        domain, clone = get_clone(fleet, name)
        live = _is_live(fleet, domain, clone, label, offline=offline)
        foreign.check_untouched(fleet, name)
        if live or not domain.is_active:
            freezing.freeze(fleet, name, clone, label, live=live)
        else:
            with admission.room(fleet, name, terms):
                freezing.freeze(fleet, name, clone, label, live=False)
                start_one(fleet, name)
    views, (chain,) = list_snapshots(fleet, (name,))
    if chain.is_long:
        fleet.progress.warn(
            f"Clone {name!r} stands on {chain.layers} layers of its own, and reads slower for each",
            hint=f"Delete snapshots that are not needed, or: moltfleet snapshot flatten {name}",
        )
    return next(view for view in views if view.name == label), chain


def _is_live(fleet: Fleet, domain: Domain, clone: CloneRecord, label: str, *, offline: bool) -> bool:
    """Check what can be checked, and tell whether the running guest's agent is to do it."""
    name = domain.name
    check_name(label, what="snapshot")
    if label in {snapshot.name for snapshot in clone.snapshots}:
        raise AlreadyExists(f"A snapshot of {name!r} is already called {label!r}", hint="Choose another name.")
    if clone.clean is None or clone.phase is not Phase.READY:
        raise WrongState(
            f"Clone {name!r} has no clean point", hint=f"Its first start takes one: moltfleet start {name}"
        )
    if len(clone.snapshots) >= MOST_SNAPSHOTS:
        raise WrongState(f"Clone {name!r} has {MOST_SNAPSHOTS} snapshots already", hint="Delete some of them.")
    if offline or not domain.is_active:
        return False
    if domain.state not in (DomainState.RUNNING, DomainState.BLOCKED):
        raise WrongState(f"Clone {name!r} is {domain.state}", hint="A snapshot is taken of one that runs or is off.")
    if not fleet.hypervisor.agent_answers(name):
        raise WrongState(
            f"Guest agent of {name!r} does not answer, and nothing else can make its file systems whole",
            hint="--offline shuts the guest down for it, and starts it again.",
        )
    return True


def plan_revert(fleet: Fleet, name: str, label: str, *, keep: str | None = None) -> tuple[str, ...]:
    """Say what going back would do. Raises: NotFound."""
    _, clone = get_clone(fleet, name)
    snapshot = _find(name, clone, label)
    fate = "be kept" if keep is not None else "stay for undo"
    return (f"{name}: would boot from snapshot {label!r} of {snapshot.taken_at}; {clone.top} would {fate}",)


def revert(
    fleet: Fleet, name: str, label: str, *, keep: str | None = None, terms: AdmissionRequest = _AS_USUAL
) -> MoltResult:
    """Boot a clone from a snapshot, which stays one; what it was is shed, or kept as ``keep``.

    Failure stands in the result.
    """

    def act(account: login_keeping.Account) -> str | None:
        _, clone = get_clone(fleet, name)
        snapshot = _find(name, clone, label)
        foreign.check_untouched(fleet, name)
        check_frozen(fleet, name, clone, snapshot)
        kept = _label_to_keep(fleet, clone, keep)

        def make(target: str) -> None:
            fleet.storage.create_overlay(target, backing=snapshot.stamp.volume)

        shifting.shift(fleet, name, clone, NewLayer(make, label=kept), account, title=f"Reverting {name}")
        return kept

    return _result(fleet, name, act, outcome="reverted", verb="revert", terms=terms)


def plan_flatten(fleet: Fleet, name: str) -> tuple[str, ...]:
    """Say what flattening would do."""
    _, clone = get_clone(fleet, name)
    length = len(chains.own_chain(fleet, clone, clone.top))
    return (f"{name}: would stop it, copy its {length} layers and its golden into one, and boot that",)


def flatten(fleet: Fleet, name: str, *, terms: AdmissionRequest = _AS_USUAL) -> MoltResult:
    """Copy the whole disk of a clone into one layer and boot that; the chain is shed. Failure stands in the result.

    libvirt copies whole chains only, so that the golden's part comes along; the next molt is of the linked clean point.
    """

    def act(account: login_keeping.Account) -> None:
        _, clone = get_clone(fleet, name)
        foreign.check_untouched(fleet, name)
        total = _allocation(fleet, clone)
        _check_fits(fleet, name, total)

        def make(target: str) -> None:
            power_off(fleet, name)
            with fleet.progress.step(f"Copying the disk of {name}") as step:
                fleet.storage.copy_flat(clone.top, target, on_bytes=lambda done: step.advance(done, max(done, total)))

        shifting.shift(fleet, name, clone, NewLayer(make, stands_alone=True), account, title=f"Flattening {name}")

    return _result(fleet, name, act, outcome="flattened", verb="flatten", terms=terms)


def _allocation(fleet: Fleet, clone: CloneRecord) -> int:
    """What a copy of the whole chain comes to at most, in bytes."""
    own = chains.own_chain(fleet, clone, clone.top)
    found = (fleet.storage.find(volume) for volume in (*own, clone.golden_volume))
    return sum(volume.allocation.bytes for volume in found if volume is not None)


def _check_fits(fleet: Fleet, name: str, wanted: int) -> None:
    """Refuse a copy that the pool has no room for while the guest still runs. Raises: NoSpace."""
    free = fleet.storage.find_free_space()
    if free is not None and free.bytes < wanted:
        raise NoSpace(
            f"Copy of the disk of {name!r} takes up to {Size(wanted)}, and the pool has {free}",
            hint="Delete snapshots, or molt it: its clean point stands on a short chain.",
        )


def _result(
    fleet: Fleet,
    name: str,
    act: Callable[[login_keeping.Account], str | None],
    *,
    outcome: str,
    verb: str,
    terms: AdmissionRequest,
) -> MoltResult:
    started, account = fleet.clock.monotonic(), login_keeping.Account()
    try:
        with fleet.locks.hold(name, verb=verb), admission.room(fleet, name, terms):
            repair.repair_clone(fleet, name)
            kept = act(account)
    except MoltfleetError as error:
        seconds = MoltSeconds(total=fleet.clock.monotonic() - started)
        return MoltResult(name, "failed", "cold", describe_failure(error), seconds=seconds, error=error)
    seconds = MoltSeconds(total=fleet.clock.monotonic() - started)
    return MoltResult(name, outcome, "cold", kept=kept, seconds=seconds, logins=account.result())


def plan_delete(fleet: Fleet, name: str, label: str) -> tuple[str, ...]:
    """Say what deleting would do. Raises: NotFound."""
    _, clone = get_clone(fleet, name)
    snapshot = _find(name, clone, label)
    line = f"{name}: would delete snapshot {label!r} of {snapshot.taken_at}"
    stays = snapshot.stamp.volume in chains.needed(fleet, _without(clone, snapshot))
    return (f"{line}; its layer stays for what stands on it" if stays else f"{line} with its layer",)


def delete(fleet: Fleet, name: str, label: str) -> None:
    """Forget a snapshot; its layer goes as soon as nothing stands on it. Raises: NotFound, Busy."""
    with fleet.locks.hold(name, verb="delete a snapshot of"):
        repair.repair_clone(fleet, name)
        _, clone = get_clone(fleet, name)
        clone = _without(clone, _find(name, clone, label))
        fleet.hypervisor.write_record(name, clone)
        record(Effect.KEPT_FORGOTTEN, name)
        molting.empty_trash(fleet, name, clone)


def _without(clone: CloneRecord, snapshot: Snapshot) -> CloneRecord:
    left = tuple(other for other in clone.snapshots if other != snapshot)
    return replace(clone, snapshots=left, trash=(*clone.trash, snapshot.stamp.volume))


def check_frozen(fleet: Fleet, name: str, clone: CloneRecord, snapshot: Snapshot) -> None:
    """Make sure that nobody wrote to a layer of the snapshot since it was frozen. Raises: WrongState."""
    noted = {stamp.volume: stamp for stamp in clone.frozen()}
    for volume in chains.own_chain(fleet, clone, snapshot.stamp.volume):
        if volume in noted and (fleet.storage.find(volume) is None or layers.stamp(fleet, volume) != noted[volume]):
            raise WrongState(
                f"Snapshot {snapshot.name!r} of {name!r} is void: layer {volume!r} was written to",
                hint=f"Delete it: moltfleet snapshot delete {name} {snapshot.name}",
            )
    if fleet.storage.find(snapshot.stamp.volume) is None:
        raise WrongState(f"Layer {snapshot.stamp.volume!r} of snapshot {snapshot.name!r} is gone")


def _label_to_keep(fleet: Fleet, clone: CloneRecord, keep: str | None) -> str | None:
    if keep is None:
        return None
    label = check_name(keep or molting.label_of(timestamp(fleet.clock)), what="kept layer")
    if label in {layer.label for layer in clone.kept}:
        raise AlreadyExists(f"A kept layer is already called {label!r}", hint="Choose another label.")
    return label


def _find(name: str, clone: CloneRecord, label: str) -> Snapshot:
    for snapshot in clone.snapshots:
        if snapshot.name == label:
            return snapshot
    raise not_found(f"snapshot of clone {name!r}", label, [snapshot.name for snapshot in clone.snapshots])
