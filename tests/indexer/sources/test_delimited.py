"""CSV files as strangers break them."""

from pathlib import Path

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, Row, delimited, read_source, streams


def write(folder: Path, data: bytes, name: str = "a.csv") -> Path:
    (folder / name).write_bytes(data)
    return folder / name


def texts(path: Path) -> list[str | None]:
    return [row.text if isinstance(row, Row) else f"! {row.detail}" for row in read_source(path)]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "cp1252", "latin-1"])
@pytest.mark.parametrize("lines", [1, 400])
def test_the_encoding_is_found(tmp_path: Path, encoding: str, lines: int) -> None:
    text = "id,title\n" + "".join(f"{n},Café à Größe señor {n}\n" for n in range(lines))
    mark = "\ufeff" if encoding in ("utf-16-le", "utf-16-be") else ""
    data = (mark + text).encode(encoding)
    assert texts(write(tmp_path, data)) == [f"Café à Größe señor {n}" for n in range(lines)]


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1251", ["Красное платье", "Синяя рубашка в полоску", "Кожаная сумка женская"]),
        ("cp1253", ["Κόκκινο φόρεμα", "Μπλε πουκάμισο ριγέ", "Δερμάτινη τσάντα γυναικεία"]),
        ("cp1250", ["Żółta sukienka", "Niebieska koszula w paski dla chłopca", "Skórzana torba ze złotą klamrą"]),
        ("cp932", ["赤いドレス", "青いシャツ 縞模様", "革のバッグ 女性用"]),
        ("cp1252", ["10 € – “Café”", "Œuvre d’art", "naïve façade"]),
    ],
)
def test_other_encodings_are_guessed_and_told(tmp_path: Path, encoding: str, words: list[str]) -> None:
    data = "id,title\n" + "".join(f"{n},{word}\n" for n, word in enumerate(words))
    path = write(tmp_path, data.encode(encoding))
    assert texts(path) == words
    assert f"read as {encoding}" in read_source(path).name


def test_a_byte_that_is_not_of_the_encoding_is_a_bad_row_and_no_more(tmp_path: Path) -> None:
    rows = b"".join(b"%d,caf\xc3\xa9 %d\n" % (n, n) for n in range(30_000))
    path = write(tmp_path, b"id,title\n" + rows + b"x1,caf\xe9\nx2,red\n")
    source = read_source(path)
    *_, bad, good = source
    assert isinstance(bad, BadRow)
    assert (bad.number, bad.id) == (30_001, "x1")
    assert "byte 0xE9 in column 'title' is not utf-8" in bad.detail
    assert good == Row(30_002, "x2", None, "red", {})
    assert source.count() == 30_002


def test_a_half_character_at_the_end_of_utf_16_is_a_bad_row(tmp_path: Path) -> None:
    path = write(tmp_path, "id,title\n1,red\n2,blue".encode("utf-16")[:-1])
    good, bad = read_source(path)
    assert isinstance(good, Row)
    assert isinstance(bad, BadRow)


def test_a_nul_is_a_character_like_others(tmp_path: Path) -> None:
    assert texts(write(tmp_path, b"id,title\n1,re\0d\n2,blue\n")) == ["re\0d", "blue"]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_any_line_ends_and_short_and_blank_rows(tmp_path: Path, ends: str) -> None:
    data = ends.join(["id,title,price", "1,red", "", "2", '3,"a', 'b",5', ""])
    [red, short, long] = read_source(write(tmp_path, data.encode()))
    assert red == Row(1, "1", None, "red", {})
    assert short == Row(2, "2", None, None, {})
    assert long == Row(3, "3", None, f"a{ends}b", {"price": 5})


def test_a_quote_that_is_missing_costs_some_rows_and_not_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "MAX_LINES", 10)
    rows = ["id,title", '1,"red', *(f"{n},blue" for n in range(2, 40))]
    found = list(read_source(write(tmp_path, "\n".join(rows).encode())))
    assert isinstance(found[0], BadRow)
    assert "is a quote missing?" in found[0].detail
    assert len([row for row in found if isinstance(row, Row)]) == 28


def test_a_row_over_the_limit_is_a_bad_row_and_is_not_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "MAX_ROW_CHARACTERS", 1000)
    path = write(tmp_path, b"id,title\n1," + b"x" * 300_000 + b"\n2,blue\n3,ok\n4," + b"y" * 5000)
    found = list(read_source(path))
    assert [type(row) for row in found] == [BadRow, Row, Row, BadRow]
    assert read_source(path).count() == 4
    assert list(read_source(path).rows(2)) == found[2:]


def test_excel_may_name_its_delimiter(tmp_path: Path) -> None:
    assert texts(write(tmp_path, b"sep=;\nid;title;a,b,c\n1;red, blue;\n")) == ["red, blue"]


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match="is not a text"):
        read_source(write(tmp_path, bytes(range(256)) * 50))
