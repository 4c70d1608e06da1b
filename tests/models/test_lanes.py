"""Who waits for an answer goes first, and bulk work still comes to an end."""

import threading
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from models import lanes as module
from models.encoder import DualEncoder
from models.lanes import Lanes
from models.store import EMBEDDED
from tests.waiting import WAIT_S


def begin(work: Callable[[], None]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_bulk_work_waits_until_nobody_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 10 * WAIT_S)
    lanes = Lanes()
    lanes.give_way()
    with lanes.first():
        with lanes.first():
            waiting = begin(lanes.give_way)
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(WAIT_S)
    assert not waiting.is_alive()


def test_bulk_work_goes_on_under_constant_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.01)
    lanes = Lanes()
    with lanes.first():
        waiting = begin(lanes.give_way)
        waiting.join(WAIT_S)
        assert not waiting.is_alive()


def test_who_waited_in_vain_may_work_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.001)
    monkeypatch.setattr(module, "WORK_S", 30)
    lanes, waits = Lanes(), list[None]()
    wait_for = lanes._changes.wait_for
    monkeypatch.setattr(lanes._changes, "wait_for", lambda *a: (waits.append(None), wait_for(*a))[1])
    with lanes.first():
        for _ in range(100):
            lanes.give_way()
    assert len(waits) == 1


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


@pytest.fixture(scope="module")
def lanes() -> Lanes:
    return Lanes()


@pytest.fixture(scope="module")
def encoder(lanes: Lanes) -> DualEncoder:
    return DualEncoder.open(EMBEDDED, device="cpu", threads=1, lanes=lanes)


PIXELS: NDArray[np.uint8] = np.zeros((128, 128, 3), dtype=np.uint8)


@pytest.mark.parametrize("step", ["resize", "pixels", "texts"])
def test_each_step_of_a_model_in_bulk_gives_way_and_of_one_that_is_waited_for_none(
    step: str, encoder: DualEncoder, lanes: Lanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 10 * WAIT_S)

    def work(model: DualEncoder) -> None:
        match step:
            case "resize":
                model.preprocess(Image.new("RGB", (300, 200)))
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
