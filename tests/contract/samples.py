"""What a time series does with samples, wherever it is kept."""

from __future__ import annotations

from moltfleet.model.ports import Samples
from moltfleet.model.samples import POOL, Sample


def a_sample(subject: str = "crab-1", time_s: float = 100.0, used: int | None = 1 << 33) -> Sample:
    return Sample(subject, "life-1", time_s, used=used, total=1 << 34, cpu_s=1.5)


def told(samples: Samples, since_s: float = 0.0, subjects: tuple[str, ...] = ()) -> dict[str, tuple[Sample, ...]]:
    return dict(samples.history(since_s=since_s, subjects=subjects))


class SamplesContract:
    """Runs on the fake and on the file."""

    def test_nothing_was_measured_yet(self, samples: Samples) -> None:
        assert told(samples) == {}

    def test_samples_come_back_by_subject_in_the_order_of_their_times(self, samples: Samples) -> None:
        late, early, pool = a_sample(time_s=200.0), a_sample(time_s=100.0, used=None), a_sample(POOL, 150.0)
        samples.add([late, pool])
        samples.add([early])
        assert told(samples) == {POOL: (pool,), "crab-1": (early, late)}

    def test_what_is_older_than_asked_for_is_left_out(self, samples: Samples) -> None:
        old, new = a_sample(time_s=99.0), a_sample(time_s=100.0)
        samples.add([old, new])
        assert told(samples, since_s=100.0) == {"crab-1": (new,)}

    def test_some_subjects_are_told_alone(self, samples: Samples) -> None:
        samples.add([a_sample(f"crab-{number}") for number in range(300)])
        assert set(told(samples, subjects=("crab-7", "crab-8", "crab-999"))) == {"crab-7", "crab-8"}
        many = tuple(f"crab-{number}" for number in range(200))
        assert set(told(samples, subjects=many)) == set(many)

    def test_of_two_of_one_moment_the_first_stays(self, samples: Samples) -> None:
        samples.add([a_sample(used=1)])
        samples.add([a_sample(used=2)])
        assert [sample.used for sample in told(samples)["crab-1"]] == [1]
