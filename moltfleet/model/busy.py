"""Whether somebody works in a clone: told by who is attached, and by the processor time that its agents use. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from moltfleet.model.figures import duration, percent
from moltfleet.model.health import Health
from moltfleet.model.policy import Policy
from moltfleet.model.samples import Sample, rise


def is_busy(
    health: Health | None, samples: Sequence[Sample], policy: Policy, *, silence: str
) -> tuple[bool | None, str]:
    """Say whether it is busy, and why; None when that is not known. ``silence`` is why the guest told nothing.

    What agents use is not told by a single look, but by two of them some minutes apart.
    """
    if health is None:
        # Who is attached to a guest that does not answer cannot be told; what its agents did before is no matter.
        return None, silence or "it was not asked"
    attached = [session for session in health.sessions if session.attached]
    if attached:
        return True, f"{attached[0].user} is attached to tmux session {attached[0].name!r}"
    by_agents = rise(samples, "agents_cpu_s", over_s=policy.busy_s)
    if by_agents is not None:
        return _judge(*by_agents, policy, whose="its agents")
    if not health.agents:
        return False, "no agent runs and nobody is attached"
    whole = rise(samples, "cpu_s", over_s=policy.busy_s)
    if whole is not None:
        found, why = _judge(*whole, policy, whose="the whole guest")
        if not found:
            return False, why
    if health.agents_cpu_s is None:
        return None, "nothing in it counts what its agents use of the processors"
    return None, "what its agents use of the processors is told by the next survey that is recorded"


def _judge(used_s: float, in_s: float, policy: Policy, *, whose: str) -> tuple[bool, str]:
    share = used_s / in_s
    return share > policy.busy_share, f"{whose} used {percent_of_one(share)} of a processor in {duration(in_s)}"


def percent_of_one(share: float) -> str:
    """Return a share that may be of several processors."""
    return percent(share) if share < 1 else f"{share * 100:.0f} %"
