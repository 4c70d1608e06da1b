"""Parquet as data frames and Hugging Face write it."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, Mapping, Row, parquet, read_source
from tests.pictures import picture


def write(folder: Path, table: pa.Table | list[dict[str, Any]], **options: Any) -> Path:
    pq.write_table(
        table if isinstance(table, pa.Table) else pa.Table.from_pylist(table), folder / "a.parquet", **options
    )
    return folder / "a.parquet"


def test_pictures_of_hugging_face_are_found(tmp_path: Path) -> None:
    (tmp_path / "b.png").write_bytes(picture("blue"))
    rows = [
        {"image": {"bytes": picture("red"), "path": None}, "label": "a", "n": 1},
        {"image": {"bytes": None, "path": "b.png"}, "label": "b", "n": 2},
        {"image": None, "label": "c", "n": 3},
    ]
    source = read_source(write(tmp_path, rows))
    assert source.mapping == Mapping(None, "image", "label", ("n",))
    assert [row.image for row in source if isinstance(row, Row)] == [picture("red"), tmp_path / "b.png", None]
    named = read_source(tmp_path / "a.parquet", Mapping(None, "image.bytes", None, ()))
    assert [row.image for row in named if isinstance(row, Row)] == [picture("red"), None, None]


def test_values_become_json(tmp_path: Path) -> None:
    moment = dt.datetime(2024, 5, 6, 7, 8, 9, 123456, tzinfo=dt.timezone.utc)  # noqa: UP017, as pyarrow gives it back
    columns = {
        "id": pa.array([7.0]),
        "title": pa.array(["red"]),
        "moment": pa.array([moment]).cast(pa.timestamp("ns", "UTC")),
        "moments": pa.array([[moment]]).cast(pa.list_(pa.timestamp("ns", "UTC"))),
        "day": pa.array([dt.date(2024, 5, 6)]),
        "time": pa.array([dt.time(7, 8)]).cast(pa.time64("ns")),
        "span": pa.array([dt.timedelta(seconds=90)]),
        "price": pa.array([Decimal("12.50")]),
        "big": pa.array([Decimal("12345678901234567890.5")]),
        "nan": pa.array([float("nan")]),
        "none": pa.array([None], pa.string()),
        "tags": pa.array([["a", None]]),
        "size": pa.array([{"eu": 38, "uk": None}]),
        "kind": pa.array(["x"]).dictionary_encode(),
        "map": pa.array([[("a", 1)]], pa.map_(pa.string(), pa.int64())),
    }
    [row] = read_source(write(tmp_path, pa.table(columns)))
    assert isinstance(row, Row)
    assert (row.id, row.text) == ("7", "red")
    expected = {
        "moment": "2024-05-06T07:08:09.123456+00:00",
        "moments": ["2024-05-06T07:08:09.123456+00:00"],
        "day": "2024-05-06",
        "time": "07:08:00",
        "span": 90.0,
        "price": 12.5,
        "big": "12345678901234567890.5",
        "tags": ["a", None],
        "size": {"eu": 38, "uk": None},
        "kind": "x",
        "map": [["a", 1]],
    }
    assert row.metadata == expected
    json.dumps(row.metadata, allow_nan=False)


def test_binary_columns_are_no_metadata_unless_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": "1", "title": "a", "raw": b"\x00", "s": {"raw": b"\x00", "n": 1}}])
    source = read_source(path)
    assert source.mapping.metadata == ("s.n",)
    assert list(source) == [Row(1, "1", None, "a", {"s": {"n": 1}})]
    [bad] = read_source(path, Mapping("id", None, "title", ("raw",)))
    assert isinstance(bad, BadRow)
    assert "holds bytes" in bad.detail


def test_a_cell_that_cannot_be_read_is_a_bad_row(tmp_path: Path) -> None:
    days = pa.array([1, 4_000_000_000_000_000, 2]).cast(pa.timestamp("s"))  # beyond the year 9999
    source = read_source(write(tmp_path, pa.table({"id": ["1", "2", "3"], "title": ["a", "b", "c"], "day": days})))
    good, bad, last = source
    assert isinstance(good, Row)
    assert isinstance(last, Row)
    assert isinstance(bad, BadRow)
    assert "column 'day'" in bad.detail


def test_text_that_is_not_utf_8_is_a_bad_row(tmp_path: Path) -> None:
    wrong = pa.Array.from_buffers(pa.string(), 2, pa.array([b"red", b"caf\xe9"]).buffers())
    good, bad = read_source(write(tmp_path, pa.table({"id": ["1", "2"], "title": wrong})))
    assert isinstance(good, Row)
    assert isinstance(bad, BadRow)
    assert bad.id == "2"


def test_row_groups_before_the_place_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": str(n), "title": "red"} for n in range(100)], row_group_size=10, compression="none")
    first = pq.ParquetFile(path).metadata.row_group(0).column(0)
    data = bytearray(path.read_bytes())
    start = first.dictionary_page_offset or first.data_page_offset
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(bytes(data))
    source = read_source(path)
    assert [row.id for row in source.rows(15)] == [str(n) for n in range(15, 100)]
    with pytest.raises(SourceInvalid, match="up to row 0 only"):
        list(source)


def test_only_mapped_columns_are_read(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": "1", "title": "a", "z": "b" * 100}], compression="none")
    data = path.read_bytes()
    column = pq.ParquetFile(path).metadata.row_group(0).column(2)
    start = column.dictionary_page_offset or column.data_page_offset
    path.write_bytes(data[:start] + b"\xff" * 20 + data[start + 20 :])
    assert list(read_source(path, Mapping("id", None, "title", ()))) == [Row(1, "1", None, "a", {})]


@pytest.mark.parametrize("end", [b"PAR1", b"\xff\xff\xff\x7fPAR1", b"\x08\x00\x00\x00PAR1", b""])
def test_a_broken_footer_is_refused(tmp_path: Path, end: bytes) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\0" * 50 + end)
    with pytest.raises(SourceInvalid, match="cannot be read as Parquet"):
        read_source(tmp_path / "a.parquet")


def test_a_column_that_grows_beyond_all_measure_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "FREE_BYTES", 2**18)
    table = pa.table({"id": ["1", "2"], "title": ["x" * 2**20, "red"]})
    path = write(tmp_path, table, compression="zstd")
    with pytest.raises(SourceInvalid, match="'title' grows to more than 200 times"):
        list(read_source(path))
    assert len(list(read_source(path, Mapping("id", None, "id", ())))) == 2  # what nobody asks for is not read
