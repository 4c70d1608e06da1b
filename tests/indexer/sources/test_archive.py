"""Zip files of shops, and of attackers."""

import struct
import zipfile
from pathlib import Path

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import Row, archive, read_source
from tests.indexer.sources.catalogues import fault
from tests.pictures import picture

CSV = "id,title,image\n0,red,images/0.png\n1,blue,{}\n2,green,images/2.png\n"


def write(folder: Path, members: dict[str | zipfile.ZipInfo, bytes], way: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(folder / "a.zip", "w", way) as made:
        for name, data in members.items():
            made.writestr(name, data)
    return folder / "a.zip"


def link(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr = 0o120777 << 16
    return info


def patched(path: Path, name: str, *, flags: int = 0, method: int | None = None, size: int | None = None) -> Path:
    """Change what a member says of itself, in the directory and before the member."""
    data = bytearray(path.read_bytes())
    for magic, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = -1
        while (start := data.find(magic, start + 1)) >= 0:
            length = 30 if magic[2] == 3 else 46
            if data[start + length : start + length + len(name)] == name.encode():
                data[start + at] |= flags
                if method is not None:
                    struct.pack_into("<H", data, start + at + 2, method)
                if size is not None:
                    struct.pack_into("<I", data, start + at + 16, size)
    path.write_bytes(bytes(data))
    return path


def test_pictures_are_items_and_nothing_else_is(tmp_path: Path) -> None:
    red = picture("red")
    members = {"b/": b"", "b/2.PNG": red, "a.jpg": red, "notes.txt": b"x", "__MACOSX/._a.jpg": b"x", "._a.jpg": b"x"}
    source = read_source(write(tmp_path, members))  # type: ignore[arg-type]
    rows = [Row(1, "b/2.PNG", red, None, {"file": "b/2.PNG"}), Row(2, "a.jpg", red, None, {"file": "a.jpg"})]
    assert list(source) == rows
    assert list(source.rows(1)) == rows[1:]
    assert source.count() == 2


def test_the_outermost_catalogue_says_what_the_items_are(tmp_path: Path) -> None:
    members: dict[str | zipfile.ZipInfo, bytes] = {
        "shop/old/catalog.csv": b"id,title\n9,old\n",
        "shop/catalog.csv": CSV.format(r"images\1.png").encode(),
        "__MACOSX/catalog.csv": b"",
        **{f"shop/images/{n}.png": picture("red") for n in range(3)},
    }
    assert [row.image for row in read_source(write(tmp_path, members)) if isinstance(row, Row)] == [picture("red")] * 3


@pytest.mark.parametrize(
    ("named", "words"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("c:\\1.png", "is an absolute path"),
        ("../1.png", "leads out"),
        ("images/../../1.png", "leads out"),
        ("images/none.png", "is not in the zip file"),
        ("images", "is not in the zip file"),
        ("file:///etc/passwd", "is a file: URL"),
    ],
)
def test_a_cell_that_leads_out_of_the_zip_file_finds_no_picture(tmp_path: Path, named: str, words: str) -> None:
    members = {"1.png": b"secret", "shop/catalog.csv": CSV.format(named).encode()}
    members |= {"shop/images/0.png": b"0", "shop/images/2.png": b"2"}
    first, bad, last = read_source(write(tmp_path, members))  # type: ignore[arg-type]
    assert words in fault(bad)
    assert (first.id, last.id) == ("0", "2")
    assert [row.text for row in (first, bad, last) if isinstance(row, Row)] == ["red", "blue", "green"]


@pytest.mark.parametrize("name", ["/abs/1.png", "../1.png", "a/../../1.png", "..\\1.png"])
def test_a_member_whose_name_leads_out_is_not_read(tmp_path: Path, name: str) -> None:
    first, bad, last = read_source(write(tmp_path, {"0.png": b"0", name: b"1", "2.png": b"2"}))
    assert "is an absolute path" in fault(bad) or "leads out" in fault(bad)
    assert (first.id, bad.id, last.id) == ("0.png", name.replace("\\", "/"), "2.png")


def test_hostile_members_are_not_read_and_stop_nothing(tmp_path: Path) -> None:
    good = {"0.png": b"0" * 50, "9.png": b"9"}
    path = write(tmp_path, {"1.png": b"1" * 50, link("2.png"): b"/etc/passwd", "3.png": b"3", **good})
    patched(path, "1.png", flags=1)
    patched(path, "3.png", method=12)
    encrypted, linked, packed, *rest = read_source(path)
    assert "is encrypted" in fault(encrypted)
    assert "is a link" in fault(linked)
    assert "is compressed in a way" in fault(packed)
    assert {row.id: row.image for row in rest if isinstance(row, Row)} == good


def test_a_damaged_member_is_no_picture(tmp_path: Path) -> None:
    path = write(tmp_path, {"0.png": b"0" * 50, "1.png": b"1" * 50}, zipfile.ZIP_STORED)
    path.write_bytes(path.read_bytes().replace(b"0" * 50, b"0" * 49 + b"1"))
    bad, good = read_source(path)
    assert "CRC" in fault(bad)
    assert isinstance(good, Row)
    assert good.image == b"1" * 50


def test_bombs_are_refused_by_what_they_declare(tmp_path: Path) -> None:
    with pytest.raises(SourceInvalid, match="more than 200 times its own"):
        read_source(write(tmp_path, {"a.png": bytes(20 * 2**20)}))
    noise = b"".join(n.to_bytes(8, "big") for n in range(300_000))
    members = {"a.png": bytes(10 * 2**20), "b.png": b"b", "noise": noise}
    bad, good = read_source(write(tmp_path, members))  # type: ignore[arg-type]
    assert "200 times" in fault(bad)
    assert isinstance(good, Row)
    assert good.image == b"b"


def test_a_bomb_that_declares_less_is_read_no_further(tmp_path: Path) -> None:
    path = patched(write(tmp_path, {"a.png": bytes(2**20), "b.png": b"b"}), "a.png", size=1000)
    bad, good = read_source(path)
    assert "CRC" in fault(bad)  # the checksum is that of more
    assert isinstance(good, Row)
    assert good.image == b"b"


def test_a_picture_over_the_limit_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_PICTURE_BYTES", 10)
    bad, good = read_source(write(tmp_path, {"a.png": b"a" * 11, "b.png": b"b" * 10}))
    assert "has 11 bytes; at most 10" in fault(bad)
    assert isinstance(good, Row)
    assert good.image == b"b" * 10


def test_a_directory_over_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, {f"{n}.png": b"" for n in range(100)})
    monkeypatch.setattr(archive, "MAX_DIRECTORY_BYTES", 4000)
    with pytest.raises(SourceInvalid, match="too many members"):
        read_source(path)


def test_an_encrypted_catalogue_is_refused(tmp_path: Path) -> None:
    path = patched(write(tmp_path, {"catalog.csv": b"id,title\n1,a\n"}), "catalog.csv", flags=1)
    with pytest.raises(SourceInvalid, match="encrypted"):
        read_source(path)


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"xl/workbook.xml": b""}, "Excel workbook"),
        ({"notes.txt": b""}, "without pictures"),
        ({}, "without pictures"),
    ],
)
def test_other_zip_files_are_refused(tmp_path: Path, members: dict[str | zipfile.ZipInfo, bytes], words: str) -> None:
    with pytest.raises(SourceInvalid, match=words):
        read_source(write(tmp_path, members))


def test_a_zip_file_that_is_cut_off_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"a.png": b"a" * 500})
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(SourceInvalid, match="damaged or cut off"):
        read_source(path)
