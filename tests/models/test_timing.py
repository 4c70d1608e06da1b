"""Timing of a model: every way of running it, and which is best."""

import pytest

from models import timing as module
from models.store import EMBEDDED
from models.timing import Timing, fastest, measure, thread_counts


@pytest.mark.parametrize(
    ("cores", "counts"), [(1, [1]), (2, [1, 2]), (6, [1, 2, 4, 6]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12])]
)
def test_threads_are_doubled_up_to_all_cores(cores: int, counts: list[int]) -> None:
    assert thread_counts(cores) == counts


def test_both_towers_are_timed_with_each_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "usable_cores", lambda: 3)
    monkeypatch.setattr("models.sessions.usable_cores", lambda: 3)
    timings = list(measure(EMBEDDED, "cpu", 0.0))
    ways = [(timing.tower, timing.threads, timing.parallel) for timing in timings]
    assert ways == [(tower, *way) for way in ((1, 3), (2, 1), (3, 1)) for tower in ("image", "text")]
    assert all(timing.lone_s > 0 and timing.rows_per_s > 0 for timing in timings)


def test_the_best_is_what_embeds_a_picture_and_a_text_soonest() -> None:
    rates = {1: (100.0, 900.0), 2: (120.0, 500.0), 4: (10.0, 2000.0)}
    timings = [
        Timing(tower, threads, 1, 0.01, rate)
        for threads, both in rates.items()
        for tower, rate in zip(("image", "text"), both, strict=True)
    ]
    assert fastest(timings) == 2
