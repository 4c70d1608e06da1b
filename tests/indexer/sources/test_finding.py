"""What a path stands for, and whether it changed."""

import os
from pathlib import Path

import pytest

from indexer.errors import SourceInvalid
from indexer.sources import read_source, version


def test_a_catalogue_in_a_folder_goes_before_its_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    (tmp_path / "a.tar").write_bytes(b"x")
    (tmp_path / "catalog.jsonl").write_text('{"id": "1", "title": "a"}')
    assert read_source(tmp_path).name == str(tmp_path / "catalog.jsonl")
    (tmp_path / "catalog.csv").write_text("id,title\n1,a\n")
    assert read_source(tmp_path).name == str(tmp_path / "catalog.csv")


def test_the_version_of_a_folder_is_that_of_its_names_or_of_its_catalogue(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"x")
    pictures = version(tmp_path)
    (tmp_path / "notes.txt").write_bytes(b"x")
    assert version(tmp_path) == pictures
    (tmp_path / "b.png").write_bytes(b"x")
    assert version(tmp_path) != pictures
    (tmp_path / "catalog.csv").write_text("id,title\n1,a\n")
    catalogue = version(tmp_path)
    (tmp_path / "c.png").write_bytes(b"x")
    assert version(tmp_path) == catalogue == version(tmp_path / "catalog.csv")
    os.utime(tmp_path / "catalog.csv", ns=(1, 1))
    assert version(tmp_path) != catalogue


@pytest.mark.parametrize("name", ["none.csv", "x" * 300, "a\0b", "fifo"])
def test_what_is_not_there_is_refused_with_words(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "fifo")
    for open_ in (read_source, version):
        with pytest.raises(SourceInvalid):
            open_(tmp_path / name)


def test_names_that_are_no_unicode_are_bad_rows(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    (tmp_path / "z.png").write_bytes(b"x")
    bad, good = read_source(tmp_path)
    bad.id.encode()
    assert "not valid Unicode" in bad.detail  # type: ignore[union-attr]
    assert good.id == "z.png"
    assert version(tmp_path)
