"""Texts of a new model find old vectors, as well as the two spaces are alike, and the report says how well that is."""

import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.errors import ModelAbsent
from indexer.reembed.bridge import BridgedEncoder, nearest_rotation
from indexer.types import NewItem, SearchRequest, SearchResult, Term
from models.encoder import TextEmbeddings
from tests.fakes import FakeEncoder
from tests.indexer.reembed.conftest import NEW, Folder
from tests.pictures import picture
from tests.waiting import WAIT_S

DIMENSION = 16


def rotation(rows: int, columns: int) -> NDArray[np.float32]:
    """[rows, columns] with orthonormal rows, or columns."""
    drawn = np.random.default_rng(0).normal(size=(max(rows, columns), min(rows, columns)))
    made = np.linalg.qr(drawn)[0].astype(np.float32)
    return made if rows >= columns else made.T


class Random(FakeEncoder):
    """Whatever it embeds, its vectors point anywhere, so that half precision changes no order."""

    def _vector(self, colour: NDArray[np.floating], seed: bytes) -> NDArray[np.float32]:
        drawn = np.random.default_rng(list(seed)).normal(size=self.dimension)
        return np.asarray(drawn / np.linalg.norm(drawn), dtype=np.float32)


@pytest.fixture
def encoders() -> dict[str, FakeEncoder]:
    return {"default": Random(DIMENSION)}


class Turned(FakeEncoder):
    """The old model with its space turned, in a space that may be larger, and with noise."""

    def __init__(self, dimension: int = DIMENSION, noise: float = 0.0) -> None:
        super().__init__(dimension, NEW)
        self._old, self._turn, self._noise = Random(DIMENSION), rotation(DIMENSION, dimension), noise
        self.reached, self.open = threading.Event(), threading.Event()
        self.open.set()

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self._turned(self._old.encode_pixels(pixels))

    def encode_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        if "the last one" in texts:
            self.reached.set()
            assert self.open.wait(WAIT_S)
        embedded = self._old.encode_texts(texts)
        return embedded._replace(vectors=self._turned(embedded.vectors))

    def _turned(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        turned = vectors @ self._turn
        turned += self._noise * np.random.default_rng(1).normal(size=turned.shape)
        return np.asarray(turned / np.linalg.norm(turned, axis=1, keepdims=True), dtype=np.float32)


def put(folder: Folder, count: int) -> None:
    new = [NewItem(str(n), picture((n % 256, n // 256, 99)), f"thing {n} in red") for n in range(count)]
    folder.collection.upsert([*new, NewItem("last", text="the last one")])


def search(folder: Folder, *terms: Term, generation: int | None = None) -> SearchResult:
    return folder.collection.search(SearchRequest(terms or (Term(text="thing 3 in red"),), generation=generation))


@pytest.mark.parametrize("dimension", [DIMENSION, 24])
def test_a_bridge_between_spaces_that_are_turned_loses_nothing(
    dimension: int, folder: Folder, encoders: dict[str, FakeEncoder]
) -> None:
    encoders["new"] = Turned(dimension)
    put(folder, 400)
    report = folder.reembed(bridge=True).report

    assert report is not None
    assert report["bridge"]["queries"] == 40
    assert 2 * dimension < report["bridge"]["pairs"] <= 721
    assert report["bridge"]["overlap_at_10_with_active"] > 0.99
    assert report["bridge"]["overlap_at_10_with_candidate"] > 0.99


def test_what_noise_costs_is_told(folder: Folder, encoders: dict[str, FakeEncoder]) -> None:
    encoders["new"] = Turned(noise=0.05)
    put(folder, 400)
    report = folder.reembed(bridge=True).report
    assert report is not None
    assert report["bridge"]["overlap_at_10_with_active"] < 0.9
    assert report["bridge"]["overlap_at_10_with_candidate"] < 0.9


def test_a_bridge_serves_while_the_generation_is_filled_and_no_longer(
    folder: Folder, encoders: dict[str, FakeEncoder]
) -> None:
    encoders["new"] = turned = Turned()
    put(folder, 400)
    turned.open.clear()
    own = search(folder)
    job = folder.begin(bridge=True, activate=False)
    assert turned.reached.wait(WAIT_S)  # the chunks before are committed, but perhaps for one
    while not (bridged := search(folder)).bridged:
        pass

    assert bridged.generation == 1
    assert bridged.hits[0].id == own.hits[0].id
    assert not search(folder, generation=1).bridged
    assert not search(folder, Term(item="3")).bridged
    turned.open.set()
    assert folder.end(job).state == "succeeded"
    assert not search(folder).bridged


def test_a_bridge_lets_texts_find_what_a_model_made_that_is_gone(
    open_folder: Callable[[], Folder], encoders: dict[str, FakeEncoder]
) -> None:
    folder = open_folder()
    put(folder, 400)
    own = search(folder)
    encoders["default"], encoders["new"] = Random(DIMENSION, "e" * 64), (turned := Turned())
    turned.open.clear()
    folder = open_folder()
    with pytest.raises(ModelAbsent):
        search(folder)

    job = folder.begin(bridge=True)
    assert turned.reached.wait(WAIT_S)
    while not (bridged := answer(folder)):
        pass
    turned.open.set()
    job = folder.end(job)

    assert (bridged.generation, bridged.bridged, bridged.hits[0].id) == (1, True, own.hits[0].id)
    assert (job.state, search(folder).generation) == ("succeeded", 2)
    assert job.report is not None
    assert (job.report["queries"], job.report["overlap_at_10"], job.report["bridge"]["queries"]) == (0, None, 0)


def answer(folder: Folder) -> SearchResult | None:
    try:
        return search(folder)
    except ModelAbsent:
        return None


def test_nothing_is_bridged_unasked(folder: Folder, encoders: dict[str, FakeEncoder]) -> None:
    encoders["new"] = Turned()
    put(folder, 100)
    report = folder.reembed().report
    assert report is not None
    assert "bridge" not in report


def test_a_collection_too_small_for_a_bridge_is_told(folder: Folder, encoders: dict[str, FakeEncoder]) -> None:
    encoders["new"] = Turned()
    put(folder, 3)
    job = folder.reembed(bridge=True)
    assert job.state == "succeeded"
    assert job.report is not None
    assert job.report["bridge"]["overlap_at_10_with_active"] is None


def test_the_map_keeps_angles_where_it_can() -> None:
    new, old = (
        np.random.default_rng(seed).normal(size=(50, size)).astype(np.float32) for seed, size in ((0, 4), (1, 6))
    )
    assert np.allclose(nearest_rotation(new, old) @ nearest_rotation(new, old).T, np.eye(4), atol=1e-5)
    assert np.allclose(nearest_rotation(old, new).T @ nearest_rotation(old, new), np.eye(4), atol=1e-5)


def test_a_bridged_encoder_is_the_old_one_but_for_texts() -> None:
    old, turned = Random(DIMENSION), Turned()
    bridged = BridgedEncoder(old, turned, rotation(DIMENSION, DIMENSION).T)
    assert (bridged.dimension, bridged.fingerprint) == (old.dimension, old.fingerprint)
    assert np.allclose(bridged.encode_texts(["red"]).vectors, old.encode_texts(["red"]).vectors, atol=1e-5)
    assert bridged.encode_texts([]).vectors.shape == (0, DIMENSION)
