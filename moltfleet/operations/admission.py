"""Room on the host for whatever is about to run: checked against the rules, kept until the guest is ready (DESIGN §6).

Every act that may end with a running guest goes through :func:`room`, and says with what memory and disk.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from moltfleet.model.admission import Admission, Rule, RuleResult, decide
from moltfleet.model.errors import NoCapacity
from moltfleet.model.load import Candidate, Reservation, Wanted
from moltfleet.model.records import CloneRecord, Forced, Phase
from moltfleet.model.requests import AdmissionRequest
from moltfleet.model.size import Size
from moltfleet.operations import measuring
from moltfleet.operations.deadlines import Deadline, timestamp
from moltfleet.operations.parallel import pause

if TYPE_CHECKING:
    from moltfleet.model.domain import Domain
    from moltfleet.model.ports import Step
    from moltfleet.operations.fleet import Fleet

_LOG = logging.getLogger(__name__)
_POLL_S = 2.0
_AS_USUAL = AdmissionRequest()


class NoRoom(NoCapacity):
    """The host's rules do not let a guest run now; the arithmetic of the first rule against it is in the brief."""

    code = "no-room"

    def __init__(self, admission: Admission, against: tuple[RuleResult, ...]) -> None:
        candidate, (first, *others) = admission.candidate, against
        largest = admission.largest
        fits = f"The largest clone that fits now has {largest}" if largest.bytes else "No clone fits now"
        is_full = first.rule is Rule.DISK
        way = "kept delete and cleanup free space" if is_full else f"make-room {candidate.memory.mib}M makes room"
        super().__init__(
            f"No room for {candidate.name!r} ({candidate.memory}), rule {first.rule}: {first.detail}",
            excerpt="\n".join(f"rule {result.rule}: {result.detail}" for result in others) or None,
            hint=f'{fits}. moltfleet {way}; --wait-for-room waits, --force "REASON" goes past it.',
        )
        self.admission = admission
        self.detail = f"rule {first.rule}: {first.detail}"


@dataclass(slots=True)
class _Check:
    """One act's check of the rules; what it found stays here. ``replaces`` says that its own domain still runs."""

    fleet: Fleet
    candidate: Candidate
    request: AdmissionRequest
    replaces: bool = False
    warning: str | None = None
    forced: tuple[RuleResult, ...] = ()

    def __call__(self, reservations: tuple[Reservation, ...]) -> None:
        """Decide with what is reserved by others and for this domain. Raises: NoRoom."""
        if self.replaces and not self.candidate.ram_image.bytes:
            return
        admission = decide(measuring.measure(self.fleet, reservations=reservations), self.candidate)
        self.fleet.meter.remember()
        against = tuple(result for result in admission.failed if not self._is_met(result))
        if against and self.request.force is None:
            raise NoRoom(admission, against)
        self.forced = against
        self.warning = None if self.replaces else admission.warning

    def _is_met(self, result: RuleResult) -> bool:
        """Whether it is no worse than it is: what runs already was promised its memory, and gives it back first."""
        return self.replaces and result.rule is not Rule.DISK

    def tell(self) -> None:
        """Say what is beside the rules, once it is decided."""
        name = self.candidate.name
        if self.forced:
            rules = "; ".join(f"rule {result.rule}: {result.detail}" for result in self.forced)
            _LOG.info("room for %s forced (%s): %s", name, self.request.force, rules)
            self.fleet.progress.warn(
                f"No room for {name!r}, {rules}", hint=f"It goes on by --force: {self.request.force}"
            )
        elif self.warning:
            self.fleet.progress.warn(f"{name!r}: {self.warning}")


@contextmanager
def room(
    fleet: Fleet,
    name: str,
    request: AdmissionRequest = _AS_USUAL,
    *,
    with_disk: bool = True,
    with_ram: bool = False,
) -> Iterator[None]:
    """Keep room for a clone, whose lock the caller holds, while it is brought up.

    ``with_disk`` asks for what it will write as well, which a molt does not, as that gives disk back when it must;
    ``with_ram`` for its RAM image. A clone that runs already was promised its memory, and a molt or a restart gives it
    back first: such a one is never refused for want of it. Where the caller keeps room already this does nothing.
    Raises: NoRoom.
    """
    domain = None if fleet.reservations.is_mine(name) else fleet.hypervisor.find(name)
    if domain is None or not isinstance(domain.record, CloneRecord):
        yield
        return
    clone = domain.record
    candidate = _candidate(fleet, domain, clone, with_ram=with_ram)
    if not with_disk:
        candidate = replace(candidate, disk_growth=Size(0))
    check = _Check(fleet, candidate, request, replaces=_runs_with_it(domain))
    with _kept(check):
        if check.forced:
            fleet.hypervisor.write_record(name, replace(clone, forced=note(fleet, check)))
        yield


@contextmanager
def room_for(fleet: Fleet, candidate: Candidate, request: AdmissionRequest = _AS_USUAL) -> Iterator[Forced | None]:
    """As :func:`room`, for a domain that is not there yet; gives what is to be noted in its record. Raises: NoRoom."""
    check = _Check(fleet, candidate, request)
    with _kept(check):
        yield note(fleet, check) if check.forced else None


def recheck(fleet: Fleet, name: str, request: AdmissionRequest) -> None:
    """Check again, immediately before a start, what room is kept for: a guest may have grown since. Raises: NoRoom."""
    domain = fleet.hypervisor.get(name)
    if domain.is_active or not isinstance(domain.record, CloneRecord) or request.force is not None:
        return
    check = _Check(fleet, _candidate(fleet, domain, domain.record), request)
    _until_it_fits(check, lambda: check(fleet.reservations.current()))


def find_objection(fleet: Fleet, candidate: Candidate) -> NoRoom | None:
    """Return why a domain could not be started now; None when it could. Keeps nothing and changes nothing."""
    admission = decide(measuring.measure(fleet, reservations=fleet.reservations.current()), candidate)
    return NoRoom(admission, admission.failed) if admission.failed else None


def note(fleet: Fleet, check: _Check) -> Forced:
    """What stands in a clone's record afterwards."""
    mine = next((r for r in fleet.reservations.current() if r.name == check.candidate.name), None)
    rules = tuple(str(result.rule) for result in check.forced)
    return Forced(check.request.force or "", mine.owner if mine else "", timestamp(fleet.clock), rules)


@contextmanager
def _kept(check: _Check) -> Iterator[None]:
    candidate = check.candidate
    wanted = Wanted(candidate.name, candidate.need, candidate.disk_growth + candidate.ram_image)
    with ExitStack() as kept:
        hold = check.fleet.reservations.hold
        _until_it_fits(check, lambda: kept.enter_context(hold(wanted, check=check)))
        check.tell()
        yield


def _until_it_fits(check: _Check, act: Callable[[], object]) -> None:
    """Do it, again and again as long as the request waits. Raises: NoRoom."""
    fleet, wait_s = check.fleet, check.request.wait_s
    deadline = Deadline.after(fleet.clock, wait_s)
    with ExitStack() as shown:
        step: Step | None = None
        while True:
            try:
                act()
                return
            except NoRoom as refusal:
                if deadline.has_passed:
                    raise
                if step is None:
                    title = f"Waiting for room for {check.candidate.name}"
                    fleet.progress.say(refusal.brief)
                    step = shown.enter_context(fleet.progress.step(title, timeout_s=_shown_limit(wait_s)))
                step.detail(refusal.detail)
            pause(fleet.clock, min(_POLL_S, deadline.left_s))


def _shown_limit(wait_s: float) -> float | None:
    return None if wait_s == float("inf") else wait_s


def _runs_with_it(domain: Domain) -> bool:
    """Whether the domain runs with at least the memory that it will have."""
    return domain.active_memory is not None and domain.memory <= domain.active_memory


def _candidate(fleet: Fleet, domain: Domain, clone: CloneRecord, *, with_ram: bool = False) -> Candidate:
    is_first = clone.phase is Phase.DEFINED and clone.wants_ram
    if _runs_with_it(domain) and not (with_ram or is_first):
        # Nothing of it is looked at: a molt has no time for that.
        return Candidate(domain.name, domain.memory, domain.vcpus, emulated=measuring.is_emulated(fleet))
    return measuring.known_clone(fleet, domain, clone, with_ram=with_ram or is_first)
