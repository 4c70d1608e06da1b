"""Who waits for an answer goes first, and bulk work still comes to an end."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from models import lanes as module
from models.encoder import DualEncoder
from models.lanes import Lanes
from models.store import EMBEDDED
from tests.waiting import WAIT_S


def begin(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def end(thread: threading.Thread) -> None:
    thread.join(WAIT_S)
    assert not thread.is_alive()


def step(lanes: Lanes, cores: int = 1) -> None:
    with lanes.step(cores):
        pass


def lately_served(cores: int, monkeypatch: pytest.MonkeyPatch) -> Lanes:
    """Where somebody was served, and it becomes quiet in no test."""
    monkeypatch.setattr(module, "QUIET_S", 10 * WAIT_S)
    lanes = Lanes(cores)
    with lanes.first():
        pass
    return lanes


def test_bulk_work_waits_until_nobody_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 10 * WAIT_S)
    lanes = Lanes()
    step(lanes)
    with lanes.first():
        with lanes.first():
            waiting = begin(lambda: step(lanes))
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(WAIT_S)
    assert not waiting.is_alive()


def test_bulk_work_goes_on_under_constant_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.01)
    lanes = Lanes()
    with lanes.first():
        waiting = begin(lambda: step(lanes))
        waiting.join(WAIT_S)
        assert not waiting.is_alive()


def test_who_waited_in_vain_may_work_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.001)
    monkeypatch.setattr(module, "WORK_S", 30)
    lanes, waits = Lanes(), list[float]()
    wait_for = lanes._changes.wait_for

    def noted(condition: Callable[[], bool], *seconds: float) -> bool:
        waits.extend(seconds)
        return wait_for(condition, *seconds)

    monkeypatch.setattr(lanes._changes, "wait_for", noted)
    with lanes.first():
        for _ in range(100):
            step(lanes)
    assert waits.count(0.001) == 1


def test_it_is_quiet_when_nobody_was_served_lately(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(module.time, "monotonic", lambda: now)
    lanes = Lanes()
    assert lanes.is_quiet
    with lanes.first():
        now += 2 * module.QUIET_S
        assert not lanes.is_quiet
    assert not lanes.is_quiet
    now += 2 * module.QUIET_S
    assert lanes.is_quiet


@pytest.mark.parametrize(("cores", "served", "at_once"), [(4, True, 3), (4, False, 5), (1, True, 1), (1, False, 5)])
def test_steps_leave_a_core_while_somebody_was_served_lately(
    cores: int, *, served: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "QUIET_S", 10 * WAIT_S if served else 0.0)
    lanes, may_end = Lanes(cores), threading.Event()
    began = threading.Semaphore(0)
    if served:
        with lanes.first():
            pass

    def work() -> None:
        with lanes.step():
            began.release()
            assert may_end.wait(WAIT_S)

    threads = [begin(work) for _ in range(5)]
    for _ in range(at_once):
        assert began.acquire(timeout=WAIT_S)
    assert not began.acquire(timeout=0.05)
    may_end.set()
    for thread in threads:
        thread.join(WAIT_S)
    assert [began.acquire(blocking=False) for _ in range(6 - at_once)] == [True] * (5 - at_once) + [False]


@pytest.mark.parametrize("sizes", [(3, 1), (1, 3)])
def test_a_step_that_takes_many_cores_has_none_beside_it(
    sizes: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    lanes = lately_served(4, monkeypatch)
    with lanes.step(sizes[0]):
        other = begin(lambda: step(lanes, sizes[1]))
        other.join(0.05)
        assert other.is_alive()
    end(other)


def test_a_step_larger_than_the_machine_is_done_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = lately_served(2, monkeypatch)
    end(begin(lambda: step(lanes, 7)))


def test_small_steps_do_not_overtake_a_large_one_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = lately_served(4, monkeypatch)
    with lanes.step():
        large = begin(lambda: step(lanes, 3))
        while not lanes._large:
            time.sleep(0.001)
        small = begin(lambda: step(lanes))  # for which there is room
        small.join(0.05)
        assert (large.is_alive(), small.is_alive()) == (True, True)
    end(large)
    end(small)


def test_small_steps_go_on_beside_large_ones_that_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = lately_served(5, monkeypatch)
    with lanes.step(3):
        waiting = begin(lambda: step(lanes, 3))
        while not lanes._large:
            time.sleep(0.001)
        end(begin(lambda: step(lanes)))
        assert waiting.is_alive()
    end(waiting)


def test_who_waits_for_other_steps_goes_on_when_it_becomes_quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUIET_S", 0.1)
    lanes = Lanes(1)
    with lanes.first():
        pass
    with lanes.step():
        end(begin(lambda: step(lanes)))


def test_a_step_that_fails_is_one_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes = lately_served(1, monkeypatch)
    with pytest.raises(OSError, match="gone"), lanes.step():
        raise OSError("gone")
    end(begin(lambda: step(lanes)))


@pytest.fixture(scope="module")
def lanes() -> Lanes:
    return Lanes()


@pytest.fixture(scope="module")
def encoder(lanes: Lanes) -> DualEncoder:
    return DualEncoder.open(EMBEDDED, device="cpu", threads=1, lanes=lanes)


def test_a_run_of_a_tower_is_a_step_of_as_many_cores_as_it_keeps_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    lanes, asked = Lanes(), list[int]()
    whole = lanes.step
    monkeypatch.setattr(lanes, "step", lambda cores: (asked.append(cores), whole(cores))[1])
    for threads, cores in ((1, 8), (2, 8), (4, 4)):
        DualEncoder.open(EMBEDDED, device="cpu", threads=threads, cores=cores, lanes=lanes).bulk.encode_texts(["red"])
    assert asked == [1, 2, 4]


PIXELS: NDArray[np.uint8] = np.zeros((128, 128, 3), dtype=np.uint8)


@pytest.mark.parametrize("what", ["pixels", "texts"])
def test_each_step_of_a_model_in_bulk_gives_way_and_of_one_that_is_waited_for_none(
    what: str, encoder: DualEncoder, lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 10 * WAIT_S)

    def work(model: DualEncoder) -> None:
        match what:
            case "pixels":
                model.encode_pixels([PIXELS])
            case "texts":
                model.encode_texts(["red"])

    with lanes.first():
        work(encoder)
        waiting = begin(lambda: work(encoder.bulk))
        waiting.join(0.1)
        assert waiting.is_alive()
    waiting.join(WAIT_S)
    assert not waiting.is_alive()
