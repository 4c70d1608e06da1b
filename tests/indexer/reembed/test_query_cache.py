"""What is searched for again is not embedded again, and never searched for by the vector of another model."""

from copy import copy

import pytest

from indexer.errors import QueryInvalid
from indexer.types import SearchRequest, SearchResult, Term
from models.query_cache import QueryCache
from tests.fakes import FakeEncoder
from tests.indexer.reembed.conftest import Folder
from tests.indexer.reembed.test_bridge import Random, Turned, put
from tests.pictures import picture

TEXT, PICTURE = Term(text="thing 3 in red"), Term(image=picture((7, 0, 99)))


def without_cache(encoder: FakeEncoder) -> FakeEncoder:
    """As a model is for bulk work."""
    other = copy(encoder)
    other.queries = QueryCache()
    return other


@pytest.fixture
def encoders() -> dict[str, FakeEncoder]:
    """Two models of one dimension, in whose spaces nothing is in the same place."""
    encoders: dict[str, FakeEncoder] = {"default": Random(), "new": Turned()}
    for encoder in encoders.values():
        encoder.queries = QueryCache(100)
    return encoders


def search(folder: Folder, *terms: Term) -> SearchResult:
    return folder.collection.search(SearchRequest(terms))


def scores(folder: Folder) -> list[tuple[str, float]]:
    return [(hit.id, hit.score) for term in (TEXT, PICTURE) for hit in search(folder, term).hits]


def test_what_is_searched_for_again_is_not_embedded_again(folder: Folder, encoders: dict[str, FakeEncoder]) -> None:
    put(folder, 20)
    first, mixed = scores(folder), search(folder, TEXT, PICTURE).hits
    before = encoders["default"].encoded_texts, encoders["default"].encoded_images

    assert scores(folder) == first
    assert search(folder, TEXT, PICTURE).hits == mixed
    assert (encoders["default"].encoded_texts, encoders["default"].encoded_images) == before


def test_each_model_searches_by_its_own_vectors(folder: Folder, encoders: dict[str, FakeEncoder]) -> None:
    put(folder, 20)
    of_old = scores(folder)
    folder.reembed()
    of_new = scores(folder)
    kept = {name: encoder.queries for name, encoder in encoders.items()}
    for encoder in encoders.values():
        encoder.queries = QueryCache()

    assert scores(folder) == of_new
    for name, encoder in encoders.items():
        encoder.queries = kept[name]
    folder.collection.generations.activate(1)
    assert scores(folder) == of_old


def test_what_jobs_search_for_takes_no_room(
    folder: Folder, encoders: dict[str, FakeEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeEncoder, "bulk", property(without_cache))
    put(folder, 400)
    report = folder.reembed(bridge=True).report

    assert report is not None
    assert report["queries"] > 0
    assert report["bridge"]["queries"] > 0
    texts = [f"thing {number} in red" for number in range(400)]
    assert not any(encoder.queries.get(text) for encoder in encoders.values() for text in texts)


def test_a_query_is_refused_however_often_it_is_asked(folder: Folder) -> None:
    for _ in range(2):
        with pytest.raises(QueryInvalid):
            search(folder, TEXT, Term(text="  "))
