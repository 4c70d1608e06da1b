"""Where the pictures of a catalogue are looked for."""

from pathlib import Path

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, Row, read_source
from tests.indexer.sources.catalogues import fault
from tests.pictures import picture


def row_of(path: Path, cell: str, base_url: str | None = None) -> Row | BadRow:
    """The row of a catalogue with this image cell."""
    path.write_text(f'id,title,image\n1,a,"{cell}"\n')
    [row] = read_source(path, base_url=base_url)
    return row


def image(path: Path, cell: str, base_url: str | None = None) -> object:
    """What the cell comes to."""
    row = row_of(path, cell, base_url)
    assert isinstance(row, Row)
    assert row.image_fault is None
    return row.image


@pytest.mark.parametrize(
    ("base", "cell", "url"),
    [
        ("https://host/dir/catalog.csv", "a.png", "https://host/dir/a.png"),
        ("https://host:8443/dir/catalog.csv?sig=x", "images/a.png", "https://host:8443/dir/images/a.png"),
        ("https://host/dir/catalog.csv", "../b/./a.png", "https://host/b/a.png"),
        ("https://host/dir/catalog.csv", "a b é#1.png", "https://host/dir/a%20b%20%C3%A9%231.png"),
        ("https://host/dir/catalog.csv", "a%20b.png?v=1", "https://host/dir/a%20b.png?v=1"),
        ("https://host/catalog.csv", "images\\a.png", "https://host/images/a.png"),
        ("https://host", "a.png", "https://host/a.png"),
        ("s3://bucket/dir/catalog.csv", "a b#1.png", "s3://bucket/dir/a b#1.png"),
        ("s3://bucket/dir/catalog.csv", "../a.png", "s3://bucket/a.png"),
        ("s3://bucket/catalog.csv", "a.png", "s3://bucket/a.png"),
        ("https://host/dir/catalog.csv", "HTTP://other/a.png", "HTTP://other/a.png"),
        ("https://host/dir/catalog.csv", "s3://other/a.png", "s3://other/a.png"),
        ("https://host/dir/catalog.csv", "data:image/png;base64,AA==", "data:image/png;base64,AA=="),
        ("https://host/dir/catalog.csv", "", None),
    ],
)
def test_relative_names_are_joined_to_the_url(tmp_path: Path, base: str, cell: str, url: str | None) -> None:
    assert image(tmp_path / "download", cell, base) == url


@pytest.mark.parametrize("base", ["https://host/dir/catalog.csv", "s3://bucket/dir/catalog.csv"])
@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("/etc/passwd", "is an absolute path"),
        ("//other/a.png", "is an absolute path"),
        ("\\\\other\\a.png", "is an absolute path"),
        ("C:\\a.png", "is an absolute path"),
        ("file:///etc/passwd", "is a file: URL"),
        ("FILE:a.png", "is a file: URL"),
        ("../../a.png", "leads out"),
        ("a/../../../a.png", "leads out"),
        ("ftp://host/a.png", "has a scheme that is not read"),
        ("javascript://x", "has a scheme that is not read"),
        ("a\0b.png", "is not a path"),
        ("a\nb.png", "is not a path"),
    ],
)
def test_nothing_leads_out_of_the_host_or_bucket_or_to_the_disk(
    tmp_path: Path, base: str, cell: str, words: str
) -> None:
    row = row_of(tmp_path / "download", cell, base)
    assert row == Row(1, "1", None, "a", {}, image_fault=fault(row))
    assert words in fault(row)


@pytest.mark.parametrize("base", ["file:///dir/catalog.csv", "/dir/catalog.csv", "ftp://host/x", "https:///x", ""])
def test_only_urls_that_are_fetched_can_be_the_base(tmp_path: Path, base: str) -> None:
    (tmp_path / "a.csv").write_text("id,title\n1,a\n")
    if base:
        with pytest.raises(SourceInvalid, match="is not an http"):
            read_source(tmp_path / "a.csv", base_url=base)
    else:
        assert read_source(tmp_path / "a.csv", base_url=base).name == str(tmp_path / "a.csv")


def test_the_name_shows_no_secrets(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,title\n1,a\n")
    source = read_source(tmp_path / "a.csv", base_url="https://user:secret@host/dir/catalog.csv?signature=secret")
    assert source.name == "https://host/dir/catalog.csv"


def test_the_suffix_of_the_url_counts_where_the_content_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "download").write_text('nonsense\n{"id": "1", "title": "a"}\n')
    bad, good = read_source(tmp_path / "download", base_url="https://host/catalog.jsonl?x=1")
    assert isinstance(bad, BadRow)
    assert isinstance(good, Row)


def test_files_are_found_beside_the_catalogue(tmp_path: Path) -> None:
    (tmp_path / "shop" / "images").mkdir(parents=True)
    (tmp_path / "shop" / "images" / "a.png").write_bytes(picture("red"))
    (tmp_path / "secret.png").write_bytes(b"x")
    catalogue, found = tmp_path / "shop" / "catalog.csv", (tmp_path / "shop" / "images" / "a.png").resolve()
    assert image(catalogue, "images/a.png") == found
    assert image(catalogue, "images\\a.png") == found
    assert image(catalogue, str(found)) == found
    for cell in ("../secret.png", "..\\secret.png", "file:images/a.png", "images"):
        assert fault(row_of(catalogue, cell))


def test_a_picture_folder_keeps_its_order_and_leaves_out_what_is_no_picture(tmp_path: Path) -> None:
    for name in ("b/1.png", "b.png", "a/z.png", "a/._z.png", "B.png", "a-b/1.png", "a/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path)
    by_parts = sorted(path for path in tmp_path.rglob("*.png") if not path.name.startswith("."))
    assert [row.id for row in read_source(tmp_path)] == [path.relative_to(tmp_path).as_posix() for path in by_parts]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\xff\xd8\xff\xe0", "is a picture"),
        (b"BZh9", "use gzip or zstd"),
        (b"\xd0\xcf\x11\xe0", "save it as CSV"),
        (b"Rar!", "use zip or tar"),
    ],
)
def test_other_files_are_named(tmp_path: Path, data: bytes, words: str) -> None:
    (tmp_path / "a.csv").write_bytes(data + b"\0" * 100)
    with pytest.raises(SourceInvalid, match=words):
        read_source(tmp_path / "a.csv")
