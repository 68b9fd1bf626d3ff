"""How many processes the kernel killed for want of memory in the last ten minutes.

The kernel only counts them (/proc/vmstat, since the boot, those of cgroups with a limit too), so the counter is
remembered with the time since the boot. Where that cannot tell, nothing is claimed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from moltfleet.adapters import hostinfo
from moltfleet.adapters.localfile import read_small, write_atomically
from moltfleet.model.admission import OOM_WINDOW_S

_LARGEST_FILE = 65536
# Closer ones than this with the same count tell nothing more.
_APART_S = 60.0


@dataclass(frozen=True, slots=True)
class Sample:
    """The counter, and when it was read: seconds since the boot."""

    at: float
    count: int


class OomHistory:
    """The counter now and as it was remembered in ``path``, a file of this machine's user."""

    def __init__(self, path: Path, proc: Path) -> None:
        self._path = path
        self._proc = proc

    def recent(self) -> tuple[int | None, str]:
        """Return the number in the last ten minutes with its origin; None with the reason. Changes nothing."""
        now = self._now()
        if now is None:
            return None, "the kernel does not count them in /proc/vmstat"
        return judge(now, self._remembered())

    def remember(self) -> None:
        """Write the counter down, for later. Raises: OSError."""
        now = self._now()
        if now is None:
            return
        samples = self._remembered()
        if samples and samples[-1].count == now.count and now.at - samples[-1].at < _APART_S:
            return
        kept = [[sample.at, sample.count] for sample in (*worth_keeping(samples, at=now.at), now)]
        document = {"boot_id": hostinfo.boot_id(self._proc), "samples": kept}
        write_atomically(self._path, json.dumps(document).encode())

    def _now(self) -> Sample | None:
        count = hostinfo.oom_kills(self._proc)
        return None if count is None else Sample(hostinfo.uptime_s(self._proc), count)

    def _remembered(self) -> tuple[Sample, ...]:
        """Return this boot's samples, oldest first; none when the file is missing or is not ours to understand."""
        try:
            content = read_small(self._path, limit=_LARGEST_FILE)
            document = json.loads(content or b"{}")
            if document["boot_id"] != hostinfo.boot_id(self._proc):
                return ()
            return tuple(sorted((Sample(float(at), int(n)) for at, n in document["samples"]), key=lambda s: s.at))
        except (OSError, ValueError, TypeError, KeyError):
            return ()


def worth_keeping(samples: tuple[Sample, ...], *, at: float) -> tuple[Sample, ...]:
    """Drop what is older than the newest sample that lies before the window."""
    before = [sample for sample in samples if at - sample.at >= OOM_WINDOW_S]
    return (*before[-1:], *(sample for sample in samples if at - sample.at < OOM_WINDOW_S))


def judge(now: Sample, samples: tuple[Sample, ...]) -> tuple[int | None, str]:
    """Return how many kills fell into the window, by what is remembered; None with the reason if that cannot tell."""
    before = [sample for sample in samples if now.at - sample.at >= OOM_WINDOW_S]
    within = [sample for sample in samples if now.at - sample.at < OOM_WINDOW_S]
    if now.at < OOM_WINDOW_S:
        return now.count, "since the boot, /proc/vmstat"
    if now.count == 0:
        return 0, "none since the boot, /proc/vmstat"
    if within and now.count > within[0].count:
        return now.count - within[0].count, "last 10 minutes, /proc/vmstat"
    oldest = before[-1:] or within[:1]
    if before and before[-1].count == now.count:
        return 0, "last 10 minutes, /proc/vmstat"
    if not oldest:
        return None, f"{now.count} since the boot, but nothing was remembered to tell when"
    minutes = (now.at - oldest[0].at) / 60
    more = now.count - oldest[0].count
    return None, f"{more} more than {minutes:.0f} minutes ago, but nothing was remembered since to tell when"
