"""A data folder with collections, embedded by the fake encoder."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from tests.fakes import FakeEncoder
from tests.object_store import ObjectStore, configure, serve_objects


@pytest.fixture
def encoder() -> FakeEncoder:
    return FakeEncoder()


@pytest.fixture
def open_folder(tmp_path: Path, encoder: FakeEncoder) -> Iterator[Callable[[], Collections]]:
    """Open the same data folder, closing what was opened before: a restart."""
    opened: list[Collections] = []

    def open_() -> Collections:
        if opened:
            opened.pop().close()
        opened.append(Collections(tmp_path / "data", lambda name: encoder))
        return opened[-1]

    yield open_
    opened.pop().close()


@pytest.fixture
def collection(open_folder: Callable[[], Collections]) -> Collection:
    return open_folder().get("default")


@pytest.fixture(scope="session")
def _object_store() -> Iterator[ObjectStore]:
    with serve_objects() as store:
        yield store


@pytest.fixture
def object_store(_object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> ObjectStore:
    """An empty bucket, and the environment that leads to it."""
    configure(monkeypatch, _object_store.url)
    _object_store.reset()
    return _object_store
