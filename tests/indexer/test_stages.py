"""Stages of a pipeline: in order, bounded, and never left hanging."""

import threading
import time

import pytest

from indexer.ingest.stages import Stages
from tests.waiting import WAIT_S


def test_items_come_through_in_order() -> None:
    with Stages() as stages:
        numbers = stages.background(range(1000), 3, "numbers")
        doubled = stages.parallel(lambda n: 2 * n, numbers, workers=8, ahead=16)
        assert list(stages.background(doubled, 1, "doubled")) == list(range(0, 2000, 2))


def test_a_stage_runs_no_further_ahead_than_its_queue() -> None:
    made: list[int] = []

    def numbers():  # type: ignore[no-untyped-def]
        for number in range(1000):
            made.append(number)
            yield number

    with Stages() as stages:
        slow = stages.background(numbers(), 4, "numbers")
        assert next(slow) == 0
        time.sleep(0.3)
        assert len(made) <= 1 + 4 + 1  # taken, waiting, in hand


def test_results_that_weigh_much_hold_back_the_next() -> None:
    begun: list[int] = []
    with Stages() as stages:
        heavy = stages.parallel(
            lambda n: begun.append(n) or n, range(100), workers=2, ahead=50, weigh=lambda _: 10, budget=25
        )
        assert next(heavy) == 0
        assert len(begun) < 10
        assert list(heavy) == list(range(1, 100))


def test_items_that_weigh_much_are_not_made_ahead() -> None:
    made: list[int] = []
    blocked = threading.Event()

    def numbers():  # type: ignore[no-untyped-def]
        for number in range(100):
            made.append(number)
            if len(made) == 4:  # in hand, and there is no room for it
                blocked.set()
            yield number

    with Stages() as stages:
        heavy = stages.background(numbers(), 50, "numbers", weigh=lambda _: 10, budget=25)
        assert blocked.wait(WAIT_S)
        time.sleep(0.3)
        assert len(made) == 4
        assert list(heavy) == list(range(100))


def test_items_that_weigh_much_hold_back_the_next_before_they_are_done() -> None:
    taken: list[int] = []

    def numbers():  # type: ignore[no-untyped-def]
        for number in range(100):
            taken.append(number)
            if len(taken) == 4:  # three wait, and one is in hand
                blocked.set()
            yield number

    gate, blocked = threading.Event(), threading.Event()
    with Stages() as stages:
        heavy = stages.background(
            stages.parallel(
                lambda n: gate.wait(WAIT_S) and str(n),
                numbers(),
                workers=2,
                ahead=50,
                weigh=lambda thing: 10 if isinstance(thing, int) else 0,
                budget=25,
            ),
            50,
            "heavy",
        )
        assert blocked.wait(WAIT_S)
        time.sleep(0.3)
        assert len(taken) == 4
        gate.set()
        assert list(heavy) == [str(number) for number in range(100)]


def test_an_error_of_any_stage_is_raised_at_the_end_after_what_came_before() -> None:
    def break_at_5(number: int) -> int:
        if number == 5:
            raise ValueError("five")
        return number

    seen: list[int] = []
    with Stages() as stages:
        broken = stages.parallel(break_at_5, stages.background(range(100), 2, "a"), workers=4, ahead=8)
        last = stages.background(broken, 1, "b")
        with pytest.raises(ValueError, match="five"):
            seen.extend(last)
    assert seen == [0, 1, 2, 3, 4]


def test_leaving_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    with Stages() as stages:
        endless = stages.background(iter(int, 1), 2, "endless")
        numbers = stages.parallel(lambda n: n, endless, workers=4, ahead=8)
        next(stages.background(numbers, 1, "numbers"))
    assert threading.active_count() == before


def test_what_waits_for_nobody_is_done_without_a_hand_over_and_in_its_place() -> None:
    here = threading.get_ident()
    with Stages() as stages:
        done = stages.parallel(
            lambda number: (number, threading.get_ident() == here),
            range(20),
            workers=4,
            waits=lambda number: number % 3 == 0,
            ahead=8,
        )
        assert list(done) == [(number, number % 3 != 0) for number in range(20)]


def test_an_error_of_what_waits_for_nobody_comes_in_its_place() -> None:
    with Stages() as stages:
        done = stages.parallel(lambda number: 6 // number, [3, 2, 0, 1], workers=1, waits=lambda _: False, ahead=4)
        assert [next(done), next(done)] == [2, 3]
        with pytest.raises(ZeroDivisionError):
            next(done)
