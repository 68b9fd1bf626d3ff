"""How one victim is ended: asked, then made to, then its group cleared; it is identified anew before every signal."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from enum import Enum

from moltguest.limits import MIB
from moltguest.watchdog.census import Census
from moltguest.watchdog.choice import Reason, Verdict, Victim
from moltguest.watchdog.groups import Group, Member
from moltguest.watchdog.signals import Handle, Signals

GRACE_SHORTEST_S = 1.0
GRACE_LONGEST_S = 10.0
# Nobody is killed sooner after being asked, however fast memory runs out.
_HEARD_S = 0.3
# An end that would come sooner than this at the present rate is not waited for.
_IMMINENT_S = 1.0
_GIVEN_UP_S = 10.0
# How long the others have after the first has ended by itself.
_FOLLOW_S = 1.0
_SETTLE_S = 0.5
_ROUND_S = 0.5
_MOST_STOPS = 5


class Result(str, Enum):
    """How it came out."""

    ENDED = "ended"
    NOT_ENOUGH = "not-enough"
    RECOVERED = "recovered"
    CHANGED = "changed"
    STUCK = "stuck"
    DRY = "dry-run"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a victim. ``peak`` is the highest memory that was seen, in bytes; ``how`` names the last means."""

    result: Result
    how: str
    seconds: float
    peak: int
    used: int


class Ending:
    """The way of one victim from the first signal to its end. Nothing in here waits: ``step`` is called again."""

    def __init__(self, census: Census, signals: Signals, verdict: Verdict, victim: Victim) -> None:
        self.verdict, self.victim = verdict, victim
        self.signals_sent: list[str] = []
        self._census, self._signals = census, signals
        self._handle: Handle | None = None
        self._began = self._asked = 0.0
        self._grace = GRACE_SHORTEST_S
        self._killed: float | None = None
        self._ended: float | None = None
        self._cleared: float | None = None
        self._round = float("-inf")
        self._how = "none"
        self._peak = verdict.group.used

    @property
    def group(self) -> Group:
        """The group that the victim is of."""
        return self.verdict.group

    def begin(self, now: float, *, dry: bool = False) -> Outcome | None:
        """Ask the victim to end, if it is still itself and its group still over. Returns why not, else None."""
        self._began = self._asked = now
        self._handle = self._signals.open(self.victim.member.process.pid)
        # Identified after it was opened: from here on the number cannot become somebody else's.
        if self._handle is None or not self._census.is_still_in(self.group, self.victim.member):
            return self._finish(Result.CHANGED, now)
        if not self._census.is_still_over(self.verdict, now):
            return self._finish(Result.RECOVERED, now)
        if dry:
            return self._finish(Result.DRY, now)
        to_high = max(0, self.group.levels.high - self.group.used) / max(self.group.growth.rate, float(MIB))
        self._grace = min(max(0.5 * to_high, GRACE_SHORTEST_S), GRACE_LONGEST_S)
        self._send(signal.SIGTERM)
        return None

    def step(self, now: float) -> Outcome | None:
        """Go on. Returns the outcome when there is nothing more to do."""
        self._peak = max(self._peak, self.group.used)
        if self._ended is None:
            assert self._handle is not None, "begin() comes first"
            if not self._handle.has_ended():
                return self._press(now)
            self._ended = now
        return self._clear(now) if self.victim.whole else self._settle(now)

    def fileno(self) -> int:
        """Return a descriptor that becomes readable when the victim ends, -1 when there is none to wait for."""
        return -1 if self._handle is None or self._ended is not None else self._handle.fileno()

    def _press(self, now: float) -> Outcome | None:
        if self._killed is not None:
            return self._finish(Result.STUCK, now) if now - self._killed >= _GIVEN_UP_S else None
        if now - self._asked < self._grace and not self._is_imminent(now):
            return None
        if not self._census.is_still_in(self.group, self.victim.member):
            return self._miss(now)
        used = self._census.measure_one(self.group, now)
        if self.verdict.reason is Reason.OWN and used < self.group.levels.warn:
            return self._finish(Result.RECOVERED, now)
        self._send(signal.SIGKILL)
        self._killed = now
        return None

    def _is_imminent(self, now: float) -> bool:
        if now - self._asked < _HEARD_S:
            return False
        levels, used = self.group.levels, self.group.used
        return used >= levels.high or levels.max - used < self.group.growth.rate * _IMMINENT_S

    def _miss(self, now: float) -> Outcome | None:
        """Its number is nobody else's while the handle is open: it ends, moved away, or became another program."""
        if self._has_just_ended():
            return None
        if not self._census.is_on_its_way_out(self.victim.member):
            return self._finish(Result.CHANGED, now)
        return self._finish(Result.STUCK, now) if now - self._asked >= self._grace + _GIVEN_UP_S else None

    def _has_just_ended(self) -> bool:
        return self._handle is not None and self._handle.has_ended()

    def _settle(self, now: float) -> Outcome | None:
        """After one process of a group: was it enough?"""
        if self._ended is None or now - self._ended < _SETTLE_S:
            return None
        return self._finish(Result.NOT_ENOUGH if self._census.is_still_over(self.verdict, now) else Result.ENDED, now)

    def _clear(self, now: float) -> Outcome | None:
        """After the first process of a group: the others follow, or are made to."""
        if self._census.is_empty(self.group):
            return self._finish(Result.ENDED, now)
        if self._cleared is None:
            if self._has_time_to_follow(now):
                return None
            members = self._census.members(self.group)
            rest = [member for member in members if member.protected is None]
            if not rest:
                return self._finish(Result.ENDED, now)
            self._cleared = now
            # Whoever is on its way out has no executable any more, and is nobody to be spared.
            spared = [member for member in members if member.protected is not None and member.executable]
            if self.group.is_scope and not spared and self._census.cgroups.kill(self.group.path):
                self._sent("cgroup.kill")
                return None
            self._sent("SIGKILL to each")
        elif now - self._cleared >= _GIVEN_UP_S:
            return self._finish(Result.STUCK, now)
        if self._how != "cgroup.kill" and now - self._round >= _ROUND_S:
            # Again and again: a process that was about to start is in no list yet.
            self._round = now
            if not self._kill_each(now):
                return self._finish(Result.ENDED, now)
        return None

    def _has_time_to_follow(self, now: float) -> bool:
        if self._killed is not None or self._ended is None or self._is_imminent(now):
            return False
        return now - self._ended < _FOLLOW_S

    def _kill_each(self, now: float) -> bool:
        """Stop all first, so that nobody forks out of sight of a parent that is gone; then kill all.

        Returns False when nobody is left that may be killed.
        """
        before: set[int] = set()
        for _ in range(_MOST_STOPS):
            self._census.measure_one(self.group, now)
            rest = [member for member in self._census.members(self.group) if member.protected is None]
            if {member.process.pid for member in rest} <= before:
                break
            before = {member.process.pid for member in rest}
            self._signal_each(rest, signal.SIGSTOP)
        self._signal_each(rest, signal.SIGKILL)
        return bool(rest)

    def _signal_each(self, members: list[Member], number: signal.Signals) -> None:
        for member in members:
            handle = self._signals.open(member.process.pid)
            if handle is not None:
                if self._census.is_still_in(self.group, member):
                    handle.send(number)
                handle.close()

    def _send(self, number: signal.Signals) -> None:
        assert self._handle is not None, "begin() comes first"
        self._handle.send(number)
        self._sent(number.name)

    def _sent(self, how: str) -> None:
        self._how = how
        self.signals_sent.append(how)

    def _finish(self, result: Result, now: float) -> Outcome:
        if self._handle is not None:
            self._handle.close()
            self._handle = None
        return Outcome(result, self._how, now - self._began, self._peak, self.group.used)
