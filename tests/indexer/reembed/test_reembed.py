"""A change of model: nothing is lost, nothing is mixed, and one call leads back."""

import sqlite3
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import FingerprintMismatch, GenerationConflict, GenerationIncomplete, GenerationNotFound
from indexer.generations import Generations
from indexer.reembed import backfill
from indexer.reembed import job as module
from indexer.snapshots.creation import create_snapshot
from indexer.snapshots.restoration import restore_snapshot
from indexer.types import CollectionSettings, Failed, NewItem, SearchRequest, SearchResult, Term, Upserted
from tests.fakes import FakeEncoder
from tests.indexer.reembed.conftest import NEW, Folder
from tests.pictures import picture
from tests.steps import watch_steps
from tests.waiting import WAIT_S

COLOURS = ("red", "green", "blue", "yellow")
Open = Callable[[], Folder]


def items(count: int, first: int = 0) -> list[NewItem]:
    """Every other one has a picture, every third a text, every sixth both, none neither."""
    made = []
    for number in range(first, first + count):
        colour = COLOURS[number % 4]
        image = picture((number % 256, number // 256, 200)) if number % 2 == 0 else None
        text = f"a {colour} thing, number {number}" if number % 3 == 0 or image is None else None
        made.append(NewItem(str(number), image, text, {"n": number}))
    return made


def put(collection: Collection, *new: NewItem) -> None:
    assert all(isinstance(result, Upserted) for result in collection.upsert(new))


def search(collection: Collection, text: str = "red", **options: object) -> SearchResult:
    request = SearchRequest((Term(text=text),), **{"limit": 1000, "include_vectors": True, **options})  # type: ignore[arg-type]
    return collection.search(request)


def found(collection: Collection) -> set[str]:
    return {hit.id for hit in search(collection).hits}


def check_whole(collection: Collection, expected: set[str], encoder: FakeEncoder) -> None:
    """All items are found by vectors of one model, and the index is that of the catalogue."""
    result = search(collection)
    assert {hit.id for hit in result.hits} == expected
    for hit in result.hits:
        assert hit.vectors is not None
        assert set(hit.vectors) == set(collection.get(hit.id).modalities)
        assert all(vector.shape == (encoder.dimension,) for vector in hit.vectors.values())
        if hit.item.text:
            assert np.allclose(hit.vectors["text"], encoder.encode_texts([hit.item.text]).vectors[0], atol=1e-3)
    assert collection.verify() == []


def test_what_takes_long_is_done_in_steps_that_give_way(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder.collection, *items(7))
    steps = watch_steps(folder.collection.lanes, monkeypatch)
    for where, name in ((backfill, "_draft"), (Generations, "fill")):
        monkeypatch.setattr(where, name, steps.noting(getattr(where, name)))
    assert folder.reembed().state == "succeeded"
    assert steps.noted == {"_draft": [True] * 7, "fill": [True]}


def test_everything_is_found_by_the_new_model_and_the_old_one_rests(folder: Folder, open_folder: Open) -> None:
    put(folder.collection, *items(300))
    job = folder.reembed()

    assert (job.state, job.error) == ("succeeded", None)
    assert (job.progress.done, job.progress.total, job.progress.created) == (300, 300, 300)
    assert folder.states() == ["resting", "active"]
    check_whole(folder.collection, {str(n) for n in range(300)}, folder.encoders["new"])
    info = open_folder().collection.info()
    assert (info.fingerprint, info.dimension, info.generation, info.settings.model) == (NEW, 8, 2, "new")
    check_whole(open_folder().collection, {str(n) for n in range(300)}, folder.encoders["new"])


class Waited(FakeEncoder):
    """A model of which only the half for bulk work is used, but for what the job asks of the generations."""

    def __init__(self) -> None:
        super().__init__(dimension=8, fingerprint=NEW)
        self.in_bulk = FakeEncoder(dimension=8, fingerprint=NEW)

    @property
    def bulk(self) -> FakeEncoder:
        return self.in_bulk

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        raise AssertionError("a job gives way")

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        assert not pixels, "a job gives way"
        return super().encode_pixels(pixels)


def test_a_job_works_in_the_bulk_lane(folder: Folder, encoders: dict[str, FakeEncoder]) -> None:
    put(folder.collection, *items(20))
    encoders["new"] = waited = Waited()
    assert folder.reembed().state == "succeeded"
    assert waited.in_bulk.encoded_images == 10


def test_the_report_compares_both(folder: Folder) -> None:
    put(folder.collection, *items(60))
    search(folder.collection, "blue")
    report = folder.reembed().report

    assert report is not None
    assert (report["active"]["generation"], report["candidate"]["generation"]) == (1, 2)
    assert report["candidate"]["vectors"] == {"image": 30, "text": 40}
    assert report["candidate"]["self_retrieval"] == 1.0
    assert report["candidate"]["zero_vectors"] == 0
    assert report["queries"] == 41
    assert 0 < report["overlap_at_10"] <= 1
    assert -1 <= report["candidate"]["alignment"] <= 1
    assert 0 <= report["candidate"]["recall_at_10"] <= 1


def test_an_empty_collection_changes_its_model_too(folder: Folder) -> None:
    assert folder.reembed().state == "succeeded"
    put(folder.collection, NewItem("a", text="red"))
    check_whole(folder.collection, {"a"}, folder.encoders["new"])


class Gate(FakeEncoder):
    """A new model that embeds pictures when it is let."""

    def __init__(self) -> None:
        super().__init__(dimension=8, fingerprint=NEW)
        self.reached, self.open = threading.Event(), threading.Event()

    def encode_pixels(self, pixels: list[NDArray[np.uint8]]) -> NDArray[np.float32]:  # type: ignore[override]
        if len(pixels) > 1:  # a write embeds one; those who write need not wait
            self.reached.set()
            assert self.open.wait(WAIT_S)
        return super().encode_pixels(pixels)


@pytest.fixture
def gate(encoders: dict[str, FakeEncoder]) -> Gate:
    gate = encoders["new"] = Gate()
    return gate


def test_what_is_written_meanwhile_is_in_both_generations(gate: Gate, folder: Folder) -> None:
    put(folder.collection, *items(100))
    job = folder.begin()
    assert gate.reached.wait(WAIT_S)
    put(folder.collection, NewItem("0", picture("red"), "now red"), NewItem("new", text="blue"))
    put(folder.collection, NewItem("2", items(3)[2].image, "its picture is the same", {"n": 2}))
    folder.collection.delete(["4", "5"])
    assert search(folder.collection).generation == 1
    gate.open.set()

    assert folder.end(job).state == "succeeded"
    check_whole(folder.collection, {str(n) for n in range(100)} - {"4", "5"} | {"new"}, gate)
    folder.collection.generations.activate(1)
    check_whole(folder.collection, {str(n) for n in range(100)} - {"4", "5"} | {"new"}, folder.encoders["default"])


def test_a_job_goes_on_where_it_was_and_embeds_nothing_twice(
    folder: Folder, open_folder: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder.collection, *items(600))
    encoder, chunks = folder.encoders["new"], 0
    record = module.Run.record

    def stop_after_two(run: module.Run, *arguments: object) -> None:
        nonlocal chunks
        record(run, *arguments)  # type: ignore[arg-type]
        chunks += 1
        if chunks == 2:
            folder.jobs.stop()

    monkeypatch.setattr(module.Run, "record", stop_after_two)
    job = folder.begin()
    folder.jobs._workers[folder.collection.pk, "reembed"].join(WAIT_S)
    assert folder.jobs.get(job.id).progress.done == 16 + 32
    assert folder.states() == ["active", "following"]
    monkeypatch.undo()
    filled = folder.collection.generations.infos()[1].vectors

    before = encoder.encoded_images
    folder = open_folder()
    assert folder.states() == ["active", "following"]
    assert folder.end(job).state == "succeeded"
    assert folder.jobs.get(job.id).progress.done == 600
    assert encoder.encoded_images - before == 300 - filled["image"]
    check_whole(folder.collection, {str(n) for n in range(600)}, encoder)


def test_a_server_killed_after_the_flip_has_nothing_left_to_do(
    folder: Folder, open_folder: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder.collection, *items(10))
    monkeypatch.setattr(folder.jobs, "_finish", lambda *_: None)
    job = folder.begin()
    folder.jobs._workers[folder.collection.pk, "reembed"].join(0.5)
    while folder.collection.info().generation == 1:
        pass
    folder = open_folder()
    assert folder.end(job).state == "succeeded"
    check_whole(folder.collection, {str(n) for n in range(10)}, folder.encoders["new"])


@pytest.mark.parametrize("activate_before", [False, True])
def test_a_server_killed_between_the_end_of_a_job_and_its_clean_up_cleans_up_when_it_starts(
    activate_before: bool, folder: Folder, open_folder: Open, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder.collection, *items(10))
    gate.open.set()
    if activate_before:  # an older job of the same generation that did well says nothing of it
        folder.reembed()
        folder.reembed("default")
    gate.open.clear()
    gate.reached.clear()
    put(folder.collection, *items(20))
    monkeypatch.setattr(folder.jobs, "_on_end", lambda _: None)
    job = folder.begin()
    assert gate.reached.wait(WAIT_S)
    folder.jobs.cancel(job.id)
    gate.open.set()
    assert folder.end(job).state == "cancelled"
    assert folder.states() == ["active", "following"]

    folder = open_folder()
    assert folder.states() == ["active", "resting"]
    assert folder.reembed().state == "succeeded"
    check_whole(folder.collection, {str(n) for n in range(20)}, gate)


def test_a_restart_leaves_alone_what_waits_for_a_human(folder: Folder, open_folder: Open) -> None:
    put(folder.collection, *items(20))
    folder.collections.originals._path(str(folder.collection.get("0").image_sha256)).unlink()
    assert folder.reembed().state == "failed"
    assert folder.reembed(activate=False, expect_missing=1).state == "succeeded"
    assert open_folder().states() == ["active", "following"]


def test_without_activation_the_generation_follows_until_it_is_wanted(folder: Folder, open_folder: Open) -> None:
    put(folder.collection, *items(20))
    assert folder.reembed(activate=False).state == "succeeded"
    assert folder.states() == ["active", "following"]
    put(folder.collection, NewItem("later", picture("blue"), "blue"))
    folder = open_folder()
    put(folder.collection, NewItem("even later", text="green"))

    assert search(folder.collection).generation == 1
    folder.collection.generations.activate(2)
    check_whole(folder.collection, {*map(str, range(20)), "later", "even later"}, folder.encoders["new"])


def test_back_and_forth(folder: Folder) -> None:
    put(folder.collection, *items(20))
    folder.reembed()
    folder.collection.generations.activate(1)
    check_whole(folder.collection, {str(n) for n in range(20)}, folder.encoders["default"])
    folder.collection.generations.activate(2)
    check_whole(folder.collection, {str(n) for n in range(20)}, folder.encoders["new"])


def test_an_old_generation_lacks_what_was_written_since_and_is_filled_with_just_that(folder: Folder) -> None:
    put(folder.collection, *items(20))
    folder.reembed()
    put(folder.collection, NewItem("later", picture("blue")), NewItem("0", picture("red")))
    with pytest.raises(GenerationIncomplete, match="2 items"):
        folder.collection.generations.activate(1)
    assert folder.states() == ["resting", "active"]
    check_whole(folder.collection, {*map(str, range(20)), "later"}, folder.encoders["new"])

    before = folder.encoders["default"].encoded_images
    assert folder.reembed("default").progress.done == 2
    assert folder.encoders["default"].encoded_images == before + 2
    assert folder.states() == ["active", "resting"]
    check_whole(folder.collection, {*map(str, range(20)), "later"}, folder.encoders["default"])


def test_a_dropped_generation_leaves_nothing(folder: Folder, tmp_path: Path) -> None:
    put(folder.collection, *items(3000))
    folder.collection.compact()
    folder.collections.database.shrink()
    file = tmp_path / "data" / "catalogue.db"

    def size() -> int:
        return sum(path.stat().st_size for path in file.parent.glob("catalogue.db*"))

    before = size()
    folder.reembed(activate=False)
    assert size() > before * 1.3
    folder.collection.generations.drop(2)

    assert folder.states() == ["active"]
    assert [path.name for path in (tmp_path / "data" / "index" / "1").iterdir()] == ["1"]
    assert size() < before * 1.1  # what is left is not as dense
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(DISTINCT generation_pk) FROM vectors").fetchone() == (1,)
    assert folder.collection.verify() == []
    with pytest.raises(GenerationNotFound):
        folder.collection.generations.activate(2)
    with pytest.raises(GenerationConflict, match="active one"):
        folder.collection.generations.drop(1)


def test_originals_that_are_gone_are_reported_and_nothing_is_lost_unasked(
    folder: Folder, pictures: dict[str, bytes]
) -> None:
    collections = folder.collections
    collections.delete("default")
    pictures["http://shop/1.png"] = picture("red")
    pictures["http://shop/3.png"] = picture("white")
    put(
        folder.collection,
        NewItem("here", picture("blue")),
        NewItem("gone", picture("green")),
        NewItem("half", picture("yellow"), "a yellow thing"),
    )
    for one in ("gone", "half"):
        sha256 = folder.collection.get(one).image_sha256
        assert sha256 is not None
        collections.originals._path(sha256).unlink()
    job = folder.reembed()

    assert job.state == "failed"
    assert job.error is not None
    assert job.error["code"] == "generation-incomplete"
    assert "expect_missing 2" in job.error["detail"]
    assert [(row.level, row.id, row.code) for row in folder.jobs.store.errors(job)] == [
        ("error", "gone", "original-missing"),
        ("warning", "half", "original-missing"),
    ]
    assert folder.states() == ["active", "resting"]
    assert folder.reembed(expect_missing=2).state == "succeeded"
    assert found(folder.collection) == {"here", "half"}
    assert folder.collection.verify() == []


def test_pictures_that_are_not_stored_come_from_their_addresses(folder: Folder, pictures: dict[str, bytes]) -> None:
    folder.collections.put("links", CollectionSettings(store_originals=False))
    collection = folder.collections.get("links")
    pictures.update({"http://shop/same": picture("red"), "http://shop/other": picture("blue")})
    put(
        collection,
        NewItem("same", picture("red"), source_url="http://shop/same"),
        NewItem("other", picture("green"), source_url="http://shop/other"),
        NewItem("gone", picture("yellow"), "a yellow thing", source_url="http://shop/gone"),
    )
    put(collection, NewItem("same", picture("red"), "with a text"))  # sent again without its address
    request = module.ReembedRequest("new", NEW, expect_missing=1).to_json()
    job = folder.end(folder.jobs.submit(module.KIND, "links", request))

    assert (job.state, job.error) == ("succeeded", None)
    assert [(row.level, row.id, row.code) for row in folder.jobs.store.errors(job)] == [
        ("warning", "other", "original-changed"),
        ("warning", "gone", "fetch-failed"),
    ]
    assert {hit.id for hit in search(collection).hits} == {"same", "other", "gone"}


def test_vectors_of_clients_are_of_one_model(folder: Folder) -> None:
    vector = [1.0] + [0.0] * 15
    given = {"image": vector, "text": vector}
    put(
        folder.collection,
        NewItem("with content", picture("red"), "red", vectors=given, fingerprint="f" * 64),
        NewItem("bare", vectors={"image": vector}, fingerprint="f" * 64),
    )
    job = folder.reembed(expect_missing=1)

    assert [(row.id, row.code) for row in folder.jobs.store.errors(job)] == [("bare", "original-missing")]
    assert found(folder.collection) == {"with content"}
    folder.collection.generations.activate(1)
    assert found(folder.collection) == {"with content", "bare"}


def test_a_cancelled_job_leaves_a_generation_that_rests(gate: Gate, folder: Folder) -> None:
    put(folder.collection, *items(100))
    job = folder.begin()
    assert gate.reached.wait(WAIT_S)
    folder.jobs.cancel(job.id)
    gate.open.set()
    assert folder.end(job).state == "cancelled"
    assert folder.states() == ["active", "resting"]
    put(folder.collection, NewItem("later", text="red"))
    assert folder.reembed().state == "succeeded"
    check_whole(folder.collection, {*map(str, range(100)), "later"}, gate)


def test_a_model_that_tells_nothing_apart_does_not_answer(
    folder: Folder, encoders: dict[str, FakeEncoder], monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder.collection, *items(100))
    monkeypatch.setattr(module, "MIN_SELF_RETRIEVAL", 1.01)
    job = folder.reembed()
    assert job.error is not None
    assert job.error["code"] == "generation-unfit"
    assert job.report is not None
    assert folder.states() == ["active", "resting"]


def test_a_canary_lacks_what_is_accepted_and_no_more(folder: Folder) -> None:
    put(folder.collection, *items(20))
    folder.collections.originals._path(str(folder.collection.get("2").image_sha256)).unlink()
    assert folder.reembed(activate=False, expect_missing=1).state == "succeeded"
    with pytest.raises(GenerationIncomplete, match="1 items"):
        folder.collection.generations.set_canary(2, 1)
    folder.collection.generations.set_canary(2, 1, missing=1)
    assert search(folder.collection).generation == 2
    assert found(folder.collection) == {str(n) for n in range(20)} - {"2"}


def test_a_canary_answers_its_share_of_the_searches(folder: Folder, open_folder: Open) -> None:
    put(folder.collection, *items(20))
    with pytest.raises(GenerationConflict):
        folder.collection.generations.set_canary(1, 0.5)
    folder.reembed(activate=False)
    folder.collection.generations.set_canary(2, 0.25)
    collection = open_folder().collection
    answered = [search(collection).generation for _ in range(400)]
    assert 50 < answered.count(2) < 150
    collection.generations.set_canary(2, 0)
    assert {search(collection).generation for _ in range(50)} == {1}


def test_a_generation_asked_for_answers_or_nobody(folder: Folder) -> None:
    put(folder.collection, *items(20))
    folder.reembed(activate=False)
    assert search(folder.collection, generation=2).generation == 2
    folder.collection.generations.activate(2)
    with pytest.raises(GenerationConflict, match="generation 1 does not answer"):
        search(folder.collection, generation=1)


def test_a_search_that_began_before_the_flip_ends_on_the_old_generation(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder.collection, *items(40))
    folder.reembed(activate=False)
    encoder = folder.encoders["default"]
    encode = encoder.encode_texts

    def flip_first(texts: list[str]) -> object:
        folder.collection.generations.activate(2)
        put(folder.collection, NewItem("0", picture("red"), "changed"))
        return encode(texts)

    monkeypatch.setattr(encoder, "encode_texts", flip_first)
    result = search(folder.collection)
    assert (result.generation, result.model) == (1, "default")
    assert all(vector.shape == (16,) for hit in result.hits for vector in (hit.vectors or {}).values())
    monkeypatch.undo()
    assert search(folder.collection).generation == 2


def test_flips_under_searches_and_writes_lose_and_mix_nothing(folder: Folder) -> None:
    put(folder.collection, *items(50))
    folder.reembed(activate=False)
    stop, faults = threading.Event(), list[object]()
    acknowledged = {str(n) for n in range(50)}

    def guard(work: Callable[[], None]) -> None:
        try:
            while not stop.is_set():
                work()
        except BaseException as error:
            faults.append(error)

    def write() -> None:
        id_ = f"w{len(acknowledged)}"
        put(folder.collection, NewItem(id_, picture((len(acknowledged) % 256, 7, 7)), f"green {id_}"))
        acknowledged.add(id_)

    def read() -> None:
        expected = set(acknowledged)
        result = search(folder.collection)
        dimension = {1: 16, 2: 8}[result.generation]
        assert {v.shape for hit in result.hits for v in (hit.vectors or {}).values()} == {(dimension,)}
        assert expected <= {hit.id for hit in result.hits}

    threads = [threading.Thread(target=guard, args=(work,)) for work in (write, read, read)]
    for thread in threads:
        thread.start()
    try:
        jobs = [folder.reembed(model) for model in ("new", "default", "new", "default")]
    finally:
        stop.set()
        for thread in threads:
            thread.join(WAIT_S)
    assert faults == []
    assert [(job.state, job.error) for job in jobs] == [("succeeded", None)] * 4
    check_whole(folder.collection, acknowledged, folder.encoders["default"])


def test_a_folder_of_an_older_version_gets_the_new_columns(folder: Folder, open_folder: Open, tmp_path: Path) -> None:
    put(folder.collection, *items(20))
    folder.close()
    with sqlite3.connect(tmp_path / "data" / "catalogue.db") as connection:
        for table, columns in {
            "generations": ("follows", "canary"),
            "items": ("source_url",),
            "jobs": ("report",),
        }.items():
            for column in columns:
                connection.execute(f"ALTER TABLE {table} DROP COLUMN {column}")
        connection.execute("PRAGMA user_version=3")
    connection.close()

    folder = open_folder()
    assert folder.reembed().state == "succeeded"
    check_whole(folder.collection, {str(n) for n in range(20)}, folder.encoders["new"])


def test_what_was_prepared_for_other_generations_is_prepared_anew(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder.collection, *items(20))
    folder.reembed(activate=False)
    encoder = folder.encoders["default"]
    encode, vector = encoder.encode_texts, {"image": [1.0] + [0.0] * 15}

    def before(change: Callable[[], None]) -> None:
        def encode_after(texts: list[str]) -> object:
            monkeypatch.undo()
            change()
            return encode(texts)

        monkeypatch.setattr(encoder, "encode_texts", encode_after)

    before(lambda: folder.collection.generations.drop(2))
    put(folder.collection, NewItem("later", picture("red"), "red"))
    check_whole(folder.collection, {*map(str, range(20)), "later"}, encoder)

    folder.reembed(activate=False)
    before(lambda: folder.collection.generations.activate(3))
    [refused] = folder.collection.upsert([NewItem("bare", vectors=vector, fingerprint="f" * 64)])
    assert isinstance(refused, Failed)
    assert isinstance(refused.error, FingerprintMismatch)


def test_an_item_that_changes_while_its_original_is_read_has_no_fault(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(folder.collection, *items(1))
    read = folder.collections.originals.read

    def change_first(sha256: str) -> bytes | None:
        monkeypatch.undo()
        put(folder.collection, NewItem("0", picture("red")))
        return read(sha256)

    monkeypatch.setattr(folder.collections.originals, "read", change_first)
    job = folder.reembed()
    assert (job.state, job.progress.failed) == ("succeeded", 0)
    assert list(folder.jobs.store.errors(job)) == []
    check_whole(folder.collection, {"0"}, folder.encoders["new"])


def test_a_snapshot_of_the_middle_of_a_change_has_one_whole_generation_and_goes_on(
    gate: Gate, folder: Folder, tmp_path: Path
) -> None:
    put(folder.collection, *items(100))
    job = folder.begin()
    assert gate.reached.wait(WAIT_S)
    put(folder.collection, NewItem("later", picture("blue"), "blue"))
    create_snapshot(tmp_path / "data", str(tmp_path / "snapshot"), copy_originals=True, report=lambda *_: None)
    gate.open.set()
    assert folder.end(job).state == "succeeded"
    folder.close()
    restore_snapshot(str(tmp_path / "snapshot"), tmp_path / "restored", lambda *_: None)
    everything = {*map(str, range(100)), "later"}

    with Collections(tmp_path / "restored", folder.encoders.__getitem__) as collections:
        collection = collections.get("default")
        infos = collection.generations.infos()
        assert [(info.state, info.missing) for info in infos] == [("active", 0), ("following", 100)]
        check_whole(collection, everything, folder.encoders["default"])
    restored = Folder(tmp_path / "restored", folder.encoders, load_image=lambda _: b"")
    try:
        assert restored.end(job).state == "succeeded"
        check_whole(restored.collection, everything, gate)
    finally:
        restored.close()


def test_duplicates_are_looked_for_in_one_generation(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    put(folder.collection, *items(20))
    folder.reembed(activate=False)
    catalogue = folder.collection._catalogue
    same_vectors = catalogue.item_vectors

    def flip_after(*arguments: object) -> object:
        found = same_vectors(*arguments)  # type: ignore[arg-type]
        folder.collection.generations.activate(2)
        return found

    monkeypatch.setattr(catalogue, "item_vectors", flip_after)
    [result] = folder.collection.upsert([NewItem("again", items(1)[0].image)], find_duplicates=True)
    assert isinstance(result, Upserted)
    assert "0" in {duplicate.id for duplicate in result.duplicates}
