"""JSON Lines as strangers write them."""

import json
from pathlib import Path

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, Mapping, Row, read_source, streams
from tests.indexer.sources.catalogues import fault


def write(folder: Path, *lines: object, name: str = "a.jsonl") -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / name).write_text(text)
    return folder / name


def test_nested_objects_are_named_with_dots_and_stay_nested(tmp_path: Path) -> None:
    first = {"product": {"id": 7, "title": "red", "size": {"eu": 38}}, "tags": ["a", None], "extra": {"a": {"b": 1}}}
    later = {"product": {"id": 8, "title": None}, "colour": "blue", "no": None}
    mapping = Mapping("product.id", None, "product.title", ("product.size.eu", "tags", "extra", "colour", "no"))
    red, blue = read_source(write(tmp_path, first, later), mapping)
    metadata = {"product": {"size": {"eu": 38}}, "tags": ["a", None], "extra": {"a": {"b": 1}}}
    assert red == Row(1, "7", None, "red", metadata)
    assert blue == Row(2, "8", None, None, {"colour": "blue"})


def test_the_guess_takes_the_columns_of_many_lines_and_whole_objects(tmp_path: Path) -> None:
    lines = [{"id": "a", "title": "red"}, {"id": "b", "image": {"src": "https://x/b.png", "alt": "B"}, "o": {"p": {}}}]
    source = read_source(write(tmp_path, *lines))
    assert source.mapping == Mapping("id", "image.src", "title", ("image.alt", "o"))
    assert list(source)[1] == Row(2, "b", "https://x/b.png", None, {"image": {"alt": "B"}, "o": {"p": {}}})


def test_a_name_with_a_dot_is_a_column_too(tmp_path: Path) -> None:
    [row] = read_source(write(tmp_path, {"id": "a", "title": "red", "a.b": 1}))
    assert isinstance(row, Row)
    assert row.metadata == {"a.b": 1}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"id": "x", "title": "re', "not valid JSON"),
        ("[1, 2]", "not a JSON object"),
        ("nonsense", "not valid JSON"),
        ('{"id": true, "title": "a"}', "true or false"),
        ('{"id": ["x"], "title": "a"}', "a list"),
        ('{"id": "", "title": "a"}', "1 to 256 characters"),
        (f'{{"id": "{"x" * 257}", "title": "a"}}', "1 to 256 characters"),
        ('{"title": "a"}', "1 to 256 characters"),
        ('{"id": "x", "title": 5}', "text in column 'title' must be a text"),
        ('{"id": "x", "title": "\\ud800"}', "not valid Unicode"),
        ('{"id": "\\ud800", "title": "a"}', "not valid Unicode"),
        ('{"id": "x", "title": "a", "price": 1e999}', "not a finite number"),
        ('{"id": "x", "title": "a", "price": -Infinity}', "not a finite number"),
        ('{"id": "x", "title": "a", "price": {"a": ["\\udfff"]}}', "not valid Unicode"),
        ('{"id": "x", "title": "a", "price": ' + "[" * 80 + "]" * 80 + "}", "deeper than 64"),
        ('{"id": "x", "title": "a", "price": ' + "[" * 100_000 + "]" * 100_000 + "}", "too deep"),
        ('{"id": "x", "title": "a", "price": ' + "9" * 5000 + "}", "not valid JSON"),
        ('{"id": "x", "title": "caf\udce9"}', "byte 0xE9"),
        ('{"id": 1e999, "title": "a"}', "a number"),
    ],
)
def test_a_bad_line_is_a_bad_row_and_stops_nothing(tmp_path: Path, line: str, words: str) -> None:
    (tmp_path / "a.jsonl").write_text(
        f'{{"id": "1", "title": "a", "price": 1, "image": ""}}\n{line}\n\n{{"id": "3", "title": "c"}}\n',
        errors="surrogateescape",
    )
    source = read_source(tmp_path / "a.jsonl")
    good, bad, last = source
    assert isinstance(bad, BadRow)
    assert words in bad.detail
    assert (good.id, last.id, last.number, source.count()) == ("1", "3", 3, 3)
    json.dumps(bad.id).encode()
    bad.detail.encode()


@pytest.mark.parametrize("image", ["5", "true", "[" * 500 + "]" * 500, '{"bytes": 5}', '"file:a.png"'])
def test_an_image_that_is_none_costs_no_more_than_the_picture(tmp_path: Path, image: str) -> None:
    line = f'{{"id": "x", "title": "a", "price": 1, "image": {image}}}'
    [row] = read_source(write(tmp_path, line))
    assert row == Row(1, "x", None, "a", {"price": 1}, image_fault=fault(row))
    assert len(fault(row)) < 200


@pytest.mark.parametrize(
    ("id_", "text"), [(12, "12"), (12.0, "12"), (1.5, "1.5"), (10**20, "1" + "0" * 20), (-3, "-3")]
)
def test_numbers_become_ids_as_they_are_written(tmp_path: Path, id_: object, text: str) -> None:
    [row] = read_source(write(tmp_path, {"id": id_, "title": "a"}))
    assert row.id == text


def test_a_missing_figure_is_no_metadata(tmp_path: Path) -> None:
    [row] = read_source(write(tmp_path, '{"id": "a", "title": "a", "price": NaN, "sizes": [1, NaN]}'))
    assert isinstance(row, Row)
    assert row.metadata == {"sizes": [1, None]}


def test_a_line_over_the_limit_is_a_bad_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_ROW_CHARACTERS", 1000)
    long = {"id": "x", "title": "a\r" * 100_000}
    raw = json.dumps(long).replace("\\r", "\r")  # a carriage return is no line end here
    source = read_source(write(tmp_path, {"id": "1", "title": "a"}, raw, long, {"id": "3", "title": "c"}))
    assert [type(row) for row in source] == [Row, BadRow, BadRow, Row]
    assert source.count() == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n\n",
        '[{"id": 1, "title": "a"},\n{"id": 2, "title": "b"}]',
        '[\n{"id": 1}\n]',
        '{\n"id": 1,\n"title": "a"\n}\n',
    ],
)
def test_one_document_is_not_json_lines(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(SourceInvalid, match=r"JSON Lines have an object in each line"):
        read_source(tmp_path / "a.json")


def test_hostile_names_of_columns_cost_nothing(tmp_path: Path) -> None:
    deep: dict[str, object] = {}
    for _ in range(300):
        deep = {"a": deep}
    wide = {f"c{n}": n for n in range(5000)}
    source = read_source(write(tmp_path, {"id": "1", "title": "a", "." * 1_000_000: 1, "deep": deep, **wide}))
    [row] = source
    assert isinstance(row, BadRow)  # for the depth of its metadata
    assert len(source.mapping.metadata) <= 1000


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_marks_of_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": "é", "title": "ü"}\n', encoding=encoding)
    assert list(read_source(tmp_path / "a.jsonl")) == [Row(1, "é", None, "ü", {})]
