"""What adopting would do: each golden VM with the clones that stand on it, or the reason why not; changes nothing."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moltfleet.model.adoption import Adoptee, AdoptRequest, AdoptStep, Kind
from moltfleet.model.errors import MoltfleetError
from moltfleet.model.names import not_found, printable
from moltfleet.model.records import CloneRecord, GoldenRecord
from moltfleet.operations import adopt_look
from moltfleet.operations.adopt_look import CLONE_PREFIX, DEV_READY, Refusal

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.takeover import Foreign, Takeover
    from moltfleet.operations.adopt_look import Place
    from moltfleet.operations.fleet import Fleet

_UNSEALED = "it was never sealed: clones of it share its machine-id, and whatever logins it holds"


@dataclass(frozen=True, slots=True)
class AdoptPlan:
    """``steps`` can be done, in this order; ``others`` cannot, or need not be."""

    steps: tuple[AdoptStep, ...]
    others: tuple[Adoptee, ...]

    @property
    def rows(self) -> tuple[Adoptee, ...]:
        """All of it as rows of a result, as long as nothing was done."""
        able = tuple(row(step, "adoptable") for step in self.steps)
        return (*able, *self.others)

    def lines(self) -> tuple[str, ...]:
        """Say what would be done, one line per domain."""
        return tuple(_line(step) for step in self.steps)


def row(step: AdoptStep, outcome: str, error: MoltfleetError | None = None) -> Adoptee:
    """A step as a row of the result."""
    return Adoptee(step.name, step.kind, step.golden, outcome, step.layers[-1], step.notes, error=error)


def _line(step: AdoptStep) -> str:
    if step.kind is Kind.GOLDEN:
        return f"{step.name}: would become a golden on {', '.join(step.layers)}, which is written to no more"
    return f"{step.name}: would become a clone of {step.golden} on {step.layers[-1]}"


class _Looker:
    """Foreign domains, each described once."""

    def __init__(self, fleet: Fleet, takeover: Takeover) -> None:
        self.takeover = takeover
        self.place = adopt_look.find_place(fleet)
        self.domains = {domain.name: domain for domain in fleet.hypervisor.domains()}
        self.foreign = {
            name: takeover.look(name)
            for name, domain in sorted(self.domains.items())
            if domain.record is None and domain.unreadable is None
        }
        self._chains: dict[str, tuple[str, ...]] = {}

    def chain_of(self, foreign: Foreign) -> tuple[str, ...]:
        """Where its first disk stands on, as far as heads tell."""
        path = foreign.disks[0].path if foreign.disks else None
        if path is None:
            return ()
        if path not in self._chains:
            self._chains[path] = adopt_look.chain(self.takeover, path)
        return self._chains[path]


def plan_adopt(fleet: Fleet, takeover: Takeover, request: AdoptRequest) -> AdoptPlan:
    """Look at everything that was named, or at all that looks like it. Raises: NotFound."""
    looker = _Looker(fleet, takeover)
    steps: list[AdoptStep] = []
    others: list[Adoptee] = []
    for name in request.names or _guess(looker):
        if name not in looker.domains:
            raise not_found("domain", name, looker.domains)
        _plan_golden(looker, name, steps, others)
    return AdoptPlan(tuple(steps), tuple(others))


def _guess(looker: _Looker) -> tuple[str, ...]:
    """What the scripts made: a VM with their snapshot, what their clones are named for, and goldens adopted before."""
    adopted = {n for n, d in looker.domains.items() if isinstance(d.record, GoldenRecord) and d.record.adopted}
    snapshotted = {name for name, foreign in looker.foreign.items() if DEV_READY in foreign.snapshots}
    named = {name for name in looker.domains if any(_is_named_for(clone, name) for clone in looker.foreign)}
    return tuple(sorted(adopted | {name for name in snapshotted | named if not name.startswith(CLONE_PREFIX)}))


def _is_named_for(clone: str, golden: str) -> bool:
    """Whether the scripts would have given a clone of ``golden`` that name: the prefix, the golden, date and time."""
    rest = clone.removeprefix(f"{CLONE_PREFIX}{golden}-")
    date, _, time = rest.partition("-")
    return rest != clone and date.isdigit() and time.isdigit()


def _plan_golden(looker: _Looker, name: str, steps: list[AdoptStep], others: list[Adoptee]) -> None:
    domain = looker.domains[name]
    layers: tuple[str, ...]
    if isinstance(domain.record, GoldenRecord):
        layers = tuple(generation.volume for generation in domain.record.generations)
        others.append(Adoptee(name, Kind.GOLDEN, name, "unchanged", layers[-1]))
        paths = _paths(looker.place, layers, domain.record.adopted.disk if domain.record.adopted else "")
    elif name not in looker.foreign:
        others.append(_refused(name, Kind.GOLDEN, name, _not_foreign(domain)))
        return
    else:
        foreign = looker.foreign[name]
        try:
            step = _golden_step(looker, foreign)
        except Refusal as error:
            others.append(_refused(name, Kind.GOLDEN, name, error))
            layers = ()
        else:
            steps.append(step)
            layers = step.layers
        paths = looker.chain_of(foreign) + _paths(looker.place, layers, "")
    for clone in _clones_of(looker, name, paths):
        _plan_clone(looker, clone, name, layers, steps, others)


def _paths(place: Place, layers: tuple[str, ...], disk: str) -> tuple[str, ...]:
    return (*(place.path_of(layer) for layer in layers), *((disk,) if disk else ()))


def _not_foreign(domain: Domain) -> Refusal:
    if isinstance(domain.record, CloneRecord):
        return Refusal(f"Domain {domain.name!r} is a clone of moltfleet's already", hint="Name golden VMs.")
    return Refusal(
        f"Domain {domain.name!r} is moltfleet's already", hint="Look: moltfleet list, moltfleet golden list."
    )


def _refused(name: str, kind: Kind, golden: str, error: Refusal) -> Adoptee:
    return Adoptee(name, kind, golden, "refused", commands=error.commands, error=error)


def _golden_step(looker: _Looker, foreign: Foreign) -> AdoptStep:
    """Check a golden VM, and each layer of its disk down to the one that stands on nothing. Raises: Refusal."""
    adopt_look.check_domain(foreign, is_golden=True)
    name, path = foreign.name, foreign.disks[0].path or ""
    others = [f.name for f in looker.foreign.values() if f.name != name and path in {d.path for d in f.disks}]
    if others:
        raise Refusal(
            f"Disk of {name!r} is that of domain {others[0]!r}, too",
            hint=f"Whichever runs writes under clones. Take it away there: virsh detach-disk {others[0]} vda --config.",
        )
    layers: list[str] = []
    snapshots = 0
    step: str | None = path
    while step is not None:
        layers.insert(0, adopt_look.check_place(looker.takeover, looker.place, name, step))
        inside = looker.place.path_of(layers[0])
        head = adopt_look.read_head(looker.takeover, name, inside, old=step)
        snapshots += head.snapshots
        step = adopt_look.backing_path(name, inside, head)
        if step is not None and (step in map(looker.place.path_of, layers)):
            raise Refusal(f"Disk of {name!r} stands on itself", hint="Look at it: qemu-img info --backing-chain.")
        if step is not None and step != looker.place.path_of(step.rpartition("/")[2]):
            raise _relink(looker, name, inside, step)
    return AdoptStep(Kind.GOLDEN, foreign, name, tuple(layers), notes=_golden_notes(foreign, layers, snapshots))


def _relink(looker: _Looker, name: str, path: str, below: str) -> Refusal:
    """A layer in the pool that names one outside of it: what links that one and says so in the head."""
    target = looker.place.path_of(below.rpartition("/")[2])
    link = (
        () if looker.takeover.is_same_file(below, target) else (f"sudo ln {shlex.quote(below)} {shlex.quote(target)}",)
    )
    return Refusal(
        f"Disk of {name!r} stands on a file that is not in the pool: {printable(below)}",
        hint="A hard link puts it there without a copy; the head of the layer above has to name it there.",
        commands=(*link, _renaming(target, path)),
    )


def _golden_notes(foreign: Foreign, layers: list[str], snapshots: int) -> tuple[str, ...]:
    notes = [_UNSEALED]
    newest = f"generation {len(layers)} is its disk as it is now"
    if snapshots:
        notes.append(f"{snapshots} internal snapshot(s) stay inside of {layers[-1]}; {newest}, not as one of them was")
    if len(layers) > 1:
        notes.append(f"each layer is a generation, {layers[0]} the first; {newest}")
    if foreign.is_uefi:
        notes.append("it boots by UEFI: new clones get firmware and variables of their own")
    if foreign.has_tpm:
        notes.append("new clones get no TPM; adopted ones keep theirs")
    return tuple(notes)


def _clones_of(looker: _Looker, golden: str, paths: tuple[str, ...]) -> tuple[Foreign, ...]:
    """Foreign domains whose disk stands on one of ``paths``, or that are named as clones of that golden."""
    found = []
    for foreign in looker.foreign.values():
        below = looker.chain_of(foreign)[1:]
        if foreign.name != golden and (set(below) & set(paths) or _is_named_for(foreign.name, golden)):
            found.append(foreign)
    return tuple(found)


def _plan_clone(
    looker: _Looker,
    foreign: Foreign,
    golden: str,
    layers: tuple[str, ...],
    steps: list[AdoptStep],
    others: list[Adoptee],
) -> None:
    try:
        if not layers:
            commands = _ways_in(looker, foreign, golden)
            raise Refusal(f"Golden {golden!r} of it cannot be adopted", hint="Its line says why.", commands=commands)
        steps.append(_clone_step(looker, foreign, golden, layers))
    except Refusal as error:
        others.append(_refused(foreign.name, Kind.CLONE, golden, error))


def _clone_step(looker: _Looker, foreign: Foreign, golden: str, layers: tuple[str, ...]) -> AdoptStep:
    """Check a clone and the layers that are its own, down to the golden or to nothing. Raises: Refusal."""
    adopt_look.check_domain(foreign, is_golden=False)
    name, path = foreign.name, foreign.disks[0].path or ""
    own = [adopt_look.check_place(looker.takeover, looker.place, name, path)]
    _check_alone(looker, name, path)
    bases = {looker.place.path_of(layer): layer for layer in layers}
    while True:
        inside = looker.place.path_of(own[0])
        _check_alone(looker, name, inside)
        head = adopt_look.read_head(looker.takeover, name, inside, old=path)
        below = adopt_look.backing_path(name, inside, head)
        if below is None or below in bases:
            base = "" if below is None else bases[below]
            return AdoptStep(Kind.CLONE, foreign, golden, tuple(own), base=base, notes=_clone_notes(foreign))
        volume = below.rpartition("/")[2]
        # What an earlier adoption, or a snapshot by hand, left under it; a head that names anything else is lying.
        if below != looker.place.path_of(volume) or not volume.startswith(f"{name}.") or volume in own:
            raise _not_on(looker, name, inside, below, layers)
        own.insert(0, volume)


def _ways_in(looker: _Looker, foreign: Foreign, golden: str) -> tuple[str, ...]:
    """What will bring a clone's disk into the pool, onto its golden's there; none for a disk that names anything else.

    Told together with what brings the golden in, so that all of it can be done at once.
    """
    own, theirs = looker.chain_of(foreign), looker.foreign.get(golden)
    bases = looker.chain_of(theirs) if theirs else ()
    if len(own) < 2 or own[1] not in bases:
        return ()
    try:
        adopt_look.check_place(looker.takeover, looker.place, foreign.name, own[0])
        link: tuple[str, ...] = ()
    except Refusal as refusal:
        link = refusal.commands
    base, layer = (looker.place.path_of(path.rpartition("/")[2]) for path in (own[1], own[0]))
    return link if base == own[1] else (*link, _renaming(base, layer))


def _renaming(base: str, layer: str) -> str:
    """The command that writes another name of the same backing file into the head of a layer, and nothing else."""
    return f"sudo qemu-img rebase -u -F qcow2 -b {shlex.quote(base)} {shlex.quote(layer)}"


def _check_alone(looker: _Looker, name: str, path: str) -> None:
    """Raises: Refusal when another domain that is not ours has the layer, or stands on it."""
    others = [f.name for f in looker.foreign.values() if f.name != name and path in looker.chain_of(f)]
    if others:
        raise Refusal(
            f"Domain {others[0]!r} stands on the disk of {name!r}",
            hint="What stands on a clone would break when that one is molted. Adopt the one as a golden instead.",
        )


def _not_on(looker: _Looker, name: str, path: str, below: str, layers: tuple[str, ...]) -> Refusal:
    """A clone whose layer names another file than its golden's: the same file under another name, or a strange one."""
    if any(looker.takeover.is_same_file(below, looker.place.path_of(layer)) for layer in layers):
        return _relink(looker, name, path, below)
    return Refusal(
        f"Disk of {name!r} stands on {printable(below)}, which is no disk of its golden",
        hint="Look at it: qemu-img info --backing-chain. It is not believed.",
    )


def _clone_notes(foreign: Foreign) -> tuple[str, ...]:
    notes = [] if foreign.has_agent else ["it gets a channel for the guest agent, which its first start needs"]
    return (*notes, "its host keys are learnt from its guest agent at its first start")
