"""What a collection promises: acknowledged means durable and searchable, and the index is the catalogue."""

import random
import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import (
    CollectionConflict,
    CollectionNameInvalid,
    CollectionNotFound,
    CursorInvalid,
    DataFolderInUse,
    FingerprintMismatch,
    ItemInvalid,
    ItemNotFound,
    ModelAbsent,
    QueryInvalid,
    VectorInvalid,
)
from indexer.index import vector_index
from indexer.index.vector_index import VectorIndex
from indexer.stores.database import Database
from indexer.stores.writing import no_rows
from indexer.types import CollectionSettings, Failed, NewItem, SearchRequest, SearchResult, Term, Upserted
from models import lanes as lanes_module
from models.errors import ImageUndecodable
from models.lanes import Lanes
from tests.fakes import FakeEncoder
from tests.pictures import picture

Open = Callable[[], Collections]


def find(collection: Collection, text: str, **options: object) -> list[str]:
    result = collection.search(SearchRequest((Term(text=text),), **options))  # type: ignore[arg-type]
    return [hit.id for hit in result.hits]


def put(collection: Collection, id_: str, **content: object) -> Upserted:
    [result] = collection.upsert([NewItem(id_, **content)])  # type: ignore[arg-type]
    assert isinstance(result, Upserted), result
    return result


def fill(collection: Collection) -> None:
    for colour in ("red", "green", "blue", "yellow"):
        put(collection, f"{colour}-picture", image=picture(colour))
        put(collection, f"{colour}-text", text=f"a {colour} thing")


def test_text_finds_pictures_and_texts(collection: Collection) -> None:
    fill(collection)
    assert set(find(collection, "red", limit=2)) == {"red-picture", "red-text"}
    assert find(collection, "blue", limit=1, target={"image": 1.0}) == ["blue-picture"]


def test_an_item_is_found_after_a_restart_and_the_index_equals_the_catalogue(open_folder: Open) -> None:
    fill(open_folder().get("default"))
    before = find(open_folder().get("default"), "green", limit=8)
    collection = open_folder().get("default")
    assert find(collection, "green", limit=8) == before
    assert collection.verify() == []


def test_the_index_folder_can_be_deleted_at_any_time(open_folder: Open, tmp_path: Path) -> None:
    collection = open_folder().get("default")
    fill(collection)
    collection.compact()
    shutil.rmtree(tmp_path / "data" / "index")
    assert find(open_folder().get("default"), "red", limit=1)[0].startswith("red")


@pytest.mark.parametrize("name", ["vectors.f32", "seqs.i64", "segment.json"])
def test_a_damaged_main_segment_is_rebuilt_from_the_catalogue(open_folder: Open, tmp_path: Path, name: str) -> None:
    collection = open_folder().get("default")
    fill(collection)
    collection.compact()
    for file in (tmp_path / "data" / "index").rglob(name):
        file.write_bytes(file.read_bytes()[:20])
    collection = open_folder().get("default")
    assert collection.verify() == []
    assert len(find(collection, "red", limit=100)) == 8


def test_status_tells_created_unchanged_updated(collection: Collection, encoder: FakeEncoder) -> None:
    assert put(collection, "a", image=picture("red"), text="red").status == "created"
    embedded = (encoder.encoded_images, encoder.encoded_texts)
    assert put(collection, "a", image=picture("red"), text="red").status == "unchanged"
    assert (encoder.encoded_images, encoder.encoded_texts) == embedded
    assert put(collection, "a", image=picture("red"), text="blue").status == "updated"
    assert (encoder.encoded_images, encoder.encoded_texts) == (embedded[0], embedded[1] + 1)


def test_an_update_replaces_the_old_vectors_at_once(collection: Collection) -> None:
    fill(collection)
    put(collection, "red-picture", image=picture("blue"))
    assert set(find(collection, "blue", limit=2, target={"image": 1.0})) == {"blue-picture", "red-picture"}
    put(collection, "red-picture", text="no picture any more")
    assert "red-picture" not in find(collection, "blue", limit=9, target={"image": 1.0})
    assert collection.verify() == []


def test_a_deleted_item_is_gone_and_its_picture_too(collection: Collection, tmp_path: Path) -> None:
    put(collection, "a", image=picture("red"))
    put(collection, "b", image=picture("red"))
    assert collection.delete(["a", "nothing"]) == 1
    assert find(collection, "red") == ["b"]
    assert collection.get("b").image_type == "image/png"
    with pytest.raises(ItemNotFound):
        collection.get("a")
    collection.delete(["b"])
    assert not [path for path in (tmp_path / "data" / "originals").rglob("*") if path.is_file()]


def test_a_bad_item_stops_no_other(collection: Collection) -> None:
    results = collection.upsert(
        [
            NewItem("good", text="red"),
            NewItem("broken", image=b"no picture"),
            NewItem("empty", text="  "),
            NewItem("foreign", vectors={"image": [1.0] * 16}, fingerprint="0" * 64),
            NewItem("short", vectors={"image": [1.0]}, fingerprint="f" * 64),
            NewItem("nan", vectors={"image": [float("nan")] * 16}, fingerprint="f" * 64),
            NewItem("also good", text="blue"),
        ]
    )
    errors = [type(result.error) if isinstance(result, Failed) else None for result in results]
    assert errors == [None, ImageUndecodable, ItemInvalid, FingerprintMismatch, VectorInvalid, VectorInvalid, None]
    assert set(find(collection, "red")) == {"good", "also good"}


def test_an_id_that_comes_twice_in_a_batch_ends_as_the_last(collection: Collection) -> None:
    results = collection.upsert([NewItem("a", text="red"), NewItem("b", text="blue"), NewItem("a", text="green")])
    assert [result.status for result in results if isinstance(result, Upserted)] == ["created", "created", "updated"]
    assert collection.get("a").text == "green"
    assert collection.verify() == []


def test_vectors_of_the_client_are_searched_like_its_own(collection: Collection, encoder: FakeEncoder) -> None:
    vector = encoder.encode_texts(["red"]).vectors[0]
    put(collection, "mine", vectors={"image": (vector * 7).tolist()}, fingerprint=encoder.fingerprint)
    [hit] = collection.search(SearchRequest((Term(vector=vector.tolist()),))).hits
    assert hit.id == "mine"
    assert hit.score == pytest.approx(1.0, abs=1e-3)


def test_pages_follow_each_other_and_the_cursor_ends(collection: Collection) -> None:
    fill(collection)
    ids, cursor = [], None
    for _ in range(3):
        page, cursor = collection.items(3, cursor)
        ids += [item.id for item in page]
    assert len(ids) == len(set(ids)) == 8
    assert cursor is None
    for wrong in ("x", "!!", "LTE=", "é"):
        with pytest.raises(CursorInvalid):
            collection.items(3, wrong)


def test_search_pages_are_one_order(collection: Collection) -> None:
    fill(collection)
    whole = find(collection, "red thing", limit=8)
    assert [id_ for offset in (0, 3, 6) for id_ in find(collection, "red thing", limit=3, offset=offset)] == whole


def test_an_item_as_the_query_does_not_find_itself(collection: Collection) -> None:
    fill(collection)
    result = collection.search(SearchRequest((Term(item="red-picture"),)))
    assert result.hits[0].id == "red-text"
    assert result.total == 7
    assert "red-picture" not in [hit.id for hit in result.hits]


def test_a_negative_term_pushes_away(collection: Collection) -> None:
    fill(collection)
    terms = (Term(text="yellow"), Term(text="red", weight=-1.0))
    ids = [hit.id for hit in collection.search(SearchRequest(terms, target={"image": 1.0})).hits]
    assert ids.index("green-picture") < ids.index("red-picture")


def test_min_score_cuts_on_the_scale_of_the_scores(collection: Collection) -> None:
    fill(collection)
    hits = collection.search(SearchRequest((Term(text="red"),))).hits
    cut = hits[2].score
    kept = collection.search(SearchRequest((Term(text="red"),), min_score=cut)).hits
    assert [hit.id for hit in kept] == [hit.id for hit in hits[:3]]


def test_beside_one_picture_texts_are_scored_by_their_cosines(collection: Collection) -> None:
    for colour in ("red", "blue", "green"):
        put(collection, colour, text=colour)
    put(collection, "picture", image=picture("red"))

    hits = collection.search(SearchRequest((Term(text="red"),))).hits

    assert {hit.id: hit.score for hit in hits if hit.id != "picture"} == pytest.approx(
        {hit.id: hit.scores["text"] for hit in hits if hit.id != "picture"}
    )
    assert all(-1 <= hit.score <= 1 for hit in hits)


@pytest.mark.parametrize("terms", [(), (Term(text=" "),), (Term(text="red", weight=0.0),)])
def test_a_query_without_a_usable_term_is_refused(collection: Collection, terms: tuple[Term, ...]) -> None:
    with pytest.raises(QueryInvalid):
        collection.search(SearchRequest(terms))


def test_duplicates_are_identical_bytes_and_near_pictures(collection: Collection) -> None:
    put(collection, "first", image=picture("red"))
    put(collection, "near", image=picture((254, 0, 0)))
    put(collection, "other", image=picture("blue"))
    [result] = collection.upsert([NewItem("new", image=picture("red"))], find_duplicates=True)
    assert isinstance(result, Upserted)
    assert next((duplicate.id, round(duplicate.score, 2)) for duplicate in result.duplicates) == ("first", 1.0)
    assert {duplicate.id for duplicate in result.duplicates} == {"first", "near"}


def test_alignment_is_the_cosine_of_picture_and_text(collection: Collection) -> None:
    fits = put(collection, "fits", image=picture("red"), text="red").alignment
    fails = put(collection, "fails", image=picture("red"), text="green").alignment
    assert fits is not None
    assert fails is not None
    assert fits > 0.9 > fails
    assert put(collection, "half", text="red").alignment is None


def test_a_write_that_the_index_missed_is_replayed(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patched:
        patched.setattr(vector_index.VectorIndex, "apply", fail)
        put(collection, "a", text="red")
    assert find(collection, "red") == ["a"]
    assert collection.verify() == []


def test_verify_finds_a_planted_divergence(collection: Collection) -> None:
    fill(collection)
    index = collection.generations.active.indexes["image"]
    index.apply(no_rows(16), index._delta.live_seqs()[:1].tolist())
    assert len(collection.verify()) == 1


def test_searches_and_writes_go_on_while_compacting(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 10)
    draw = random.Random(0)
    stored: set[str] = set()
    errors: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(60):
                collection.search(SearchRequest((Term(text="red"),)))
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(120):
        id_ = str(draw.randrange(60))
        if draw.random() < 0.3:
            collection.delete([id_])
            stored.discard(id_)
        else:
            put(collection, id_, text=f"thing {number}", image=picture((number, 2 * number, 0)))
            stored.add(id_)
        if number % 40 == 0:
            collection.compact()
    for reader in readers:
        reader.join()
    assert errors == []
    collection.compact()
    assert collection.verify() == []
    assert set(find(collection, "red", limit=100)) == stored


def test_vectors_of_two_fingerprints_are_never_compared(open_folder: Open, encoder: FakeEncoder) -> None:
    fill(open_folder().get("default"))
    encoder.fingerprint = "e" * 64
    collection = open_folder().get("default")
    with pytest.raises(ModelAbsent, match="fingerprint"):
        find(collection, "red")
    encoder.fingerprint = "f" * 64
    assert find(open_folder().get("default"), "red")


def test_a_search_that_needs_no_model_is_answered_beside_one_that_does(open_folder: Open, encoder: FakeEncoder) -> None:
    fill(open_folder().get("default"))
    encoder.fingerprint = "e" * 64
    collection = open_folder().get("default")
    [id_] = [item.id for item in collection.items(1)[0]]
    alone = collection.search(SearchRequest((Term(item=id_),)))

    beside, text = collection.search_batch([SearchRequest((Term(item=id_),)), SearchRequest((Term(text="red"),))])

    assert isinstance(beside, SearchResult)
    assert [hit.id for hit in beside.hits] == [hit.id for hit in alone.hits] != []
    assert isinstance(text, ModelAbsent)


def test_a_collection_that_was_deleted_finds_nothing_any_more(open_folder: Open) -> None:
    folder = open_folder()
    folder.put("shop", CollectionSettings())
    shop = folder.get("shop")
    folder.delete("shop")
    with pytest.raises(CollectionNotFound):
        find(shop, "red")


def test_a_data_folder_has_one_writer(open_folder: Open, tmp_path: Path, encoder: FakeEncoder) -> None:
    open_folder()
    with pytest.raises(DataFolderInUse):
        Collections(tmp_path / "data", lambda name: encoder)


def test_collections_are_made_once_and_deleted_with_all_they_hold(open_folder: Open) -> None:
    folder = open_folder()
    assert folder.put("shop", CollectionSettings())[1]
    assert not folder.put("shop", CollectionSettings())[1]
    with pytest.raises(CollectionConflict):
        folder.put("shop", CollectionSettings(store_originals=False))
    with pytest.raises(CollectionNameInvalid):
        folder.put("../shop", CollectionSettings())
    put(folder.get("shop"), "a", image=picture("red"))
    folder.delete("shop")
    assert [info.name for info in folder.infos()] == ["default"]
    assert open_folder().put("shop", CollectionSettings())[0].items == 0


def test_scores_of_one_term_and_one_target_are_cosines(collection: Collection, encoder: FakeEncoder) -> None:
    fill(collection)
    query = encoder.encode_texts(["red"]).vectors[0]
    for hit in collection.search(SearchRequest((Term(text="red"),), target={"image": 1.0})).hits:
        cosine = float(query @ collection.vectors(hit.id)["image"])
        assert hit.score == pytest.approx(cosine, abs=1e-5)
        assert hit.scores == {"image": pytest.approx(cosine, abs=1e-5)}


def test_fused_scores_are_those_of_the_formula(collection: Collection, encoder: FakeEncoder) -> None:
    fill(collection)
    put(collection, "both", image=picture("red"), text="a green thing")
    terms, weights = (Term(text="red"), Term(text="blue", weight=-0.5)), {"image": 1.0, "text": 0.4}
    hits = collection.search(SearchRequest(terms, limit=20, target=weights)).hits
    queries = encoder.encode_texts(["red", "blue"]).vectors
    own = {hit.id: collection.vectors(hit.id) for hit in hits}
    assert len(own) == 9
    z, mean, std = {}, {}, {}
    for modality in ("image", "text"):
        ids = [id_ for id_ in own if modality in own[id_]]
        similarities = queries @ np.stack([own[id_][modality] for id_ in ids]).T
        m, s = similarities.mean(1), similarities.std(1)
        z[modality] = dict(
            zip(ids, (np.array([1, -0.5]) / 1.5) @ ((similarities - m[:, None]) / s[:, None]), strict=True)
        )
        mean[modality], std[modality] = (np.array([1, -0.5]) / 1.5) @ m, (np.array([1, 0.5]) / 1.5) @ s
    for hit in hits:
        present = [modality for modality in z if hit.id in z[modality]]
        fused = sum(weights[m] * z[m][hit.id] for m in present) / sum(weights[m] for m in present)
        assert hit.score == pytest.approx(mean["image"] + std["image"] * fused, abs=1e-4)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)


@pytest.mark.parametrize("last", ["items_by_collection (collection_pk)", "ix_items_image_sha256 (image_sha256)"])
def test_the_same_picture_is_looked_up_by_its_hash(
    collection: Collection, last: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite takes either index for as good, and the one that was made last; the other walks through all items."""
    with collection.rules._database.write() as connection:
        connection.exec_driver_sql(f"DROP INDEX {last.split()[0]}")
        connection.exec_driver_sql("CREATE INDEX " + last.replace(" (", " ON items ("))
    rows, plans = Database.rows, []

    def explained(self: Database, statement: str, parameters: Sequence[object]) -> list[tuple[object, ...]]:
        if "image_sha256 = ?" in statement:
            plans.extend(plan for *_, plan in rows(self, "EXPLAIN QUERY PLAN " + statement, parameters))
        return rows(self, statement, parameters)

    monkeypatch.setattr(Database, "rows", explained)
    collection.upsert([NewItem("a", picture("red"))], find_duplicates=True)
    assert plans == ["SEARCH items USING INDEX ix_items_image_sha256 (image_sha256=?)"]


def test_looking_for_duplicates_of_what_was_deleted_meanwhile_finds_none(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_compaction = VectorIndex.needs_compaction

    def delete_meanwhile(index: VectorIndex) -> bool:  # it is asked after the write, before duplicates are looked for
        monkeypatch.setattr(VectorIndex, "needs_compaction", needs_compaction)
        collection.delete(["a"])
        return False

    put(collection, "b", image=picture("red"))
    monkeypatch.setattr(VectorIndex, "needs_compaction", delete_meanwhile)

    [result] = collection.upsert([NewItem("a", picture("red"))], find_duplicates=True)

    assert isinstance(result, Upserted)
    assert (result.status, result.duplicates) == ("created", ())


def test_searches_and_uploads_are_served_before_bulk_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lanes_module, "MAX_WAIT_S", 30)
    lanes, encoder = Lanes(), FakeEncoder()
    encode, waited = encoder.encode_texts, list[bool]()

    def step() -> None:
        with lanes.step():
            pass

    def encode_beside_a_job(texts: list[str]) -> object:
        job = threading.Thread(target=step)
        job.start()
        job.join(0.05)
        waited.append(job.is_alive())
        return encode(texts)

    monkeypatch.setattr(encoder, "encode_texts", encode_beside_a_job)
    with Collections(tmp_path, lambda _: encoder, lanes=lanes) as collections:
        put(collections.get("default"), "a", text="red")
        find(collections.get("default"), "red")
    assert waited == [True, True]
