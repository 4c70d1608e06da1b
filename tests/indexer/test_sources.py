"""Catalogues as strangers write them."""

from pathlib import Path

import pytest

from indexer.collection import Collection
from indexer.errors import SourceInvalid
from indexer.ingest import ingest
from indexer.sources import BadRow, Mapping, Row, read_source
from models.imaging import ImageLimits
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
    assert [type(row) for row in found] == [Row, BadRow, BadRow, BadRow, Row]
    assert "outside" in found[2].detail  # type: ignore[union-attr]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "shop").mkdir()
    (tmp_path / "secret.png").write_bytes(picture("red"))
    (tmp_path / "shop" / "link.png").symlink_to(tmp_path / "secret.png")
    [row] = read_source(tmp_path / "shop")
    assert isinstance(row, BadRow)


def test_a_folder_of_pictures_is_a_source(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.JPG").write_bytes(picture("blue", format_="JPEG"))
    (tmp_path / "a.png").write_bytes(picture("red"))
    (tmp_path / "notes.txt").write_text("no picture")
    source = read_source(tmp_path)
    assert source.total == 2
    assert [row.id for row in source] == ["a.png", "deep/b.JPG"]


@pytest.mark.parametrize(("text", "message"), [("", "empty"), ("id,price\n1,2\n", "no column for images or texts")])
def test_what_is_no_catalogue_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SourceInvalid, match=message):
        read_source(write(tmp_path, text))
    with pytest.raises(SourceInvalid):
        read_source(tmp_path / "nothing.csv")
    with pytest.raises(SourceInvalid, match="no column colour"):
        read_source(write(tmp_path, "id,title\n1,a\n"), Mapping("id", None, "colour"))


def test_ingest_accounts_for_every_row_and_a_second_run_changes_nothing(tmp_path: Path, collection: Collection) -> None:
    rows = ["id,title,image", "1,red,images/a.png", "2,blue,", "3,gone,images/b.png", "4,broken,images/c.png"]
    path = write(tmp_path, "\n".join(rows))
    (tmp_path / "images" / "c.png").write_bytes(b"no picture")
    seen: list[int] = []
    first = ingest(collection, read_source(path), limits=ImageLimits(), on_progress=lambda r: seen.append(r.done))
    assert (first.created, first.failed, first.done, first.total) == (2, 2, 4, 4)
    assert [(error.row, error.id) for error in first.errors] == [(3, "3"), (4, "4")]
    assert seen == [4]
    second = ingest(collection, read_source(path), limits=ImageLimits())
    assert (second.created, second.updated, second.unchanged, second.failed) == (0, 0, 2, 2)
