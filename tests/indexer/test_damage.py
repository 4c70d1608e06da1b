"""Files of built segments that are damaged on the disk: each damage is told, and none is served after a restart."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.types import NewItem, SearchRequest, Term

Open = Callable[[], Collections]


def things(numbers: range) -> list[NewItem]:
    return [NewItem(str(number), text=f"red thing {number}") for number in numbers]


def found(collection: Collection) -> set[str]:
    return {hit.id for hit in collection.search(SearchRequest((Term(text="red"),), limit=1000)).hits}


def build(collection: Collection) -> None:
    """Items 0 to 9, whose text vectors have the numbers 1 to 10, in one segment."""
    collection.upsert(things(range(10)))
    collection.compact()


def segment(folder: Path) -> Path:
    [header] = (folder / "data" / "index").rglob("segment.json")
    return header.parent


def rewrite(folder: Path, rows: list[int], seqs: list[int]) -> None:
    """Put these rows of a segment with these numbers in its place, its header told to match."""
    for name, width in (("items.i64", 8), ("vectors.f32", 64)):
        stored = np.fromfile(folder / name, dtype=np.uint8).reshape(-1, width)
        stored[rows].tofile(folder / name)
    np.array(seqs, dtype="<i8").tofile(folder / "seqs.i64")
    header = json.loads((folder / "segment.json").read_text())
    (folder / "segment.json").write_text(json.dumps(header | {"count": len(rows)}))


@pytest.mark.parametrize("name", ["vectors.f32", "items.i64"])
def test_a_flipped_byte_is_told_and_gone_after_a_rebuild(open_folder: Open, tmp_path: Path, name: str) -> None:
    build(open_folder().get("default"))
    open_folder().close()
    data = bytearray((segment(tmp_path) / name).read_bytes())
    data[len(data) // 2] ^= 1
    (segment(tmp_path) / name).write_bytes(data)

    collection = open_folder().get("default")

    assert collection.verify() == ["text vector 6 differs between catalogue and index"]
    done: list[int] = []
    collection.rebuild(done.append)
    assert collection.verify() == []
    assert sum(done) == 10
    assert open_folder().get("default").verify() == []


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (3, ["3 is in the index more than once", "4 is in the catalogue but not in the index"]),
        (99, ["4 is in the catalogue but not in the index", "99 is in the index but not in the catalogue"]),
    ],
)
def test_numbers_that_change_under_an_open_index_are_told(
    collection: Collection, tmp_path: Path, number: int, told: list[str]
) -> None:
    build(collection)
    with (segment(tmp_path) / "seqs.i64").open("r+b") as file:
        file.seek(3 * 8)
        file.write(number.to_bytes(8, "little"))

    problems = collection.verify()

    for words in told:
        assert any(problem.endswith(words) for problem in problems)


def test_a_vector_that_a_second_segment_holds_too_is_told(collection: Collection, tmp_path: Path) -> None:
    build(collection)
    collection.upsert(things(range(10, 11)))
    with (segment(tmp_path) / "seqs.i64").open("r+b") as file:
        file.seek(9 * 8)
        file.write((11).to_bytes(8, "little"))

    assert "text vector 11 is in the index more than once" in collection.verify()


@pytest.mark.parametrize(
    ("rows", "seqs", "told"),
    [
        ([0, 1, 2, 4, 5, 6, 7, 8, 9], [1, 2, 3, 5, 6, 7, 8, 9, 10], "1 vectors are missing in it, the first is 4"),
        ([0, 1, 1, *range(2, 10)], [1, 2, 2, *range(3, 11)], "not those of its range"),
        ([0, *range(10)], [-1, *range(1, 11)], "not those of its range"),
        ([*range(10), 0], [*range(1, 11), 99], "not those of its range"),
        ([1, 0, *range(2, 10)], [2, 1, *range(3, 11)], "not those of its range"),
    ],
    ids=["missing", "twice", "before", "after", "order"],
)
def test_a_segment_with_other_vectors_than_its_range_has_is_told_and_not_used(
    open_folder: Open, tmp_path: Path, rows: list[int], seqs: list[int], told: str
) -> None:
    build(open_folder().get("default"))
    open_folder().close()
    rewrite(segment(tmp_path), rows, seqs)

    collection = open_folder().get("default")

    [problem] = collection.unusable
    assert told in problem
    assert collection.verify() == []
    assert len(found(collection)) == 10
    assert open_folder().get("default").unusable == []


def test_a_catalogue_put_back_from_before_a_merge_that_dropped_a_vector_has_it_again(
    open_folder: Open, tmp_path: Path
) -> None:
    """The segment reaches no further than the catalogue, and still lacks what was deleted after the copy."""
    open_folder().get("default").upsert(things(range(10)))
    open_folder().close()
    shutil.copy(tmp_path / "data" / "catalogue.db", tmp_path / "copy.db")
    collection = open_folder().get("default")
    collection.delete(["3"])
    collection.compact()
    open_folder().close()
    shutil.copy(tmp_path / "copy.db", tmp_path / "data" / "catalogue.db")

    collection = open_folder().get("default")

    assert collection.verify() == []
    assert len(found(collection)) == 10


def test_a_rebuild_leaves_one_segment_and_goes_on(open_folder: Open, tmp_path: Path) -> None:
    collection = open_folder().get("default")
    build(collection)
    collection.upsert(things(range(10, 15)))
    collection.delete(["0", "12"])

    collection.rebuild()
    collection.upsert(things(range(15, 17)))

    assert collection.segments == 1
    assert segment(tmp_path).name.endswith(f"{13:012d}")
    assert (collection.verify(), len(found(collection))) == ([], 15)
    collection = open_folder().get("default")
    assert (collection.verify(), len(found(collection))) == ([], 15)


def test_an_empty_index_is_rebuilt(open_folder: Open) -> None:
    collection = open_folder().get("default")
    collection.rebuild()
    assert (collection.segments, collection.verify()) == (0, [])
