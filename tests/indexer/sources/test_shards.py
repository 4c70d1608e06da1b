"""Tar shards as WebDataset has them, and as an attacker does."""

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, Mapping, Row, read_source, shards
from tests.indexer.sources.catalogues import add, fault
from tests.pictures import picture


def write(path: Path, *members: tuple[str, bytes] | tarfile.TarInfo, format_: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format_) as tar:
        for member in members:
            tar.addfile(member) if isinstance(member, tarfile.TarInfo) else add(tar, *member)
    return path


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_a_sample_is_its_members(tmp_path: Path) -> None:
    path = write(
        tmp_path / "a.tar",
        member("train", tarfile.DIRTYPE),
        ("train/001.jpg", b"jpg"),
        ("train/001.json", json.dumps({"sku": "x1", "caption": "json", "size": {"eu": 1}}).encode()),
        ("train/001.txt", "Café".encode()),
        ("train/001.cls", b"7\n"),
        ("train/001.seg.bin", b"ignored"),
        ("train/._001.jpg", b"of macOS"),
        ("README", b"no key"),
        ("train/002.png", b"png"),
        ("train/002.JSON", b'{"sku": 2}'),
        ("a.b/003.caption", b"only text"),
    )
    source = read_source(path)
    assert source.mapping == Mapping("sku", "__image__", "__text__", ("caption", "size", "cls"))
    first, second, bad = source
    assert first == Row(1, "x1", b"jpg", "Café", {"caption": "json", "size": {"eu": 1}, "cls": 7})
    assert second == Row(2, "2", b"png", None, {})
    assert isinstance(bad, BadRow)  # it has no sku
    keys = read_source(path, Mapping("__key__", "__image__", "__text__", ()))
    assert [row.id for row in keys] == ["train/001", "train/002", "a.b/003"]


def test_without_json_and_texts_the_key_is_the_id(tmp_path: Path) -> None:
    source = read_source(write(tmp_path / "a.tar", ("1.jpg", b"a"), ("2.jpg", b"b")))
    assert source.mapping == Mapping("__key__", "__image__", None, ())
    assert list(source) == [Row(1, "1", b"a", None, {}), Row(2, "2", b"b", None, {})]


@pytest.mark.parametrize(
    "bad",
    [
        member("1.json", tarfile.SYMTYPE, "/etc/passwd"),
        member("1.txt", tarfile.LNKTYPE, "0.jpg"),
        ("/abs/1.txt", b"x"),
        ("a/../../1.txt", b"x"),
        ("1.json", b"{"),
        ("1.json", b"[]"),
        ("1.txt", b"caf\xe9"),
        ("x" * 300 + ".jpg", b"x"),
    ],
)
def test_a_bad_member_makes_a_bad_row_and_stops_nothing(
    tmp_path: Path, bad: tarfile.TarInfo | tuple[str, bytes]
) -> None:
    path = write(tmp_path / "a.tar", ("0.jpg", b"a"), bad, ("2.jpg", b"b"))
    source = read_source(path)
    first, middle, last = source
    assert isinstance(middle, BadRow)
    assert (first.id, last.id, source.count()) == ("0", "2", 3)
    assert list(source.rows(2)) == [last]


@pytest.mark.parametrize(
    "bad",
    [
        member("1.jpg", tarfile.SYMTYPE, "/etc/passwd"),
        member("1.jpg", tarfile.LNKTYPE, "0.jpg"),
        member("1.jpg", tarfile.CHRTYPE),
        member("1.jpg", tarfile.FIFOTYPE),
        member("1.jpg", b"Z"),
    ],
)
def test_a_picture_that_is_no_plain_file_leaves_its_sample_the_text(tmp_path: Path, bad: tarfile.TarInfo) -> None:
    alone, beside = read_source(write(tmp_path / "a.tar", bad, ("1.txt", b"red"), ("2.jpg", b"b")))
    assert alone == Row(1, "1", None, "red", {}, image_fault=fault(alone))
    assert "is a link, a device" in fault(alone)
    assert isinstance(beside, Row)
    [other] = read_source(write(tmp_path / "b.tar", bad, ("1.png", b"png"), ("1.txt", b"red")))
    assert other == Row(1, "1", b"png", "red", {})


@pytest.mark.parametrize("name", ["/abs/1", "a/../../1"])
def test_a_picture_whose_name_leads_out_leaves_its_sample_the_text(tmp_path: Path, name: str) -> None:
    path = write(tmp_path / "a.tar", (f"{name}.jpg", b"x"), ("1.txt", b"red"))
    outside, inside = read_source(path)
    assert "leads out of the archive" in fault(outside)
    assert inside == Row(2, "1", None, "red", {})


def test_members_over_the_limit_are_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "MAX_PICTURE_BYTES", 1000)
    monkeypatch.setattr(shards, "MAX_TEXT_BYTES", 100)
    path = write(tmp_path / "a.tar", ("1.jpg", b"x" * 1001), ("2.txt", b"x" * 101), ("3.jpg", b"x" * 1000))
    found = list(read_source(path))
    assert [type(row) for row in found] == [Row, BadRow, Row]
    assert "at most 1,000" in fault(found[0])
    assert "at most 100 " in found[1].detail  # type: ignore[union-attr]


def test_a_header_that_is_too_long_is_not_read(tmp_path: Path) -> None:
    """A name, or attributes, of gigabytes compress to nothing, and `tarfile` would hold them."""
    long = tarfile.TarInfo("b.jpg")
    long.pax_headers = {"comment": "x" * 300_000}
    for format_, hostile in ((tarfile.PAX_FORMAT, long), (tarfile.GNU_FORMAT, member("x" * 300_000 + ".jpg"))):
        members = (("1.jpg", b"a"), ("2.jpg", b"a"), hostile, ("4.jpg", b"c"))
        source = read_source(write(tmp_path / "a.tar", *members, format_=format_))
        # The second sample may have had more members.
        with pytest.raises(SourceInvalid, match=r"up to row 1 only.*header is too long"):
            list(source)


def test_headers_for_all_members_do_not_add_up(tmp_path: Path) -> None:
    """Each is small; one after the other without a member between them they would fill the memory."""
    block = tarfile.TarInfo.create_pax_global_header({"comment": "x" * 10_000})
    data = block * 100 + member("a.jpg").tobuf() + b"\0" * 1024
    (tmp_path / "a.tar").write_bytes(member("0.jpg").tobuf() + data)
    with pytest.raises(SourceInvalid, match="header is too long"):
        list(read_source(tmp_path / "a.tar"))


def test_a_size_that_leads_backwards_does_not_go_round(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.pax_headers = {"size": "-1536"}
    (tmp_path / "a.tar").write_bytes(info.tobuf(tarfile.PAX_FORMAT) + b"\0" * 1024)
    with pytest.raises(SourceInvalid):
        list(read_source(tmp_path / "a.tar"))


def test_a_damaged_header_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tar", ("1.jpg", b"a"), ("2.jpg", b"b"), ("3.jpg", b"c"))
    data = bytearray(path.read_bytes())
    data[1024 + 10] ^= 0xFF
    path.write_bytes(bytes(data))
    with pytest.raises(SourceInvalid, match="damaged"):
        list(read_source(path))


def test_a_bomb_of_a_member_is_skipped_without_being_held(tmp_path: Path) -> None:
    info = tarfile.TarInfo("1.jpg")
    info.size = 200 * 2**20
    with gzip.open(tmp_path / "a.tar.gz", "wb", compresslevel=1) as file:
        file.write(info.tobuf())
        for _ in range(200):
            file.write(bytes(2**20))
        file.write(member("2.jpg").tobuf() + bytes(1024))
    bad, good = read_source(tmp_path / "a.tar.gz")
    assert "at most 67,108,864" in fault(bad)
    assert isinstance(good, Row)


def test_a_pattern_stands_for_all_its_files(tmp_path: Path) -> None:
    for n in (8, 9, 10):
        write(tmp_path / f"s-{n:02}.tar", (f"{n}.jpg", picture("red")))
    assert [row.id for row in read_source(tmp_path / "s-{08..10}.tar")] == ["8", "9", "10"]
    with pytest.raises(SourceInvalid, match=r"stands for s-11\.tar, which does not exist"):
        read_source(tmp_path / "s-{08..11}.tar")
    for hostile in ("s-{0..999999999}.tar", "s-{5..1}.tar", "s-{0..99999}{0..99999}.tar"):
        with pytest.raises(SourceInvalid, match="stands for no files"):
            read_source(tmp_path / hostile)


def test_a_tar_file_without_samples_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    tarfile.open(fileobj=buffer, mode="w").close()
    (tmp_path / "a.tar").write_bytes(buffer.getvalue())
    with pytest.raises(SourceInvalid, match="holds no samples"):
        read_source(tmp_path / "a.tar")
