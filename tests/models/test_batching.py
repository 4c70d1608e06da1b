"""The batcher: everybody gets his own rows back, whoever runs the tower, and nobody waits for ever."""

import random
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context

import numpy as np
import pytest
from numpy.typing import NDArray

from models import batching as module
from models.batching import Batcher, Row, is_abandoned, may_divide
from models.bulk_batching import FIRST_STEP, BulkBatcher
from models.errors import EncoderOverloaded, RequestAbandoned
from models.lanes import Lanes
from tests.waiting import WAIT_S

LARGEST = 8


def rows_of(*values: int) -> list[Row]:
    return [np.array([value]) for value in values]


class Tower:
    """Gives each row's value back; runs when it is let, and remembers its batches."""

    def __init__(self, *, held: bool = False, parallel: int = 1) -> None:
        self.parallel, self.most_running = parallel, 0
        self.batches: list[list[int]] = []
        self.threads: list[int] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0 if held else 1_000_000)
        self.running = 0

    def __call__(self, rows: Sequence[Row]) -> NDArray[np.float32]:
        self.running += 1
        assert self.running <= self.parallel, "no more at a time than allowed"
        self.most_running = max(self.most_running, self.running)
        self.batches.append([int(row[0]) for row in rows])
        self.threads.append(threading.get_ident())
        self.begun.release()
        assert self.gate.acquire(timeout=WAIT_S)
        self.running -= 1
        if any(row[0] < 0 for row in rows):
            raise ValueError("a row that cannot be embedded")
        return np.array([[row[0], 1] for row in rows], dtype=np.float32)


def make(tower: Tower, **options: object) -> Batcher:
    settings = {"largest": LARGEST, "most_waiting": 100, "parallel": tower.parallel, **options}
    return Batcher(tower, **settings)  # type: ignore[arg-type]


def values(vectors: Sequence[NDArray[np.float32]]) -> list[int]:
    return [int(vector[0]) for vector in vectors]


class Crowd:
    """Requests from threads of their own, each waiting by the time that the next is made."""

    def __init__(self, batcher: Batcher, tower: Tower) -> None:
        self._batcher, self._tower = batcher, tower
        self._pool = ThreadPoolExecutor(64)
        self.answers: list[Future[list[NDArray[np.float32]]]] = []

    def first(self, *numbers: int) -> None:
        """It finds the tower idle, and runs it."""
        self._submit(numbers)
        assert self._tower.begun.acquire(timeout=WAIT_S)

    def wait(self, *numbers: int) -> None:
        before = self._batcher.waiting
        self._submit(numbers)
        deadline = time.monotonic() + WAIT_S
        while self._batcher.waiting != before + len(numbers):
            assert time.monotonic() < deadline

    def let_all(self) -> list[list[int]]:
        self._tower.gate.release(1000)
        return [values(answer.result(WAIT_S)) for answer in self.answers]

    def _submit(self, numbers: Sequence[int]) -> None:
        context = copy_context()
        self.answers.append(self._pool.submit(context.run, self._batcher, rows_of(*numbers)))


@pytest.fixture
def tower() -> Tower:
    return Tower(held=True)


def crowd_of(tower: Tower, **options: object) -> Crowd:
    return Crowd(make(tower, **options), tower)


def test_a_lone_request_is_run_at_once_by_its_own_thread() -> None:
    tower = Tower()
    assert values(make(tower)(rows_of(1, 2, 3))) == [1, 2, 3]
    assert tower.batches == [[1, 2, 3]]
    assert tower.threads == [threading.get_ident()]


def test_nothing_is_run_for_nothing() -> None:
    tower = Tower()
    assert make(tower)([]) == []
    assert tower.batches == []


def test_a_large_request_goes_in_several_batches() -> None:
    tower = Tower()
    assert values(make(tower)(rows_of(*range(19)))) == list(range(19))
    assert list(map(len, tower.batches)) == [8, 8, 3]


def test_what_arrives_while_the_tower_is_busy_goes_through_it_together(tower: Tower) -> None:
    crowd = crowd_of(tower)
    crowd.first(1)
    for number in range(2, 8):
        crowd.wait(number)
    assert crowd.let_all() == [[number] for number in range(1, 8)]
    assert tower.batches == [[1], [2, 3, 4, 5, 6, 7]]


def test_as_many_batches_run_at_once_as_are_allowed() -> None:
    tower = Tower(held=True, parallel=2)
    crowd = crowd_of(tower)
    crowd.first(1)
    crowd.first(2)
    crowd.wait(3)
    crowd.wait(4)
    assert crowd.let_all() == [[1], [2], [3], [4]]
    assert tower.most_running == 2


def test_a_large_request_that_finds_all_idle_is_divided_among_all() -> None:
    tower = Tower(held=True, parallel=4)
    crowd = crowd_of(tower)
    crowd.first(*range(8))
    for _ in range(3):
        assert tower.begun.acquire(timeout=WAIT_S)
    assert crowd.let_all() == [list(range(8))]
    assert sorted(tower.batches) == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_where_no_core_is_idle_a_request_is_not_divided() -> None:
    tower = Tower(parallel=4)
    context = copy_context()
    context.run(may_divide.set, lambda: False)

    vectors = context.run(make(tower, bucket=lambda row: int(row[0]) // 10), rows_of(*range(8), *range(10, 30)))

    assert values(vectors) == [*range(8), *range(10, 30)]
    assert tower.batches == [list(range(8)), list(range(10, 18)), [18, 19], list(range(20, 28)), [28, 29]]
    assert set(tower.threads) == {threading.get_ident()}


def test_who_waits_goes_before_the_rest_of_a_large_request() -> None:
    tower = Tower(held=True, parallel=2)
    crowd = crowd_of(tower)
    crowd.first(1)
    crowd.first(*range(10, 30))
    crowd.wait(2)
    assert crowd.let_all() == [[1], list(range(10, 30)), [2]]
    assert tower.most_running == 2
    assert sorted(number for batch in tower.batches for number in batch) == [1, 2, *range(10, 30)]


def test_only_rows_of_one_bucket_go_together(tower: Tower) -> None:
    crowd = crowd_of(tower, bucket=lambda row: int(row[0]) // 10)
    crowd.first(0)
    crowd.wait(11, 12, 21)
    crowd.wait(13, 22)
    crowd.wait(23)
    assert crowd.let_all() == [[0], [11, 12, 21], [13, 22], [23]]
    assert tower.batches == [[0], [11, 12, 13], [21, 22, 23]]


def test_too_many_are_told_to_come_again(tower: Tower) -> None:
    crowd = crowd_of(tower, most_waiting=3)
    crowd.first(1)
    crowd.wait(2, 3)
    with pytest.raises(EncoderOverloaded):
        crowd._batcher(rows_of(4, 5))
    crowd.wait(4)
    assert crowd.let_all() == [[1], [2, 3], [4]]


def test_whoever_fills_a_catalogue_waits_as_long_as_it_takes(tower: Tower) -> None:
    crowd = crowd_of(tower, most_waiting=None)
    crowd.first(1)
    crowd.wait(*range(2, 1000))
    assert crowd.let_all() == [[1], list(range(2, 1000))]


def test_a_request_larger_than_what_may_wait_is_taken_by_an_idle_tower() -> None:
    assert values(make(Tower(), most_waiting=3)(rows_of(*range(20)))) == list(range(20))


def test_an_error_is_told_to_those_of_its_batch_and_the_others_go_on(tower: Tower) -> None:
    crowd = crowd_of(tower, bucket=lambda row: int(row[0] < 0))
    crowd.first(1)
    crowd.wait(-2)
    crowd.wait(-3, 3)
    crowd.wait(4)
    tower.gate.release(1000)
    for answer in crowd.answers[1:3]:
        with pytest.raises(ValueError, match="cannot be embedded"):
            answer.result(WAIT_S)
    assert [values(crowd.answers[place].result(WAIT_S)) for place in (0, 3)] == [[1], [4]]
    assert values(crowd._batcher(rows_of(5))) == [5]


def test_a_batch_that_cannot_be_put_together_leaves_the_tower_to_others() -> None:
    tower = Tower()

    def bucket(row: Row) -> int:
        if row[0] == 13:
            raise ValueError("no bucket")
        return 0

    batcher = make(tower, bucket=bucket)
    with pytest.raises(ValueError, match="no bucket"):
        batcher(rows_of(13))
    with ThreadPoolExecutor(1) as pool:
        assert values(pool.submit(batcher, rows_of(1)).result(WAIT_S)) == [1]


@pytest.mark.parametrize(
    ("seconds", "quiet", "second", "longest"),
    [
        (0.0, False, 2 * FIRST_STEP, 40),
        (0.01, False, 3, FIRST_STEP),
        (0.02, False, 2, FIRST_STEP),
        (9.0, False, 1, FIRST_STEP),
        (0.01, True, 2 * FIRST_STEP, 25),
        (0.05, True, 5, 5),
        (9.0, True, 1, FIRST_STEP),
    ],
)
def test_bulk_rows_go_in_steps_as_long_as_a_search_may_wait(
    seconds: float, quiet: bool, second: int, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    tower = Tower()

    def run(rows: Sequence[Row]) -> NDArray[np.float32]:
        nonlocal now
        now += seconds * len(rows)
        return tower(rows)

    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    steps_begun = list[int]()
    lanes = Lanes()
    monkeypatch.setattr(lanes, "_give_way", lambda: steps_begun.append(len(tower.batches)))
    monkeypatch.setattr(Lanes, "is_quiet", quiet)
    batcher = BulkBatcher(run, lanes, largest=1000)
    assert values(batcher(rows_of(*range(100)))) == list(range(100))

    steps = [len(batch) for batch in tower.batches]
    assert max(steps) == longest
    assert steps[1] == second
    assert steps_begun == list(range(len(steps)))


def test_what_nobody_waits_for_any_more_is_not_embedded(tower: Tower) -> None:
    crowd, gone = crowd_of(tower, most_waiting=3), threading.Event()
    crowd.first(1)
    is_abandoned.set(gone.is_set)
    crowd.wait(2, 3)
    is_abandoned.set(lambda: False)
    crowd.wait(4)
    gone.set()
    crowd._submit((5, 6))  # for which there was no room
    with pytest.raises(RequestAbandoned):
        crowd.answers[1].result(WAIT_S)
    tower.gate.release(1000)
    assert [values(crowd.answers[place].result(WAIT_S)) for place in (0, 2, 3)] == [[1], [4], [5, 6]]
    assert sorted(number for batch in tower.batches for number in batch) == [1, 4, 5, 6]
    assert crowd._batcher.waiting == 0


def test_a_request_that_is_left_between_its_batches_ends_there(tower: Tower) -> None:
    crowd, gone = crowd_of(tower), threading.Event()
    is_abandoned.set(gone.is_set)
    crowd.first(*range(20))
    is_abandoned.set(lambda: False)
    crowd.wait(100)
    gone.set()
    tower.gate.release(1000)
    with pytest.raises(RequestAbandoned):
        crowd.answers[0].result(WAIT_S)
    assert values(crowd.answers[1].result(WAIT_S)) == [100]
    assert tower.batches == [list(range(8)), [100]]


def test_batches_are_observed_with_how_long_their_requests_waited(tower: Tower) -> None:
    seen: list[tuple[int, Sequence[float]]] = []
    crowd = crowd_of(tower, observe=lambda *batch: seen.append(batch))
    crowd.first(1)
    crowd.wait(2)
    crowd.wait(3, 4)
    time.sleep(0.05)
    crowd.let_all()
    assert [(rows, len(waits)) for rows, waits in seen] == [(1, 1), (3, 2)]
    assert seen[0][1][0] >= 0
    assert all(wait >= 0.05 for wait in seen[1][1])  # of the first only that: its thread may have begun late


@pytest.mark.parametrize("parallel", [1, 3])
def test_everybody_gets_his_own_rows_back(parallel: int) -> None:
    tower = Tower(parallel=parallel)
    batcher = make(tower, bucket=lambda row: int(row[0]) % 3, most_waiting=None)

    def ask(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(50):
            numbers = sorted((draw.randrange(10_000) for _ in range(draw.randrange(1, 12))), key=lambda n: n % 3)
            assert values(batcher(rows_of(*numbers))) == numbers

    with ThreadPoolExecutor(16) as pool:
        for done in [pool.submit(ask, seed) for seed in range(16)]:
            done.result(60)
    assert batcher.waiting == 0


@pytest.fixture
def quiet() -> Lanes:
    """Of two cores, where nobody was served."""
    return Lanes(2)


def bulk_of(tower: Tower, lanes: Lanes, bucket: Callable[[Row], int] = lambda row: 0) -> BulkBatcher:
    return BulkBatcher(tower, lanes, bucket=bucket, largest=LARGEST, parallel=2)


def test_runs_in_bulk_do_not_wait_for_one_another(quiet: Lanes) -> None:
    tower = Tower(held=True, parallel=2)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(bulk_of(tower, quiet), rows_of(*range(20)))
        for _ in range(2):
            assert tower.begun.acquire(timeout=WAIT_S)
        tower.gate.release()  # of one of both, so the next one begins
        assert tower.begun.acquire(timeout=WAIT_S)
        tower.gate.release(1000)
        assert values(answer.result(WAIT_S)) == list(range(20))
    assert tower.most_running == 2


def test_runs_in_bulk_leave_a_core_while_somebody_is_served(quiet: Lanes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.lanes.QUIET_S", 10 * WAIT_S)
    tower = Tower()  # of which one run at a time is allowed
    with quiet.first():
        pass
    assert values(bulk_of(tower, quiet)(rows_of(*range(50)))) == list(range(50))


def test_all_who_ask_in_bulk_get_their_own_rows_back(quiet: Lanes) -> None:
    tower = Tower(parallel=2)
    batcher = bulk_of(tower, quiet, bucket=lambda row: int(row[0]) % 3)

    def ask(seed: int) -> None:
        numbers = sorted(random.Random(seed).sample(range(1000), 40), key=lambda number: number % 3)
        assert values(batcher(rows_of(*numbers))) == numbers

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(ask, seed) for seed in range(32)]:
            done.result(WAIT_S)
    assert all(len(batch) <= LARGEST and len({number % 3 for number in batch}) == 1 for batch in tower.batches)
    assert batcher.waiting == 0


def test_what_fails_in_bulk_ends_its_request_alone(quiet: Lanes) -> None:
    tower = Tower(parallel=2)

    def run(rows: Sequence[Row]) -> NDArray[np.float32]:
        if any(row[0] == 13 for row in rows):
            raise ValueError("unlucky")
        return tower(rows)

    batcher = BulkBatcher(run, quiet, largest=1, parallel=2)
    with pytest.raises(ValueError, match="unlucky"):
        batcher(rows_of(*range(1000)))
    assert len(tower.batches) < 20
    assert batcher.waiting == 0
    assert values(batcher(rows_of(1, 2, 3))) == [1, 2, 3]
    assert batcher([]) == []


def test_requests_in_bulk_take_turns(quiet: Lanes) -> None:
    tower = Tower(held=True)
    batcher = BulkBatcher(tower, quiet, largest=LARGEST)
    with ThreadPoolExecutor(2) as pool:
        large = pool.submit(batcher, rows_of(*range(800)))
        assert tower.begun.acquire(timeout=WAIT_S)
        small = pool.submit(batcher, rows_of(*range(1000, 1004)))
        while batcher.waiting != 800 - FIRST_STEP + 4:
            time.sleep(0.001)
        tower.gate.release(1000)
        assert values(small.result(WAIT_S)) == list(range(1000, 1004))
        assert values(large.result(WAIT_S)) == list(range(800))
    assert [1000, 1001, 1002, 1003] in tower.batches[1:3]


@pytest.mark.parametrize("started", [0, 1])
def test_bulk_work_goes_on_where_threads_are_not_to_be_had(
    started: int, quiet: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, left = threading.Thread.start, [None] * started

    def start_few(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_few)
    batcher = BulkBatcher(Tower(parallel=4), quiet, largest=LARGEST, parallel=3)
    for _ in range(2):
        assert values(batcher(rows_of(*range(40)))) == list(range(40))


def test_who_does_not_wait_for_his_answer_in_bulk_takes_his_rows_back(
    quiet: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower = Tower(held=True)
    batcher = BulkBatcher(tower, quiet, largest=LARGEST)

    def interrupt(rows: int) -> None:
        whole(rows)
        assert tower.begun.acquire(timeout=WAIT_S)
        raise KeyboardInterrupt

    whole = batcher._call_threads
    with monkeypatch.context() as patched:
        patched.setattr(batcher, "_call_threads", interrupt)
        with pytest.raises(KeyboardInterrupt):
            batcher(rows_of(*range(100)))
    assert batcher.waiting == 0
    tower.gate.release(1000)
    assert values(batcher(rows_of(*range(10)))) == list(range(10))
