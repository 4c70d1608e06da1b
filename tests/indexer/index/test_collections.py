"""Collections whose segments are not flat: written to, compacted, damaged, killed, tuned."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CollectionConflict
from indexer.index import approximate, asked, kinds, segment, tuning, vector_index
from indexer.index.graph import build_graph
from indexer.index.hardware import Hardware
from indexer.index.kinds import IndexSetting
from indexer.types import CollectionSettings, NewItem, SearchRequest, Term
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.waiting import WAIT_S

Open = Callable[[], Collections]
KINDS: tuple[IndexSetting, ...] = ("ivf", "hnsw")


class Killed(BaseException):
    """Stands for the end of the process: nothing below it may tidy up."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that few vectors are enough for a kind other than flat, and for a search that is not a scan."""
    monkeypatch.setattr(kinds, "FLAT_COMPONENTS", 16 * 200)
    monkeypatch.setattr(approximate, "FEW_ROWS", 20)
    monkeypatch.setattr(approximate, "ROWS_PER_HIT", 1)


def make(collections: Collections, kind: IndexSetting) -> Collection:
    collections.put("built", CollectionSettings(index=kind))
    return collections.get("built")


def unit(number: int) -> list[float]:
    """A vector of its own for each number."""
    vector = np.random.default_rng(number).normal(size=16)
    return list((vector / np.linalg.norm(vector)).tolist())


def items(encoder: FakeEncoder, numbers: range) -> list[NewItem]:
    return [NewItem(str(n), vectors={"image": unit(n)}, fingerprint=encoder.fingerprint) for n in numbers]


def first(collection: Collection, number: int, **options: object) -> str | None:
    """The best hit for the vector of an item."""
    hits = collection.search(SearchRequest((Term(vector=unit(number)),), limit=1, target={"image": 1.0})).hits
    return hits[0].id if hits else None


def index_file(folder: Path) -> Path:
    [path] = (folder / "data" / "index").rglob("ivf.faiss")
    return path


def test_a_query_whose_terms_cancel_each_other_finds_the_oldest_in_one_round(
    open_folder: Open, encoder: FakeEncoder
) -> None:
    collection = make(open_folder(), "ivf")
    collection.upsert(items(encoder, range(500)))
    collection.compact()
    terms = (Term(vector=unit(7)), Term(vector=unit(7), weight=-1.0))

    result = collection.search(SearchRequest(terms, limit=5, target={"image": 1.0}, explain=True))

    assert [hit.id for hit in result.hits] == ["0", "1", "2", "3", "4"]
    assert result.plan
    assert result.plan.rounds == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_collection_is_compacted_into_the_kind_that_it_asks_for(
    open_folder: Open, encoder: FakeEncoder, kind: IndexSetting
) -> None:
    collection = make(open_folder(), kind)
    collection.upsert(items(encoder, range(500)))
    collection.compact()
    collection.upsert(items(encoder, range(500, 510)))
    collection.delete(["7"])

    for _ in range(2):
        info = collection.info().index
        [built] = info.segments["image"]
        assert (info.kind, built.kind, built.vectors, info.delta) == (kind, kind, 499, 10)
        assert built.tuning
        assert min(built.tuning.recall.values()) >= 0.98
        assert collection.verify() == []
        assert [first(collection, n) for n in (0, 8, 505)] == ["0", "8", "505"]
        assert first(collection, 7) != "7"
        collection = open_folder().get("built")
    with pytest.raises(CollectionConflict):
        open_folder().put("built", CollectionSettings(index="flat"))


def test_memory_decides_about_a_graph(tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(approximate, "FAR", 0)
    for memory_bytes, kind in ((0, "ivf"), (10**9, "hnsw")):
        folder = tmp_path / kind
        with Collections(folder, lambda _: encoder, hardware=Hardware(memory_bytes)) as collections:
            collection = collections.get("default")
            collection.upsert(items(encoder, range(300)))
            collection.compact()
            assert collection.info().index.kind == kind


@pytest.mark.parametrize("name", ["ivf.faiss", "hnsw.faiss", "tuning.json"])
def test_a_damaged_file_is_told_and_the_catalogue_read_instead(
    open_folder: Open, encoder: FakeEncoder, tmp_path: Path, name: str
) -> None:
    collection = make(open_folder(), "hnsw")
    collection.upsert(items(encoder, range(300)))
    collection.compact()
    open_folder().close()
    path = index_file(tmp_path).with_name(name)
    path.write_bytes(path.read_bytes()[:-3])

    collection = open_folder().get("built")

    assert len(collection.unusable) == 1
    assert collection.verify() == []
    assert first(collection, 5) == "5"
    collection.rebuild()
    assert collection.info().index.kind == "hnsw"
    assert collection.verify() == []
    assert open_folder().get("built").unusable == []


def test_what_a_killed_build_leaves_is_swept_away(
    open_folder: Open, encoder: FakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*arguments: object) -> bool:
        build_graph(*arguments)  # type: ignore[arg-type]
        raise Killed

    collection = make(open_folder(), "hnsw")
    collection.upsert(items(encoder, range(300)))
    with monkeypatch.context() as patched:
        patched.setattr(approximate, "build_graph", die)
        patched.setattr(segment.shutil, "rmtree", lambda *_, **__: None)
        with pytest.raises(Killed):
            collection.compact()
    assert list((tmp_path / "data" / "index").rglob("partial-*"))

    collection = open_folder().get("built")

    assert not list((tmp_path / "data" / "index").rglob("partial-*"))
    assert collection.verify() == []
    assert first(collection, 5) == "5"


def test_closing_ends_a_build(
    open_folder: Open, encoder: FakeEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    building = threading.Event()

    def wait(folder: Path, file: object, stop: threading.Event) -> bool:
        building.set()
        assert stop.wait(WAIT_S)
        return build_graph(folder, file, stop)  # type: ignore[arg-type]

    monkeypatch.setattr(approximate, "build_graph", wait)
    collection = make(open_folder(), "hnsw")
    collection.upsert(items(encoder, range(300)))
    thread = threading.Thread(target=collection.compact)
    thread.start()
    assert building.wait(WAIT_S)
    assert first(collection, 3) == "3"
    collection.upsert(items(encoder, range(300, 301)))
    collection.close()
    thread.join()
    assert not list((tmp_path / "data" / "index").rglob("*.faiss"))


def test_a_tuned_collection_keeps_its_target(open_folder: Open, encoder: FakeEncoder) -> None:
    collection = make(open_folder(), "hnsw")
    collection.upsert(items(encoder, range(400)))
    collection.compact()
    collection.tune(0.6)
    for _ in range(2):
        [built] = collection.info().index.segments["image"]
        assert built.tuning
        assert built.tuning.target == 0.6
        collection = open_folder().get("built")


def test_segments_are_tuned_by_what_was_searched_for(open_folder: Open, encoder: FakeEncoder, tmp_path: Path) -> None:
    def tuned_by(collection: Collection) -> set[str]:
        collection.tune(0.9)
        [built] = collection.info().index.segments["image"]
        assert built.tuning
        return set(built.tuning.recall)

    collection = make(open_folder(), "ivf")
    collection.upsert(items(encoder, range(400)))
    collection.compact()
    for number in range(asked.FEWEST - 1):
        collection.search(SearchRequest((Term(text=f"a thing {number}"),)))
        collection.search(SearchRequest((Term(text="a thing 0"),)))  # the same again tells nothing new
        collection.search(SearchRequest((Term(item=str(number)),)))  # as stored vectors do
    assert tuned_by(collection) == {"stored", "other"}
    collection.search(SearchRequest((Term(text="another", weight=-1.0), Term(image=picture("red")))))
    for _ in range(2):
        assert tuned_by(collection) == {"stored", "other", "asked"}
        collection = open_folder().get("built")

    [path] = (tmp_path / "data" / "index").rglob(asked.FILE)
    assert path.stat().st_size == 2 * encoder.dimension * (asked.FEWEST + 1)


def test_the_latest_queries_are_kept(tmp_path: Path) -> None:
    queries = asked.Asked(tmp_path, 1)
    for number in range(tuning.QUERIES + 5):
        queries.note(np.array([number], dtype=np.float32))
    queries.note(np.array([5], dtype=np.float32))
    queries.save()
    for kept in (queries, asked.Asked(tmp_path, 1)):
        assert kept.sample()[:, 0].tolist() == [*range(6, tuning.QUERIES + 5), 5]
    (tmp_path / asked.FILE).write_bytes(b"torn")
    assert asked.Asked(tmp_path, 3).sample().shape == (0, 3)


@pytest.mark.parametrize("kind", KINDS)
def test_every_acknowledged_write_is_found_while_others_write_and_segments_are_built(
    open_folder: Open, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, kind: IndexSetting
) -> None:
    """Writers, each with numbers of its own, look for what they wrote and for what they deleted."""
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 150)
    monkeypatch.setattr(vector_index, "MAX_DELTA", 300)
    collection = make(open_folder(), kind)
    collection.upsert(items(encoder, range(10_000, 10_400)))
    ended = threading.Event()

    def write(writer: int) -> int:
        for begin in range(writer * 1000, writer * 1000 + 400, 20):
            written = range(begin, begin + 20)
            collection.upsert(items(encoder, written))
            assert [first(collection, number) for number in written[::5]] == [str(number) for number in written[::5]]
            collection.delete([str(begin)])
            assert first(collection, begin) != str(begin)
        return 400 - 20

    def compact() -> int:
        rounds = 0
        while not ended.is_set():
            collection.compact()
            assert [first(collection, number) for number in (10_001, 10_399)] == ["10001", "10399"]
            rounds += 1
        return rounds

    with ThreadPoolExecutor(4) as pool:
        compacting = pool.submit(compact)
        try:
            left = sum(pool.map(write, range(3)))
        finally:
            ended.set()
        assert compacting.result() > 0
    collection.compact()
    assert collection.info().index.kind == kind
    assert collection.info().vectors["image"] == left + 400
    assert collection.verify() == []
