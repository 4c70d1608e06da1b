"""The ingest pipeline: every row accounted for, the good half of an item kept, chunks all or nothing."""

import zipfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import Connection

from indexer.collection import Collection
from indexer.errors import FetchFailed, RowRefused
from indexer.ingest import pipeline as module
from indexer.ingest.pipeline import ingest
from indexer.jobs.store import ChunkReport, RowReport
from indexer.sources import BadRow, ImageReference, Row, read_source
from indexer.stores.catalogue import Catalogue
from indexer.types import NewRule, Term
from models.errors import ImageUndecodable
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.steps import watch_steps


class Told:
    """What the chunks told."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.rows: list[RowReport] = []
        self.positions: list[int] = []

    def __call__(self, chunk: ChunkReport, connection: Connection) -> None:
        self.counts.update(chunk.counts)
        self.rows += chunk.rows
        self.positions.append(chunk.position)


def load(reference: ImageReference) -> bytes:
    """Colours give their picture, `gone` nothing, all else itself."""
    if reference == "gone":
        raise FetchFailed("it is gone")
    return reference if isinstance(reference, bytes) else picture(str(reference))


def run(collection: Collection, rows: Sequence[Row | BadRow], **options: bool) -> Told:
    told = Told()
    ingest(collection, rows, load, told, **options)
    return told


def row(number: int, image: ImageReference | None = None, text: str | None = None, id_: str = "") -> Row:
    return Row(number, id_ or str(number), image, text, {})


def test_every_row_is_accounted_for_and_a_second_run_embeds_nothing(
    collection: Collection, encoder: FakeEncoder
) -> None:
    rows = [row(1, "red", "red"), row(2, None, "blue"), BadRow(3, "3", "no id"), row(4, "gone"), row(5, "green")]
    first = run(collection, rows)
    assert first.counts == {"created": 3, "failed": 2}
    assert [(bad.row, bad.code, bad.detail) for bad in first.rows] == [
        (3, "row-invalid", "no id"),
        (4, "fetch-failed", "it is gone"),
    ]
    assert first.positions == [5]
    embedded = encoder.encoded_images + encoder.encoded_texts
    second = run(collection, rows)
    assert second.counts == {"unchanged": 3, "failed": 2}
    assert encoder.encoded_images + encoder.encoded_texts == embedded
    assert collection.verify() == []


def test_an_item_with_a_bad_picture_keeps_its_text_and_its_row_is_warned_of(collection: Collection) -> None:
    told = run(collection, [row(1, b"no picture", "red shoe"), row(2, "gone", "blue shoe"), row(3, b"no picture")])
    assert told.counts == {"created": 2, "warnings": 2, "failed": 1}
    assert [(bad.level, bad.row, bad.code) for bad in told.rows] == [
        ("warning", 1, "image-undecodable"),
        ("warning", 2, "fetch-failed"),
        ("error", 3, "image-undecodable"),
    ]
    assert collection.get("1").modalities == ("text",)


def test_a_row_that_is_but_a_picture_nobody_can_read_is_an_error(collection: Collection, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("../out.png", "in.png"):
            archive.writestr(name, picture("red"))
    told = run(collection, list(read_source(tmp_path / "a.zip")))
    assert told.counts == {"created": 1, "failed": 1}
    [bad] = told.rows
    assert (bad.level, bad.row, bad.id, bad.code) == ("error", 1, "../out.png", "row-invalid")
    assert "leads out" in bad.detail
    assert [item.id for item in collection.items(10)[0]] == ["in.png"]


def test_a_picture_that_cannot_be_had_again_is_not_lost(collection: Collection) -> None:
    run(collection, [row(1, "red", "red shoe")])
    before = collection.vectors("1")["image"]
    told = run(collection, [row(1, "gone", "a red shoe of leather")])
    assert told.counts == {"updated": 1, "warnings": 1}
    item = collection.get("1")
    assert (item.text, item.modalities) == ("a red shoe of leather", ("image", "text"))
    assert (collection.vectors("1")["image"] == before).all()
    assert collection.original(collection.get("1")) == picture("red")
    assert run(collection, [row(1, "gone", "a red shoe of leather")]).counts == {"unchanged": 1, "warnings": 1}
    assert run(collection, [row(1, None, "a red shoe of leather")]).counts == {"updated": 1}
    assert collection.get("1").modalities == ("text",)


def test_the_last_row_of_an_id_wins(collection: Collection) -> None:
    rows = [row(1, None, "red", "a"), row(2, None, "blue", "a"), row(3, None, "green", "b"), row(4, None, "blue", "a")]
    told = run(collection, rows)
    assert told.counts == {"created": 2, "updated": 1, "unchanged": 1}
    assert collection.get("a").text == "blue"
    assert told.positions == [1, 3, 4]


def test_a_bad_row_with_the_id_of_a_good_one_costs_it_nothing(collection: Collection) -> None:
    told = run(collection, [row(1, None, "red", "a"), BadRow(2, "a", "too many cells"), BadRow(3, "", "no id")])
    assert told.counts == {"created": 1, "failed": 2}
    assert told.positions == [3]


def test_chunks_end_by_bytes_too(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 1)
    told = run(collection, [row(number, "red", f"text {number}") for number in range(1, 6)])
    assert told.positions == [1, 2, 3, 4, 5]


def test_what_lies_deep_in_the_metadata_counts_too(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_BYTES", 1000)
    for metadata in ({"tags": ["x" * 1000]}, {"a": {"b": {"c": "x" * 1000}}}, {"sizes": list(range(100))}):
        told = run(collection, [Row(number, str(number), None, "text", metadata) for number in (1, 2)])
        assert told.positions == [1, 2]


def test_the_first_chunks_are_small_so_that_the_encoder_has_something_to_do(collection: Collection) -> None:
    assert run(collection, [row(number, None, "text") for number in range(1, 400)]).positions == [
        16,
        48,
        112,
        240,
        368,
        399,
    ]


def test_the_first_bad_row_of_a_strict_run_ends_it_and_what_is_committed_stays(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 10)
    rows = [row(number, None, f"text {number}") for number in range(1, 15)] + [row(15, b"no picture", "text")]
    with pytest.raises(RowRefused, match="row 15 "):
        run(collection, rows, strict=True)
    assert collection.info().items == 10


def test_what_a_chunk_writes_beside_is_undone_with_it(collection: Collection) -> None:
    def fail(chunk: ChunkReport, connection: Connection) -> None:
        raise ImageUndecodable("whatever")

    with pytest.raises(ImageUndecodable):
        ingest(collection, [row(1, "red", "red")], load, fail)
    assert collection.info().items == 0
    assert collection.verify() == []


def test_an_item_that_another_write_changed_meanwhile_is_prepared_anew(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = collection.store

    def interfere(*arguments):  # type: ignore[no-untyped-def]
        monkeypatch.setattr(collection, "store", store)
        run(collection, [row(1, "blue", "written meanwhile")])
        return store(*arguments)

    monkeypatch.setattr(collection, "store", interfere)
    told = run(collection, [row(1, "red", "red")])
    assert told.counts == {"updated": 1}
    assert collection.get("1").text == "red"
    assert collection.verify() == []


def test_what_takes_long_is_done_in_steps_that_give_way(
    collection: Collection, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = watch_steps(collection.lanes, monkeypatch)
    for where, name in ((module, "draft"), (Catalogue, "write")):
        monkeypatch.setattr(where, name, steps.noting(getattr(where, name)))
    run(collection, [row(number, "red", f"text {number}") for number in range(1, 4)])
    assert steps.noted == {"draft": [True] * 3, "write": [True]}


def test_many_rows_of_many_chunks_come_in_order(collection: Collection, tmp_path: Path) -> None:
    told = run(collection, [row(number, None, f"text {number}") for number in range(1, 1001)])
    assert told.counts == {"created": 1000}
    assert told.positions == sorted(told.positions)
    assert told.positions[-1] == 1000
    assert [item.id for item in collection.items(1000)[0]] == [str(number) for number in range(1, 1001)]


def test_watch_rules_judge_the_rows_of_a_catalogue(collection: Collection) -> None:
    collection.rules.put(NewRule("blue", (Term(text="blue"),), {"text": 0.8}, "flag"))
    collection.rules.put(NewRule("red", (Term(text="red"),), {"text": 0.8}, "reject"))

    result = run(collection, [row(1, text="red"), row(2, text="blue"), row(3, text="green")])

    assert [(report.row, report.code) for report in result.rows] == [(1, "item-rejected")]
    assert {(flag.item, flag.rule) for flag in collection.rules.flags(10)[0]} == {("1", "red"), ("2", "blue")}
    assert [item.id for item in collection.items(10)[0]] == ["2", "3"]
