"""What a crash, a full disk or a foreign file can do to a collection: nothing that shows."""

import json
import math
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Engine, create_engine, event

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CatalogueIncompatible, CollectionNotFound, ItemInvalid
from indexer.index import segment, vector_index
from indexer.index.segment import Header, Segment
from indexer.types import CollectionSettings, Failed, NewItem, SearchRequest, Term
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.waiting import WAIT_S

Open = Callable[[], Collections]


class Killed(BaseException):
    """Stands for the end of the process: nothing below it may tidy up."""


def found(collection: Collection, text: str = "red") -> set[str]:
    return {hit.id for hit in collection.search(SearchRequest((Term(text=text),), limit=1000)).hits}


def things(count: int, first: int = 0) -> list[NewItem]:
    return [NewItem(str(number), text=f"red thing {number}") for number in range(first, first + count)]


def wait_until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)


def segments(folder: Path) -> list[Path]:
    return sorted(path.parent for path in (folder / "data" / "index").rglob("segment.json"))


def test_a_write_committed_before_a_crash_is_found_after_it(open_folder: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(Collection, "_take_over", die)
        with pytest.raises(Killed):
            open_folder().get("default").upsert(things(3))
    collection = open_folder().get("default")
    assert found(collection) == {"0", "1", "2"}
    assert collection.verify() == []


def test_a_data_folder_may_have_any_name(tmp_path: Path, encoder: FakeEncoder) -> None:
    for _ in range(2):
        with Collections(tmp_path / "what? 100% #1", lambda name: encoder) as collections:
            collections.get("default").upsert([NewItem("a", text="red")])
            assert found(collections.get("default")) == {"a"}
    assert [path.name for path in tmp_path.iterdir()] == ["what? 100% #1"]


def test_a_crash_before_the_commit_leaves_nothing_but_a_picture_that_the_next_try_takes_over(
    open_folder: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr("indexer.stores.writing._add_vectors", die)
        with pytest.raises(Killed):
            open_folder().get("default").upsert([NewItem("a", image=picture("red"))])
    collection = open_folder().get("default")
    assert found(collection) == set()
    collection.upsert([NewItem("a", image=picture("red"))])
    assert collection.original(collection.get("a")) == picture("red")
    assert len([path for path in (tmp_path / "data" / "originals").rglob("*") if path.is_file()]) == 1


@pytest.mark.parametrize(
    "step",
    [
        "indexer.index.segment.View.blocks",
        "indexer.index.segment.sync_folder",
        "indexer.index.vector_index.Segment.hidden_since",
    ],
)
def test_a_compaction_killed_at_any_step_loses_nothing(
    open_folder: Open, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def die(*_: object) -> None:
        raise Killed

    collection = open_folder().get("default")
    collection.upsert(things(20))
    collection.compact()
    collection.upsert(things(5, first=20))
    collection.delete(["3"])
    with monkeypatch.context() as patched:
        patched.setattr(step, die)
        with pytest.raises(Killed):
            collection.compact()
    collection = open_folder().get("default")
    assert collection.verify() == []
    assert len(found(collection)) == 24
    collection.compact()
    assert collection.verify() == []


def test_what_a_killed_build_left_is_removed_at_the_next_start(open_folder: Open, tmp_path: Path) -> None:
    collection = open_folder().get("default")
    collection.upsert(things(5))
    collection.compact()
    [built] = segments(tmp_path)
    shutil.copytree(built, built.with_name("partial-left"))
    assert len(found(open_folder().get("default"))) == 5
    assert segments(tmp_path) == [built]


@pytest.mark.parametrize("name", ["vectors.f32", "seqs.i64", "items.i64", "segment.json"])
@pytest.mark.parametrize("kept", [0.0, 0.02, 0.5, 0.99])
def test_a_file_cut_anywhere_is_noticed(open_folder: Open, tmp_path: Path, name: str, kept: float) -> None:
    collection = open_folder().get("default")
    collection.upsert(things(30))
    collection.compact()
    for folder in segments(tmp_path):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: int(kept * len(data))])
    collection = open_folder().get("default")
    assert collection.verify() == []
    assert len(found(collection)) == 30


def test_segments_are_merged_before_they_become_many(
    open_folder: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 4)
    collection = open_folder().get("default")
    written = []
    write = vector_index.write_segment

    def count(folder: Path, header: Header, *arguments: Any) -> bool:
        written.append(header.count)
        return write(folder, header, *arguments)

    monkeypatch.setattr(vector_index, "write_segment", count)
    for number in range(60):
        collection.upsert(things(5, first=5 * number))
        wait_until(lambda: not collection.generations.active.indexes["text"].needs_compaction())
    collection.close()
    assert collection.info().index.delta <= 5
    assert 1 < len(segments(tmp_path)) <= math.log2(300)
    assert sum(written) <= 300 * math.log2(300)
    collection = open_folder().get("default")
    assert len(found(collection)) == 300
    assert collection.verify() == []


def test_the_delta_segment_stays_small_while_a_long_merge_runs(
    open_folder: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 10)
    monkeypatch.setattr(vector_index, "MAX_DELTA", 40)
    collection = open_folder().get("default")
    with collection.generations.active.compaction._running:
        for number in range(60):
            collection.upsert(things(5, first=5 * number))
            collection.delete([str(5 * number)])
            assert collection.info().index.delta <= 40
    assert len(found(collection)) == 240
    assert collection.verify() == []
    collection.close()
    collection = open_folder().get("default")
    assert len(found(collection)) == 240
    assert collection.verify() == []


def test_a_collection_is_closed_when_its_flush_has_come_to_rest(
    open_folder: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    write = vector_index.write_segment

    def slow(*arguments: Any) -> bool:
        begun.set()
        assert go_on.wait(WAIT_S)
        return write(*arguments)

    monkeypatch.setattr(vector_index, "write_segment", slow)
    collection = open_folder().get("default")
    collection.upsert(things(5))
    index = collection.generations.active.indexes["text"]
    flush = threading.Thread(target=index.flush, args=(collection._writes, collection._closed))
    close = threading.Thread(target=collection.close)
    flush.start()
    assert begun.wait(WAIT_S)
    close.start()
    close.join(0.2)
    assert close.is_alive()
    go_on.set()
    close.join(WAIT_S)
    assert not close.is_alive()
    flush.join(WAIT_S)
    begun.clear()
    index.flush(collection._writes, collection._closed)
    assert not begun.is_set()


def test_a_flush_that_fails_costs_no_write(open_folder: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> bool:
        raise OSError("no space left")

    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 10)
    monkeypatch.setattr(vector_index, "MAX_DELTA", 40)
    monkeypatch.setattr(vector_index, "write_segment", full)
    collection = open_folder().get("default")
    for number in range(20):
        collection.upsert(things(5, first=5 * number))
    assert len(found(collection)) == 100


def test_without_its_first_segment_an_index_is_read_from_the_catalogue(open_folder: Open, tmp_path: Path) -> None:
    collection = open_folder().get("default")
    for number in (0, 50, 70):
        collection.upsert(things(50 - number // 2, first=number))
        collection.generations.active.indexes["text"].compact(collection._writes, threading.Event(), fully=False)
    assert len(segments(tmp_path)) == 2
    shutil.rmtree(segments(tmp_path)[0])
    collection = open_folder().get("default")
    assert collection.verify() == []
    assert collection.info().index.main == 0
    collection.compact()
    assert len(segments(tmp_path)) == 1


def test_opening_reads_the_vectors_of_a_segment_only_if_an_earlier_version_wrote_it(
    open_folder: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []
    compute = segment._compute_moments

    def note(folder: Path, header: segment.Header) -> segment.Moments:
        read.append(folder)
        return compute(folder, header)

    collection = open_folder().get("default")
    collection.upsert(things(10))
    collection.compact()
    collection.delete(["3"])  # after the segment was written
    monkeypatch.setattr(segment, "_compute_moments", note)
    assert open_folder().get("default").verify() == []
    assert read == []

    for folder in segments(tmp_path):
        header = json.loads((folder / "segment.json").read_text())
        del header["sums"]["moments.f64"]
        (folder / "segment.json").write_text(json.dumps(header))
        (folder / "moments.f64").unlink()
    assert open_folder().get("default").verify() == []
    assert read == segments(tmp_path)


def test_a_segment_whose_moments_are_damaged_is_not_used(open_folder: Open, tmp_path: Path) -> None:
    collection = open_folder().get("default")
    collection.upsert(things(10))
    collection.compact()
    for folder in segments(tmp_path):
        (folder / "moments.f64").write_bytes(bytes((folder / "moments.f64").stat().st_size))
    collection = open_folder().get("default")
    assert (collection.info().index.main, collection.verify()) == (0, [])
    assert "moments.f64 is damaged" in collection.unusable[0]


def test_a_main_segment_of_another_fingerprint_is_never_used(open_folder: Open, tmp_path: Path) -> None:
    collection = open_folder().get("default")
    collection.upsert(things(10))
    collection.compact()
    for folder in segments(tmp_path):
        header = json.loads((folder / "segment.json").read_text())
        (folder / "segment.json").write_text(json.dumps(header | {"fingerprint": "0" * 64}))
    info = open_folder().get("default").info()
    assert (info.index.main, info.index.delta) == (0, 10)


def test_an_index_left_from_another_catalogue_is_never_used(open_folder: Open, tmp_path: Path) -> None:
    """Its sequence numbers are the same, its vectors are not."""
    collection = open_folder().get("default")
    collection.upsert(things(10))
    collection.compact()
    shutil.copytree(tmp_path / "data" / "index", tmp_path / "old")
    collections = open_folder()
    collections.close()
    for path in (tmp_path / "data").glob("catalogue.db*"):
        path.unlink()
    open_folder().get("default").upsert([NewItem(str(number), text=f"blue thing {number}") for number in range(10)])
    shutil.rmtree(tmp_path / "data" / "index", ignore_errors=True)
    shutil.copytree(tmp_path / "old", tmp_path / "data" / "index")
    collection = open_folder().get("default")
    assert collection.verify() == []
    assert collection.info().index.main == 0


def test_an_index_newer_than_a_catalogue_that_was_put_back_is_never_used(open_folder: Open, tmp_path: Path) -> None:
    open_folder().get("default").upsert(things(5))
    open_folder().close()
    backup = {path.name: path.read_bytes() for path in (tmp_path / "data").glob("catalogue.db*")}
    collection = open_folder().get("default")
    collection.upsert(things(5, first=5))
    collection.compact()
    open_folder().close()
    for path in (tmp_path / "data").glob("catalogue.db*"):
        path.unlink()
    for name, data in backup.items():
        (tmp_path / "data" / name).write_bytes(data)
    collection = open_folder().get("default")
    collection.upsert([NewItem(str(number), text=f"blue thing {number}") for number in range(5, 10)])
    assert open_folder().get("default").verify() == []


def test_an_index_that_cannot_be_replayed_at_once_is_replayed_before_the_next_answer(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError

    collection.upsert(things(3))
    with monkeypatch.context() as patched:
        patched.setattr(Segment, "append", fail)
        with pytest.raises(MemoryError):
            collection.upsert(things(2, first=3))
    assert len(found(collection)) == 5
    collection.delete(["4"])
    assert len(found(collection)) == 4
    assert collection.verify() == []


def test_a_replay_beside_a_write_takes_nothing_twice(collection: Collection) -> None:
    """A search that replays may come between a write's commit and the write's own turn at the index."""
    apply = vector_index.VectorIndex.apply
    index = collection.generations.active.indexes["text"]
    collection.upsert(things(3))
    seen = []

    def late(self: vector_index.VectorIndex, *change: object) -> None:
        self._stale, self._current = True, None
        seen.append(self.count)
        apply(self, *change)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(vector_index.VectorIndex, "apply", late)
        collection.upsert(things(2, first=3))
    assert 5 in seen
    assert index.count == 5
    assert collection.verify() == []


def test_verify_finds_planted_moments(collection: Collection) -> None:
    collection.upsert(things(3))
    collection.generations.active.indexes["text"]._moments.add(np.eye(16, dtype=np.float32)[:1])
    [problem] = collection.verify()
    assert "covariance" in problem


def test_a_compaction_that_fails_is_logged_and_rests(
    collection: Collection, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 5)
    monkeypatch.setattr(vector_index, "write_segment", fail)
    for number in range(20):
        collection.upsert(things(1, first=number))
    collection.generations.active.compaction.come_to_rest()
    assert len(found(collection)) == 20
    assert caplog.text.count("could not be compacted") == 1


def test_closing_waits_for_a_running_compaction(open_folder: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 5)
    open_folder().get("default").upsert(things(50))
    collection = open_folder().get("default")
    assert not [thread for thread in threading.enumerate() if thread.name == "compact-default"]
    assert collection.verify() == []


def test_a_deleted_collection_takes_no_more_writes(open_folder: Open) -> None:
    collections = open_folder()
    collections.put("shop", CollectionSettings())
    shop = collections.get("shop")
    shop.upsert(things(3))
    collections.delete("shop")
    with pytest.raises(CollectionNotFound):
        shop.upsert(things(1))
    with pytest.raises(CollectionNotFound):
        shop.delete(["0"])


def test_pictures_that_two_collections_share_stay_until_the_last_is_gone(open_folder: Open) -> None:
    collections = open_folder()
    collections.put("shop", CollectionSettings())
    for name in ("default", "shop"):
        collections.get(name).upsert([NewItem("a", image=picture("red"))])
    collections.delete("shop")
    assert collections.get("default").original(collections.get("default").get("a")) == picture("red")


def test_a_catalogue_of_another_version_is_refused_and_left_alone(open_folder: Open, tmp_path: Path) -> None:
    open_folder().close()
    engine = create_engine(f"sqlite:///{tmp_path / 'data' / 'catalogue.db'}")
    with engine.begin() as connection:
        connection.exec_driver_sql("PRAGMA user_version=99")
    with pytest.raises(CatalogueIncompatible, match="99"):
        open_folder()
    with engine.begin() as connection:
        assert connection.exec_driver_sql("PRAGMA user_version").scalar_one() == 99
        connection.exec_driver_sql("PRAGMA user_version=2")
    engine.dispose()
    open_folder()


def test_pages_are_read_without_sorting_in_an_older_data_folder_too(open_folder: Open, tmp_path: Path) -> None:
    open_folder().close()
    with sqlite3.connect(tmp_path / "data" / "catalogue.db") as connection:
        connection.executescript("DROP INDEX items_by_collection; PRAGMA user_version=3")
    collection = open_folder().get("default")
    asked: list[tuple[str, Any]] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        asked.append((statement, parameters))

    try:
        collection.items(10)
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    with sqlite3.connect(tmp_path / "data" / "catalogue.db") as connection:
        plans = [connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall() for query, values in asked]
    steps = [step for plan in plans for *_, step in plan]
    assert any("items_by_collection" in step for step in steps)
    assert not any("TEMP B-TREE" in step for step in steps)


@pytest.mark.parametrize(
    "bad",
    [
        NewItem("bad", text="half a character \ud800"),
        NewItem("bad", text="red", metadata={"price": float("nan")}),
        NewItem("bad", text="red", metadata={"brand": "\udc00"}),
        NewItem("bad", text="red", metadata={"made": object()}),
        NewItem("\ud800", text="red"),
        NewItem("", text="red"),
        NewItem("x" * 257, text="red"),
    ],
    ids=["text", "nan", "metadata", "object", "id", "empty id", "long id"],
)
def test_what_cannot_be_stored_stops_no_other(collection: Collection, bad: NewItem) -> None:
    _, failed, _ = collection.upsert([NewItem("a", text="red"), bad, NewItem("b", text="red")])
    assert isinstance(failed, Failed)
    assert isinstance(failed.error, ItemInvalid)
    assert failed.error.pointer in ("/id", "/text", "/metadata")
    assert found(collection) == {"a", "b"}


def test_a_model_that_gives_no_number_spoils_no_score(tmp_path: Path) -> None:
    class Overflowing(FakeEncoder):
        def encode_pixels(self, pixels: list[np.ndarray]) -> np.ndarray:  # type: ignore[override]
            vectors = super().encode_pixels(pixels)
            return np.where(vectors[:, :1] > 0, np.float32("nan"), vectors)

    with Collections(tmp_path / "data", lambda name: Overflowing()) as collections:
        collection = collections.get("default")
        _, bad = collection.upsert([NewItem("b", image=picture("blue")), NewItem("r", image=picture("red"))])
        assert isinstance(bad, Failed)
        assert bad.error.pointer == "/image"  # type: ignore[union-attr]
        hits = collection.search(SearchRequest((Term(text="blue"),))).hits
        assert [hit.id for hit in hits] == ["b"]
        assert np.isfinite(hits[0].score)


def test_a_text_sent_after_a_vector_of_the_client_is_embedded_here(
    collection: Collection, encoder: FakeEncoder
) -> None:
    """The client's vector need not be of this text, so it is not kept for it."""
    [blue] = encoder.encode_texts(["blue"]).vectors
    collection.upsert([NewItem("a", text="red", vectors={"text": blue.tolist()}, fingerprint=encoder.fingerprint)])
    collection.upsert([NewItem("a", text="red")])
    [hit] = collection.search(SearchRequest((Term(text="red"),), target={"text": 1.0})).hits
    assert hit.score == pytest.approx(1.0, abs=1e-3)


def test_only_what_changed_is_embedded_in_bounded_batches(collection: Collection, encoder: FakeEncoder) -> None:
    sizes = []
    encode = encoder.encode_pixels

    def count(images: list[Image.Image]) -> np.ndarray:
        sizes.append(len(images))
        return encode(images)

    encoder.encode_pixels = count  # type: ignore[method-assign, assignment]
    colours = [(number, 0, 0) for number in range(70)]
    collection.upsert([NewItem(str(c), image=picture(c), text="red") for c in colours])
    assert sum(sizes) == 70
    assert max(sizes) <= 32
    collection.upsert([NewItem(str(c), image=picture(c), text="a new text") for c in colours])
    assert sum(sizes) == 70
    assert encoder.encoded_texts == 140


def test_searches_do_not_wait_for_verify(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    collection.upsert(things(3))
    answered = []

    def answer(*_: object) -> bool:
        thread = threading.Thread(target=lambda: answered.append(found(collection)))
        thread.start()
        thread.join(WAIT_S)
        return True

    monkeypatch.setattr(vector_index.Moments, "equals", answer)
    assert collection.verify() == []
    assert answered == [{"0", "1", "2"}] * 2


def test_what_is_deleted_while_a_compaction_builds_does_not_come_back(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = vector_index.write_segment

    def write_late(*arguments: Any) -> bool:
        collection.delete(["1"])
        collection.upsert([NewItem("2", text="a blue thing now"), NewItem("new", text="red")])
        return write(*arguments)

    collection.upsert(things(5))
    monkeypatch.setattr(vector_index, "write_segment", write_late)
    collection.compact()
    assert found(collection) == {"0", "2", "3", "4", "new"}
    assert collection.verify() == []


def test_closing_returns_only_when_a_compaction_has_come_to_rest(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, writing, events = vector_index.write_segment, threading.Event(), []

    def write_slowly(*arguments: Any) -> bool:
        writing.set()
        time.sleep(0.3)
        written = write(*arguments)
        events.append("written")
        return written

    monkeypatch.setattr(vector_index, "write_segment", write_slowly)
    collection.upsert(things(5))
    thread = threading.Thread(target=collection.compact)
    thread.start()
    assert writing.wait(WAIT_S)
    collection.close()
    events.append("closed")
    thread.join()
    # The index of texts was not begun any more.
    assert events == ["written", "closed"]


def test_a_modality_that_an_item_lost_counts_no_more(collection: Collection, encoder: FakeEncoder) -> None:
    collection.upsert(things(5))
    collection.upsert([NewItem("a", image=picture("blue"), text="red")])
    collection.upsert([NewItem("a", image=picture("blue"))])
    hits = collection.search(SearchRequest((Term(text="red"),), limit=10, target={"image": 1.0, "text": 1.0})).hits
    [hit] = [hit for hit in hits if hit.id == "a"]
    assert set(hit.scores) == {"image"}
    assert hit.score == pytest.approx(hit.scores["image"], abs=1e-5)


def test_a_folder_without_its_index_is_opened_in_bounded_memory(
    open_folder: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_folder().get("default")
    collection.upsert(things(300))
    collection.delete(["7"])
    collection.close()
    shutil.rmtree(tmp_path / "data" / "index", ignore_errors=True)
    monkeypatch.setattr(vector_index, "MAX_REPLAYED", 50)

    collection = open_folder().get("default")
    assert collection.info().index.delta <= 50
    assert len(found(collection)) == 299
    assert collection.verify() == []
    collection.upsert(things(1, first=300))
    wait_until(lambda: collection.segments <= 2)
    assert len(found(collection)) == 300
    assert collection.verify() == []


def test_a_folder_without_its_index_on_a_full_disk_is_searched_from_memory(
    open_folder: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = open_folder().get("default")
    collection.upsert(things(200))
    collection.close()
    shutil.rmtree(tmp_path / "data" / "index", ignore_errors=True)
    monkeypatch.setattr(vector_index, "MAX_REPLAYED", 50)

    def no_space(*_: object) -> bool:
        raise OSError("no space left on device")

    monkeypatch.setattr(vector_index, "write_segment", no_space)
    collection = open_folder().get("default")
    assert collection.segments == 0
    assert len(found(collection)) == 200
