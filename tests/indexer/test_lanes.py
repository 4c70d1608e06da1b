"""Who waits for an answer goes first, and bulk work still comes to an end."""

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer import lanes as module
from indexer import preparation
from indexer.collections import Collections
from indexer.lanes import Lanes
from indexer.preparation import Prepared, draft, embed, embed_in_turn
from indexer.types import NewItem, SearchRequest, Term
from models.imaging import ImageLimits
from tests.fakes import FakeEncoder
from tests.pictures import picture


def give_way(lanes: Lanes) -> threading.Thread:
    thread = threading.Thread(target=lanes.give_way)
    thread.start()
    return thread


def test_bulk_work_waits_until_nobody_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 30)
    lanes = Lanes()
    lanes.give_way()
    with lanes.first():
        with lanes.first():
            waiting = give_way(lanes)
        waiting.join(0.05)
        assert waiting.is_alive()
    waiting.join(30)
    assert not waiting.is_alive()


def test_it_goes_on_though_somebody_is_served_all_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 0.01)
    lanes = Lanes()
    with lanes.first():
        waiting = give_way(lanes)
        waiting.join(30)
        assert not waiting.is_alive()


def test_searches_and_uploads_are_served_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAIT_S", 30)
    encoder = FakeEncoder()
    encode, waited = encoder.encode_texts, []
    with Collections(tmp_path, lambda _: encoder) as collections:
        collection = collections.get("default")

        def encode_beside_a_job(texts: Sequence[str]) -> object:
            job = give_way(collection.lanes)
            job.join(0.05)
            waited.append(job.is_alive())
            return encode(texts)

        monkeypatch.setattr(encoder, "encode_texts", encode_beside_a_job)
        collection.upsert([NewItem("a", text="red")])
        collection.search(SearchRequest((Term(text="red"),)))
    assert waited == [True, True]


class Slow(FakeEncoder):
    """Takes some time for each picture, of a clock that it moves itself."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.now, self.seconds, self.steps = 0.0, seconds, list[int]()

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.now += self.seconds * len(pixels)
        self.steps.append(len(pixels))
        return super().encode_pixels(pixels)


@pytest.mark.parametrize(("seconds", "most"), [(0.0, 32), (0.003, 10), (0.03, 4), (9.0, 4)])
def test_a_job_embeds_in_steps_as_long_as_a_search_may_wait(
    seconds: float, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Slow(seconds)
    monkeypatch.setattr(preparation.time, "monotonic", lambda: encoder.now)
    items = [NewItem(str(number), picture((number, 0, 0))) for number in range(100)]
    drafts = [made for item in items if (made := draft(item, None, {1: encoder}, ImageLimits()))]
    whole, way_given = embed(drafts, {1: encoder}), list[int]()
    encoder.steps.clear()
    in_turn = embed_in_turn(drafts, {1: encoder}, lambda: way_given.append(len(encoder.steps)))

    assert max(encoder.steps) == most
    assert sum(encoder.steps) == 100
    assert way_given == list(range(len(encoder.steps)))
    for id_, made in whole.items():
        same = in_turn[id_]
        assert isinstance(made, Prepared)
        assert isinstance(same, Prepared)
        assert np.array_equal(made.change.vectors[1]["image"], same.change.vectors[1]["image"])


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
