"""Catalogues as strangers write them."""

from pathlib import Path

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, Mapping, Row, read_source
from tests.pictures import picture


def write(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    (folder / "images").mkdir(exist_ok=True)
    (folder / "images" / "a.png").write_bytes(picture("red"))
    (folder / "catalog.csv").write_text(text, encoding=encoding)
    return folder / "catalog.csv"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_columns_and_the_delimiter_are_guessed(tmp_path: Path, delimiter: str, encoding: str) -> None:
    lines = ["SKU,Title,Image,price,code,empty", "x1,Café dress,images/a.png,12.50,007,"]
    source = read_source(write(tmp_path, "\n".join(lines).replace(",", delimiter), encoding))
    assert source.mapping == Mapping("SKU", "Image", "Title", ("price", "code", "empty"))
    [row] = source
    assert row == Row(1, "x1", (tmp_path / "images/a.png").resolve(), "Café dress", {"price": 12.5, "code": "007"})


def test_a_bad_row_is_reported_in_its_place(tmp_path: Path) -> None:
    rows = [
        "id,title,image",
        "1,ok,images/a.png",
        ",no id,",
        "3,outside,../secret.png",
        "4,missing,images/b.png",
        "5,text,",
    ]
    (tmp_path.parent / "secret.png").write_bytes(b"")
    found = list(read_source(write(tmp_path, "\n".join(rows))))
    assert [type(row) for row in found] == [Row, BadRow, Row, Row, Row]
    assert [row.image_fault is None for row in found if isinstance(row, Row)] == [True, False, False, True]
    assert "outside" in found[2].image_fault  # type: ignore[union-attr, operator]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "secret.png").write_bytes(picture("red"))
    (tmp_path / "shop" / "link.png").symlink_to(tmp_path / "secret.png")
    [row] = read_source(tmp_path / "shop")
    assert isinstance(row, Row)
    assert row.image is None
    assert "outside" in (row.image_fault or "")


def test_a_folder_of_pictures_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.JPG").write_bytes(picture("blue", format_="JPEG"))
    (tmp_path / "a.png").write_bytes(picture("red"))
    (tmp_path / "notes.txt").write_text("no picture")
    source = read_source(tmp_path)
    assert source.count() == 2
    assert [row.id for row in source] == ["a.png", "deep/b.JPG"]


@pytest.mark.parametrize(
    ("text", "message"), [("", "empty"), ("id,price\n1,2\n", "no column for images or texts.* --image or --text")]
)
def test_what_is_no_catalogue_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceInvalid, match=message):
        read_source(write(tmp_path, text))
    with pytest.raises(SourceInvalid):
        read_source(tmp_path / "nothing.csv")
    with pytest.raises(SourceInvalid, match="no column colour"):
        read_source(write(tmp_path, "id,title\n1,a\n"), Mapping("id", None, "colour"))


@pytest.mark.parametrize("header", ["id,title,brand", '"id","title","brand"', "id;title;brand"])
def test_doubled_quotes_and_delimiters_within_quotes_are_kept(tmp_path: Path, header: str) -> None:
    """Where the header has no quotes, `csv.Sniffer` reads a doubled quote as the end of the cell."""
    delimiter = ";" if ";" in header else ","
    [row] = read_source(write(tmp_path, f'{header}\n1{delimiter}"a ""big""{delimiter} red one"{delimiter}Puma\n'))
    assert isinstance(row, Row)
    assert (row.text, row.metadata) == (f'a "big"{delimiter} red one', {"brand": "Puma"})


def test_a_cell_with_a_line_break_is_one_cell(tmp_path: Path) -> None:
    source = read_source(write(tmp_path, 'id,title\n1,"red\ndress"\n2,blue\n'))
    assert source.count() == 2
    assert [row.text for row in source if isinstance(row, Row)] == ["red\ndress", "blue"]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("12", 12), ("-3", -3), ("12.50", 12.5), ("0", 0), ("0.0", 0.0), ("007", "007"), ("1e5", "1e5"),
        ("nan", "nan"), ("inf", "inf"), ("-Infinity", "-Infinity"), ("1_000", "1_000"), (" 5", " 5"), ("٣", "٣"),
        ("12345678901234567890", "12345678901234567890"), ("4006381333931", 4006381333931),
    ],
)  # fmt: skip
def test_a_number_is_one_only_if_json_gives_it_back_the_same(tmp_path: Path, cell: str, value: object) -> None:
    [row] = read_source(write(tmp_path, f"id,title,number\n1,a,{cell}\n"))
    assert isinstance(row, Row)
    assert row.metadata == {"number": value}
    assert type(row.metadata["number"]) is type(value)


@pytest.mark.parametrize("name", ["a\0b.png", "x" * 300, "x" * 5000, "images", "loop.png"])
def test_an_image_cell_that_is_no_path_to_a_file_is_a_fault_of_the_image(tmp_path: Path, name: str) -> None:
    (tmp_path / "loop.png").symlink_to(tmp_path / "loop.png")
    bad, good = read_source(write(tmp_path, f"id,title,image\n1,a,{name}\n2,b,images/a.png\n"))
    assert isinstance(bad, Row)
    assert bad.image is None
    assert 0 < len(bad.image_fault or "") < 200
    assert isinstance(good, Row)
    assert good.image


def test_a_row_longer_than_the_header_is_a_bad_row_unless_the_rest_is_empty(tmp_path: Path) -> None:
    bad, good = read_source(write(tmp_path, "id,title\n1,red, blue\n2,red,\n"))
    assert isinstance(bad, BadRow)
    assert isinstance(good, Row)


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    [row] = read_source(write(tmp_path, ",id,title\n0,a,red\n"))
    assert row == Row(1, "a", None, "red", {})


def test_a_picture_can_stand_in_its_cell(tmp_path: Path) -> None:
    uri = "data:image/png;base64," + "A" * 300_000
    [row] = read_source(write(tmp_path, f'id,image\n1,"{uri}"\n'))
    assert isinstance(row, Row)
    assert row.image == uri
