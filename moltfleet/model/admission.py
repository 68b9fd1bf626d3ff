"""May this clone start now? Four rules on one measured situation, each with its arithmetic; refuses nothing itself."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from moltfleet.model.capacity import LEAST_CLONE
from moltfleet.model.load import NOT_MEASURED, Candidate, HostLoad, Situation
from moltfleet.model.overhead import largest_memory
from moltfleet.model.size import Size

# A start takes more than the guest for a while: page cache of the image, QEMU's buffers.
_LIVE_TENTHS = 12
HIGHEST_PRESSURE = 10.0
OOM_WINDOW_S = 600.0


class Rule(StrEnum):
    """The rules, in the order in which they are told."""

    COMMITTED = "committed"
    LIVE = "live"
    PRESSURE = "pressure"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule's answer and its arithmetic. A rule that was not measured passes, and says so."""

    rule: Rule
    passed: bool
    detail: str
    measured: bool = True


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer. ``largest`` is the largest clone memory that would be admitted now, zero when none would.

    ``warning`` is said when it is granted and takes the room that should stay free for a leak.
    """

    candidate: Candidate
    rules: tuple[RuleResult, ...]
    largest: Size
    warning: str | None = None

    @property
    def admit(self) -> bool:
        """Whether every rule passed."""
        return all(result.passed for result in self.rules)

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        """The rules that stand against it."""
        return tuple(result for result in self.rules if not result.passed)


def decide(situation: Situation, candidate: Candidate) -> Admission:
    """Apply all rules. A running domain of the candidate's name is taken to end first, as in a molt."""
    before = situation.without(candidate.name)
    rules = (
        check_committed(before, candidate),
        check_live(before, candidate),
        check_pressure(before),
        check_disk(before, candidate),
    )
    others_pass = all(result.passed for result in rules if result.rule in (Rule.PRESSURE, Rule.DISK))
    admission = Admission(candidate, rules, _largest(before, candidate) if others_pass else Size(0))
    if admission.admit and _committed_room(before) < 2 * candidate.need.bytes:
        return replace(admission, warning=_last_one(candidate))
    return admission


def how_many(situation: Situation, candidate: Candidate) -> int:
    """Return how many such clones could be started one after the other now; their names do not matter."""
    if not all(result.passed for result in (check_pressure(situation), check_disk(situation, candidate))):
        return 0
    counts = [_committed_room(situation) // candidate.need.bytes]
    live = _live_room(situation)
    if live is not None:
        # The last one has to find its 1.2 times; those before it have been promised their once.
        spare = live - _times_live(candidate.need)
        counts.append(spare // candidate.need.bytes + 1)
    disk = _disk_need(candidate).bytes
    if situation.pool_free is not None and disk:
        counts.append((situation.pool_free - situation.reserved_disk).bytes // disk)
    return max(0, min(counts))


def check_committed(situation: Situation, candidate: Candidate) -> RuleResult:
    """A: all that is promised, reserved and asked for fits into the host without its reserve."""
    host, count = situation.host, len(situation.domains)
    spare = _committed_room(situation) - candidate.need.bytes
    total = Size(situation.promised.bytes + situation.reserved.bytes + candidate.need.bytes)
    detail = (
        f"{count} active domain{'' if count == 1 else 's'} {_gib(situation.promised)} (memory and QEMU's own, libvirt)"
        f" + {_gib(situation.reserved)} reserved for starts + {_gib(candidate.need)} for this clone ="
        f" {_gib(total)}; limit {_gib(host.total - situation.reserve)} ="
        f" {_gib(host.total)} ({host.total_origin}) - {_gib(situation.reserve)} reserve ({situation.reserve_origin})"
    )
    return RuleResult(Rule.COMMITTED, spare >= 0, detail + _verdict(spare))


def check_live(situation: Situation, candidate: Candidate) -> RuleResult:
    """B: what is free now, less what is promised and not touched yet, is 1.2 times what is asked for."""
    room = _live_room(situation)
    if room is None or situation.host.available is None:
        return RuleResult(Rule.LIVE, True, f"{NOT_MEASURED}: {situation.host.available_origin}", measured=False)
    spare = room - _times_live(candidate.need)
    detail = (
        f"{_gib(situation.host.available)} available ({situation.host.available_origin})"
        f" - {_gib(situation.untouched)} promised to running domains and not touched yet"
        f" - {_gib(situation.reserved)} reserved for starts = {_signed_gib(room)};"
        f" needed 1.2 x {_gib(candidate.need)} = {_gib(Size(_times_live(candidate.need)))}"
    )
    return RuleResult(Rule.LIVE, spare >= 0, detail + _verdict(spare))


def check_pressure(situation: Situation) -> RuleResult:
    """C: nothing on the host waits for memory, and the kernel has killed nothing for want of it."""
    host = situation.host
    calm = host.pressure is None or host.pressure < HIGHEST_PRESSURE
    measured = host.pressure is not None and host.oom_kills is not None
    detail = f"{_say_pressure(host)}; {_say_kills(host)}"
    return RuleResult(Rule.PRESSURE, calm and not host.oom_kills, detail, measured=measured)


def check_disk(situation: Situation, candidate: Candidate) -> RuleResult:
    """D: the pool has room for what the clone will write and for its saved RAM, beside starts under way."""
    if situation.pool_free is None:
        return RuleResult(Rule.DISK, True, f"{NOT_MEASURED}: {situation.pool_origin}", measured=False)
    spare = situation.pool_free.bytes - situation.reserved_disk.bytes - _disk_need(candidate).bytes
    detail = (
        f"{_gib(situation.pool_free)} free ({situation.pool_origin}) - {_gib(situation.reserved_disk)} reserved for"
        f" starts; needed {_gib(candidate.disk_growth)} expected growth + {_gib(candidate.ram_image)} RAM image ="
        f" {_gib(_disk_need(candidate))}"
    )
    return RuleResult(Rule.DISK, spare >= 0, detail + _verdict(spare))


def _say_pressure(host: HostLoad) -> str:
    if host.pressure is None:
        return f"memory pressure {NOT_MEASURED}: {host.pressure_origin}"
    word = "below" if host.pressure < HIGHEST_PRESSURE else "not below"
    origin = f"some avg60, {host.pressure_origin}"
    return f"memory pressure {host.pressure:.1f} % ({origin}), {word} {HIGHEST_PRESSURE:.0f} %"


def _say_kills(host: HostLoad) -> str:
    if host.oom_kills is None:
        return f"OOM kills {NOT_MEASURED}: {host.oom_origin}"
    return f"{host.oom_kills} OOM kill{'' if host.oom_kills == 1 else 's'} ({host.oom_origin})"


def _committed_room(situation: Situation) -> int:
    """Bytes below the limit of rule A that nobody has been promised; negative when it is exceeded."""
    limit = situation.host.total - situation.reserve
    return limit.bytes - situation.promised.bytes - situation.reserved.bytes


def _live_room(situation: Situation) -> int | None:
    """Bytes that are free and promised to nobody; None when not measured."""
    available = situation.host.available
    return None if available is None else available.bytes - situation.untouched.bytes - situation.reserved.bytes


def _times_live(need: Size) -> int:
    """1.2 times, rounded up."""
    return -(-need.bytes * _LIVE_TENTHS // 10)


def _disk_need(candidate: Candidate) -> Size:
    return candidate.disk_growth + candidate.ram_image


def _largest(situation: Situation, candidate: Candidate) -> Size:
    room = _committed_room(situation)
    live = _live_room(situation)
    if live is not None:
        room = min(room, live * 10 // _LIVE_TENTHS)
    memory = largest_memory(Size(max(0, room)), vcpus=candidate.vcpus, emulated=candidate.emulated)
    return memory if memory >= LEAST_CLONE else Size(0)


def _last_one(candidate: Candidate) -> str:
    return f"No room for another clone of {candidate.memory} is left once this one runs: nothing absorbs a leak"


def _verdict(spare: int) -> str:
    return "" if spare >= 0 else f": {Size(-spare)} short"


def _gib(size: Size) -> str:
    """Two decimals everywhere, so that the sums can be checked by eye; a shortfall is said exactly beside them."""
    return f"{size.bytes / 2**30:.2f} GiB"


def _signed_gib(count: int) -> str:
    return _gib(Size(count)) if count >= 0 else f"-{_gib(Size(-count))}"
