"""`scripts/bench forecast`: rules that foresee the end of memory, on the same traces; thresholds are not moved here.

With `--train` the candidates are compared on the training traces, and nothing of the test is looked at.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

from moltfleet.model.forecast import FROZEN, Thresholds, Trust
from replay import rules, traces
from replay.rules import Rule
from replay.scoring import Score, Summary, score, summarize

TEST_SEEDS = range(101, 113)
TRAINING_SEEDS = range(1, 7)
# In calm hours: those of a slow leak would make any rule look good.
MOST_FALSE_PER_100_HOURS = 5.0

RULES: Mapping[str, Rule] = {
    "forecast": rules.ours(),
    "two points": rules.two_point,
    "least squares, 30 min": rules.least_squares,
    "more than 8000 MB": rules.threshold,
}
OURS, PEER = "forecast", "two points"


def _trusting(*figures: tuple[float, float, float]) -> Thresholds:
    return replace(FROZEN, trusts=tuple(Trust(*figure) for figure in figures))


# What was weighed against each other: how far a rise is drawn on, and how even it has to be, by the window's length.
CANDIDATES: Mapping[str, Thresholds] = {
    "frozen": FROZEN,
    "bolder": _trusting((0, 4, 0.6), (75, 3, 0.6), (300, 6, 0.6)),
    "bolder when short": _trusting((0, 4, 0.7), (75, 2.5, 0.7), (300, 6, 0.65), (450, 5, 0.6)),
    "bolder when long": _trusting((0, 3.5, 0.7), (75, 2, 0.7), (300, 6, 0.65), (450, 6, 0.6)),
    "less even": _trusting((0, 3.5, 0.7), (75, 2, 0.7), (300, 6, 0.6), (450, 5, 0.5)),
    "bolder, but more even": _trusting((0, 4, 0.75), (75, 2.5, 0.75), (300, 6, 0.7), (450, 6, 0.65)),
    "shyer": _trusting((0, 2.5, 0.7), (75, 1.5, 0.7), (300, 4, 0.7)),
}

Scores = dict[str, list[Score]]


def bench(seeds: Sequence[int] = TEST_SEEDS) -> str:
    """Replay the test traces; returns Markdown."""
    scores = replay(traces.TEST, seeds, list(RULES))
    hours = sum(one.hours for one in scores[OURS])
    what = f"{len(scores[OURS])} traces of {hours:.0f} hours: {len(traces.TEST)} families"
    return "\n".join([f"{what}, seeds {seeds[0]} to {seeds[-1]}.\n", *overall(scores), "", *by_family(scores)])


def train(seeds: Sequence[int] = TRAINING_SEEDS) -> str:
    """Compare the candidates on the training traces; returns Markdown."""
    lines = ["| candidate | lead, share of the longest | misses | false in 100 h | in 100 calm hours |"]
    lines.append("|---|---|---|---|---|")
    for name, scores in replay(traces.TRAINING, seeds, list(CANDIDATES)).items():
        one, calm = summarize(scores), calm_hours(scores)
        false = f"{one.false_per_100_hours:.1f} | {calm.false_per_100_hours:.1f}"
        lines.append(f"| {name} | {share(scores):.3f} | {one.misses} | {false} |")
    most = f"at most {MOST_FALSE_PER_100_HOURS:.0f} false alarms in 100 calm hours"
    return "\n".join([*lines, "", f"Of those with no miss and {most} the longest lead wins."])


def calm_hours(scores: Sequence[Score]) -> Summary:
    """Take the calm traces together: memory is never used up in them."""
    return summarize([one for one in scores if not one.ends])


def share(scores: Sequence[Score]) -> float:
    """Return the lead of each family as a share of the longest there, all families weighing the same."""
    families = dict.fromkeys(one.family for one in scores if one.ends)
    parts = [summarize([one for one in scores if one.family == family]) for family in families]
    return sum(part.lead / part.longest for part in parts) / len(parts)


def replay(families: Sequence[str], seeds: Sequence[int], names: Sequence[str]) -> Scores:
    """Score each rule or candidate on every trace, on all processors."""
    work = [(family, seed, tuple(names)) for family in families for seed in seeds]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        results = list(pool.map(_replay_one, work))
    return {name: [result[index] for result in results] for index, name in enumerate(names)}


def _replay_one(work: tuple[str, int, tuple[str, ...]]) -> list[Score]:
    family, seed, names = work
    trace = traces.make(family, seed)
    return [score(trace, find(name)(trace)) for name in names]


def find(name: str) -> Rule:
    """Return a rule or a candidate by its name."""
    return RULES[name] if name in RULES else rules.ours(CANDIDATES[name])


def overall(scores: Scores) -> Iterator[str]:
    """All traces together, a rule in each row."""
    yield "| rule | lead, median (p10), min | longest possible | misses | false in 100 h | in 100 calm hours |"
    yield "|---|---|---|---|---|---|"
    for name, found in scores.items():
        one, calm = summarize(found), calm_hours(found)
        yield (
            f"| {name} | {lead(one)} | {one.longest:.1f} ({one.longest_p10:.1f}) | {one.misses} of {one.traces} "
            f"| {one.false_per_100_hours:.1f} | {calm.false_per_100_hours:.1f} |"
        )


def by_family(scores: Scores) -> Iterator[str]:
    """Ours beside the two-point rule, a family in each row."""
    both = f"{OURS} | {PEER}"
    yield f"| family | longest, min | lead: {both} | misses: {both} | false in 100 h: {both} |"
    yield "|---|---|---|---|---|---|---|---|"
    for family in dict.fromkeys(one.family for one in scores[OURS]):
        ours, peer = (summarize([s for s in scores[name] if s.family == family]) for name in (OURS, PEER))
        cells = [family, "-", "-", "-", "-", "-"]
        if ours.traces:
            cells = [family, f"{ours.longest:.1f}", lead(ours), lead(peer), str(ours.misses), str(peer.misses)]
        false = (f"{ours.false_per_100_hours:.1f}", f"{peer.false_per_100_hours:.1f}")
        yield f"| {' | '.join([*cells, *false])} |"


def lead(one: Summary) -> str:
    """The lead in minutes: median and tenth percentile; a miss counts as none."""
    return f"{one.lead:.1f} ({one.lead_p10:.1f})"
