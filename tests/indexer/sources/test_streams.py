"""Files that give much and hold little: each ends, and can be ended."""

import gzip
import io
import math
import tarfile
from pathlib import Path

import pyarrow as pa
import pytest

from indexer.errors import SourceInvalid
from indexer.sources import BadRow, read_source, streams
from tests.indexer.sources.catalogues import FORMATS, products

HEAD = b"id,title\n1,red\n"
HOLLOW = {
    "blank lines.csv": HEAD + b"\n" * 2**20,
    "blank lines.jsonl": b'{"id": "1", "title": "red"}\n' + b"\n" * 2**20,
    "one line.csv": HEAD + b"x" * 2**20,
    "one line.jsonl": b'{"id": "1", "title": "red"}\n' + b"x" * 2**20,
}
"""Nothing of it makes rows."""


class Ended(Exception):
    """What a job raises that is to end."""


class Ending:
    """A check that lets some blocks pass once it counts them."""

    def __init__(self, blocks: float = math.inf) -> None:
        self.left = blocks

    def __call__(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Ended


def hollow_tar(path: Path, mode: str) -> None:
    """A text, and a member that nobody reads, before the next one."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, size in (("1.txt", 3), ("1.weights", 2**20), ("2.txt", 3)):
            member = tarfile.TarInfo(name)
            member.size = size
            tar.addfile(member, io.BytesIO(bytes(size)))


@pytest.mark.parametrize("name", FORMATS)
def test_each_block_that_is_read_is_checked(tmp_path: Path, name: str) -> None:
    path, ending = FORMATS[name](tmp_path, products()), Ending(10_000)
    assert len(list(read_source(path, check=ending))) == 50
    for blocks in range(int(10_000 - ending.left)):
        with pytest.raises(Ended):
            list(read_source(path, check=Ending(blocks)))


@pytest.mark.parametrize("name", HOLLOW)
@pytest.mark.parametrize("way", ["", ".gz"])
def test_what_gives_no_rows_can_be_ended(tmp_path: Path, name: str, way: str) -> None:
    path, ending = tmp_path / (name + way), Ending()
    path.write_bytes(gzip.compress(HOLLOW[name]) if way else HOLLOW[name])
    source = read_source(path, check=ending)
    for read in (source.count, lambda: list(source)):
        ending.left = 3
        with pytest.raises(Ended):
            read()


def test_what_is_skipped_of_a_compressed_tar_file_can_be_ended(tmp_path: Path) -> None:
    hollow_tar(tmp_path / "a.tar.gz", "w:gz")
    ending = Ending()
    source = read_source(tmp_path / "a.tar.gz", check=ending)
    assert [row.id for row in source] == ["1", "2"]
    for read in (source.count, lambda: list(source)):
        ending.left = 3
        with pytest.raises(Ended):
            read()


@pytest.mark.parametrize("name", HOLLOW)
@pytest.mark.parametrize("way", ["gz", "zst"])
def test_a_file_that_grows_beyond_all_measure_breaks_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, way: str
) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 2**18)
    pack = gzip.compress if way == "gz" else lambda data: pa.Codec("zstd").compress(data, asbytes=True)
    path = tmp_path / f"{name}.{way}"
    path.write_bytes(pack(HOLLOW[name]))
    with pytest.raises(SourceInvalid, match="more than 200 times"):
        list(read_source(path))
    with pytest.raises(SourceInvalid, match="more than 200 times"):
        read_source(path).count()


def test_a_tar_file_that_grows_beyond_all_measure_breaks_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 2**18)
    hollow_tar(tmp_path / "a.tar.gz", "w:gz")
    with pytest.raises(SourceInvalid, match="more than 200 times"):
        list(read_source(tmp_path / "a.tar.gz"))


def test_a_text_that_repeats_itself_is_no_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FREE_BYTES", 0)
    lines = "".join(f"p{n},red dress,Puma,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,0.0\n" for n in range(50_000))
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress(f"id,title,brand{',' * 30}\n{lines}".encode()))
    assert sum(not isinstance(row, BadRow) for row in read_source(path)) == 50_000
