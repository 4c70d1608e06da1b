"""Snapshots: of one moment while writes go on, and restored complete and checked, or not at all."""

import errno
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CatalogueIncompatible, IndexerError, SnapshotDamaged, SnapshotImpossible
from indexer.index import vector_index
from indexer.snapshots import creation, pictures
from indexer.snapshots.creation import Created, create_snapshot
from indexer.snapshots.manifest import Manifest
from indexer.snapshots.places import new_folder
from indexer.snapshots.restoration import restore_snapshot
from indexer.types import CollectionSettings, NewItem
from tests.fakes import FakeEncoder
from tests.object_store import ObjectStore
from tests.pictures import picture

Open = Callable[[], Collections]


def thing(number: int, colour: int | None = None) -> NewItem:
    """An item with a text and a picture of its own."""
    colour = number if colour is None else colour
    return NewItem(str(number), picture((colour % 256, colour // 256, 7)), f"red thing {number}", {"number": number})


def create(tmp_path: Path, target: str | Path = "snapshot", *, copy: bool = True) -> Created:
    return create_snapshot(
        tmp_path / "data", str(tmp_path / target), copy_originals=copy, report=lambda step, done, total: None
    )


def restore(tmp_path: Path, source: str | Path = "snapshot") -> Manifest:
    return restore_snapshot(str(tmp_path / source), tmp_path / "restored", lambda done, total: None)


@contextmanager
def restored(tmp_path: Path, encoder: FakeEncoder) -> Iterator[Collection]:
    with Collections(tmp_path / "restored", lambda _: encoder) as collections:
        yield collections.get("default")


def check_equal(before: dict[str, Any], collection: Collection) -> None:
    """The same items, vectors and pictures."""
    items, _ = collection.items(10_000)
    assert {item.id for item in items} == set(before)
    for id_, (item, vectors, image) in before.items():
        assert collection.get(id_) == item
        assert collection.original(collection.get(id_)) == image
        assert all(np.array_equal(vector, vectors[name]) for name, vector in collection.vectors(id_).items())
    assert collection.verify() == []


def contents(collection: Collection) -> dict[str, Any]:
    items, _ = collection.items(10_000)
    return {item.id: (item, collection.vectors(item.id), collection.original(item)) for item in items}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def flip(path: Path) -> None:
    """One bit, in a file of its own: what is linked elsewhere stays as it is."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


@pytest.fixture
def filled(collection: Collection) -> Collection:
    """Items in a built segment and in the delta; one deleted, one changed."""
    collection.upsert([thing(number) for number in range(20)])
    collection.compact()
    collection.upsert([thing(number) for number in range(20, 25)])
    collection.delete(["3"])
    collection.upsert([thing(4, colour=1000)])
    return collection


@pytest.mark.parametrize("copy", [True, False], ids=["copied", "referenced"])
def test_what_is_restored_is_what_was_there(
    filled: Collection, tmp_path: Path, encoder: FakeEncoder, copy: bool
) -> None:
    before = contents(filled)
    some = next((tmp_path / "data" / "originals").glob("*/*"))  # as older data folders have it
    deeper = some.parent / some.name[2:4] / some.name
    deeper.parent.mkdir()
    some.rename(deeper)

    created = create(tmp_path, copy=copy)
    manifest = restore(tmp_path)

    assert (created.left_out, created.manifest) == ([], manifest)
    assert (manifest.items, manifest.pictures) == (24, 24)
    assert (tmp_path / "snapshot" / "originals").exists() == copy
    with restored(tmp_path, encoder) as collection:
        assert (collection.segments, collection.unusable) == (2, [])
        check_equal(before, collection)
        collection.upsert([thing(99)])
        assert collection.verify() == []


def test_the_snapshot_owes_nothing_to_the_folder_it_is_of(
    filled: Collection, open_folder: Open, tmp_path: Path, encoder: FakeEncoder
) -> None:
    before = contents(filled)
    create(tmp_path)
    open_folder().close()
    shutil.rmtree(tmp_path / "data")

    restore(tmp_path)
    shutil.rmtree(tmp_path / "snapshot")

    with restored(tmp_path, encoder) as collection:
        check_equal(before, collection)


def test_models_come_along_and_the_spool_does_not(filled: Collection, tmp_path: Path) -> None:
    for name in ("models/mine/model.json", "spool/upload/catalog.csv"):
        (tmp_path / "data" / name).parent.mkdir(parents=True)
        (tmp_path / "data" / name).write_text(name)

    create(tmp_path)
    restore(tmp_path)

    assert (tmp_path / "restored" / "models" / "mine" / "model.json").read_text() == "models/mine/model.json"
    names = files(tmp_path / "restored")
    assert not any(name.startswith("spool") for name in names)
    assert names <= files(tmp_path / "data")


class Writer:
    """Creates, changes and deletes items without a pause, and notes what was acknowledged."""

    def __init__(self, collection: Collection) -> None:
        self._collection, self._stop = collection, threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.kept: dict[str, int] = {}
        """Items that stay as they are, by the colour of their pictures."""

    def __enter__(self) -> "Writer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        for number in count(1000):
            if self._stop.is_set():
                return
            self._collection.upsert([thing(number), NewItem("changing", picture((number % 256, number // 256, 9)))])
            if number % 3:
                self._collection.delete([str(number)])
            else:
                self.kept[str(number)] = number


@pytest.mark.parametrize("linked", [True, False], ids=["linked", "copied"])
def test_a_snapshot_while_items_come_and_go_is_whole(
    filled: Collection, tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch, linked: bool
) -> None:
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 10)
    if not linked:
        monkeypatch.setattr(os, "link", another_disk)
    with Writer(filled) as writer:
        for attempt in range(5):
            acknowledged = dict(writer.kept)
            assert create(tmp_path).left_out == []
            restore(tmp_path)
            with restored(tmp_path, encoder) as collection:
                assert (collection.unusable, collection.verify()) == ([], [])
                for id_, number in acknowledged.items():
                    assert collection.original(collection.get(id_)) == thing(number).image
                    assert np.array_equal(collection.vectors(id_)["image"], filled.vectors(id_)["image"])
                for id_, (item, _, image) in contents(collection).items():
                    assert image, (attempt, id_, item)
            shutil.rmtree(tmp_path / "snapshot")
            shutil.rmtree(tmp_path / "restored")
    assert writer.kept


def another_disk(*_: object) -> None:
    raise OSError(errno.EXDEV, "Invalid cross-device link")


def test_a_picture_that_is_deleted_before_it_is_copied_makes_it_another_moment(
    filled: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds = []
    store_new = pictures.Pictures._store_new

    def delete_one_and_store(self: pictures.Pictures) -> set[str]:
        rounds.append(len(rounds))
        if len(rounds) == 2:  # the first one in a transaction
            filled.upsert([thing(50)])
            self._connection.execute("SELECT count(*) FROM items").fetchall()  # begins the transaction
            filled.delete(["50"])
        return store_new(self)

    monkeypatch.setattr(pictures.Pictures, "_store_new", delete_one_and_store)

    created = create(tmp_path)

    assert (len(rounds), created.left_out, created.manifest.items) == (3, [], 24)


def test_a_segment_that_lacks_what_was_deleted_after_the_moment_stays_out(
    filled: Collection, tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up = creation._back_up

    def back_up_and_delete(*arguments: Any) -> None:
        back_up(*arguments)
        filled.delete(["7"])
        filled.compact()

    monkeypatch.setattr(creation, "_back_up", back_up_and_delete)

    create(tmp_path)
    restore(tmp_path)

    with restored(tmp_path, encoder) as collection:
        assert (collection.segments, collection.unusable, collection.verify()) == (0, [], [])
        assert collection.get("7").text == "red thing 7"


def test_pictures_that_are_deleted_faster_than_copied_end_it(
    filled: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = count()
    monkeypatch.setattr(pictures.Pictures, "_store_new", lambda self: {str(next(numbers))})

    with pytest.raises(SnapshotImpossible, match="faster than they can be copied"):
        create(tmp_path)
    assert not (tmp_path / "snapshot").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_pictures_that_are_lost_or_damaged_already_are_told_and_left_out(
    filled: Collection, tmp_path: Path, encoder: FakeEncoder
) -> None:
    first, second, *_ = sorted(path for path in (tmp_path / "data" / "originals").rglob("*") if path.is_file())
    first.unlink()
    flip(second)

    created = create(tmp_path)
    restore(tmp_path)

    assert sorted(created.left_out) == [first.name, second.name]
    assert created.manifest.pictures == 22
    with restored(tmp_path, encoder) as collection:
        assert collection.verify() == []
    assert not {first.name, second.name} & {path.name for path in (tmp_path / "restored").rglob("*")}


def test_collections_without_originals_miss_none(open_folder: Open, tmp_path: Path) -> None:
    collections = open_folder()
    collections.put("bare", CollectionSettings(store_originals=False))
    collections.get("bare").upsert([thing(1)])

    created = create(tmp_path)

    assert (created.left_out, created.manifest.items, created.manifest.pictures) == ([], 1, 0)


def test_each_file_that_is_missing_or_damaged_is_found(filled: Collection, tmp_path: Path) -> None:
    create(tmp_path)
    names = sorted(files(tmp_path / "snapshot"))
    assert len(names) == 24 + 3 + 2 * 5
    for name in names:
        for damage in (flip, Path.unlink):
            shutil.copytree(tmp_path / "snapshot", tmp_path / "damaged")
            damage(tmp_path / "damaged" / name)
            with pytest.raises(SnapshotDamaged, match=r"damaged|missing"):
                restore(tmp_path, "damaged")
            assert {path.name for path in tmp_path.iterdir()} == {"data", "snapshot", "damaged"}
            shutil.rmtree(tmp_path / "damaged")


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.99])
@pytest.mark.parametrize("name", ["snapshot.json", "originals.txt", "catalogue.db"])
def test_a_file_that_is_cut_off_is_found(filled: Collection, tmp_path: Path, name: str, kept: float) -> None:
    create(tmp_path)
    data = (tmp_path / "snapshot" / name).read_bytes()
    (tmp_path / "snapshot" / name).write_bytes(data[: int(kept * len(data))])

    with pytest.raises(SnapshotDamaged, match="damaged"):
        restore(tmp_path)


def test_a_file_that_grew_is_not_copied_to_its_end(filled: Collection, tmp_path: Path) -> None:
    create(tmp_path)
    with (tmp_path / "snapshot" / "catalogue.db").open("ab") as file:
        file.truncate(2**40)  # a hole

    with pytest.raises(SnapshotDamaged, match=r"catalogue\.db is damaged"):
        restore(tmp_path)


def test_a_referenced_picture_that_was_deleted_since_is_told(filled: Collection, tmp_path: Path) -> None:
    create(tmp_path, copy=False)
    filled.delete(["5"])

    with pytest.raises(SnapshotDamaged, match=r"data/originals/.* is missing"):
        restore(tmp_path)


def edit(tmp_path: Path, **changes: Any) -> None:
    """Write a manifest that is valid in itself."""
    path = tmp_path / "snapshot" / "snapshot.json"
    manifest = Manifest.from_json(path.read_bytes())
    path.write_text(Manifest(**{**vars(manifest), **changes}).to_json())


def test_a_snapshot_of_a_newer_version_is_refused(filled: Collection, tmp_path: Path) -> None:
    create(tmp_path)
    edit(tmp_path, schema=99)

    with pytest.raises(CatalogueIncompatible, match="schema 99"):
        restore(tmp_path)


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "models/../../evil", "lock", "models", "a\0b", ""])
def test_a_snapshot_writes_nowhere_but_into_its_folder(filled: Collection, tmp_path: Path, name: str) -> None:
    manifest = create(tmp_path).manifest
    edit(tmp_path, files={**manifest.files, name: manifest.files["catalogue.db"]})

    with pytest.raises(SnapshotDamaged, match="no file of a data folder"):
        restore(tmp_path)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_what_is_not_empty_is_left_alone(filled: Collection, tmp_path: Path, what: str) -> None:
    create(tmp_path)
    target = tmp_path / "restored"
    if what == "folder":
        target.mkdir()
        target /= "mine"
    target.write_text("mine")

    with pytest.raises(SnapshotImpossible, match="not empty"):
        restore(tmp_path)
    with pytest.raises(SnapshotImpossible, match="not empty"):
        create(tmp_path, "restored")
    assert target.read_text() == "mine"


def test_an_empty_folder_may_be_there(filled: Collection, tmp_path: Path) -> None:
    for name in ("snapshot", "restored"):
        (tmp_path / name).mkdir()
    create(tmp_path)
    assert restore(tmp_path).items == 24


def test_what_a_killed_attempt_left_is_taken_away(filled: Collection, tmp_path: Path) -> None:
    for name in ("snapshot", "restored"):
        (tmp_path / f".{name}.partial" / "originals").mkdir(parents=True)
        (tmp_path / f".{name}.partial" / "snapshot.json").write_text("{}")
    create(tmp_path)
    restore(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "snapshot", "restored"}
    assert "snapshot.json" not in files(tmp_path / "restored")


def test_two_do_not_fill_one_folder(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a"), pytest.raises(IndexerError, match="being filled"), new_folder(tmp_path / "a"):
        pass


def test_a_folder_without_a_catalogue_makes_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(SnapshotImpossible, match="no data folder"):
        create(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_catalogue_makes_no_snapshot(filled: Collection, open_folder: Open, tmp_path: Path) -> None:
    open_folder().close()
    with (tmp_path / "data" / "catalogue.db").open("r+b") as file:
        file.seek(4096 * 5)
        file.write(b"\xff" * 4096 * 10)

    with pytest.raises(SnapshotImpossible, match="catalogue"):
        create(tmp_path)
    assert not (tmp_path / "snapshot").exists()


def test_a_catalogue_of_a_version_that_can_be_upgraded_is_restored(
    filled: Collection, open_folder: Open, tmp_path: Path, encoder: FakeEncoder
) -> None:
    open_folder().close()
    with sqlite3.connect(tmp_path / "data" / "catalogue.db") as connection:
        connection.execute("PRAGMA user_version=2")
    connection.close()

    assert create(tmp_path).manifest.schema == 2
    restore(tmp_path)

    with restored(tmp_path, encoder) as collection:
        assert collection.verify() == []


def test_a_snapshot_in_an_object_store(
    filled: Collection, tmp_path: Path, encoder: FakeEncoder, object_store: ObjectStore
) -> None:
    before, url = contents(filled), "s3://shop/backups/monday"

    made = create_snapshot(tmp_path / "data", url, copy_originals=True, report=lambda *_: None)
    with pytest.raises(SnapshotImpossible, match="a snapshot at"):
        create_snapshot(tmp_path / "data", url, copy_originals=True, report=lambda *_: None)
    manifest = restore_snapshot(url + "/", tmp_path / "restored", lambda *_: None)

    assert made.manifest == manifest
    with restored(tmp_path, encoder) as collection:
        check_equal(before, collection)


def test_a_damaged_snapshot_in_an_object_store_is_refused(
    filled: Collection, tmp_path: Path, object_store: ObjectStore
) -> None:
    url = "s3://shop/monday"
    create_snapshot(tmp_path / "data", url, copy_originals=True, report=lambda *_: None)
    manifest = restore_snapshot(url, tmp_path / "good", lambda *_: None)
    name = next(name for name in manifest.files if name.endswith("vectors.f32"))
    data = (tmp_path / "good" / name).read_bytes()

    object_store.put(f"monday/{name}", data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(SnapshotDamaged, match=r"vectors\.f32 is damaged"):
        restore_snapshot(url, tmp_path / "restored", lambda *_: None)
    object_store.delete(f"monday/{name}")
    with pytest.raises(IndexerError, match=r"vectors\.f32 could not be read: it does not exist"):
        restore_snapshot(url, tmp_path / "restored", lambda *_: None)
    with pytest.raises(IndexerError, match=r"snapshot\.json could not be read"):
        restore_snapshot("s3://shop/tuesday", tmp_path / "restored", lambda *_: None)
    assert {path.name for path in tmp_path.iterdir()} == {"data", "good"}


def test_progress_is_told(filled: Collection, tmp_path: Path) -> None:
    told: list[Any] = []
    create_snapshot(
        tmp_path / "data", str(tmp_path / "snapshot"), copy_originals=True, report=lambda *step: told.append(step)
    )
    ends = {step: (done, total) for step, done, total in told}
    assert (ends["Pictures"], ends["Index"]) == ((24, 24), (2, 2))
    assert ends["Catalogue"][0] == ends["Catalogue"][1] > 0

    sizes: list[Any] = []
    restore_snapshot(str(tmp_path / "snapshot"), tmp_path / "restored", lambda *size: sizes.append(size))
    assert sizes[-1][0] == sizes[-1][1] > 0
    assert json.loads((tmp_path / "snapshot" / "snapshot.json").read_text())["content"]["items"] == 24
