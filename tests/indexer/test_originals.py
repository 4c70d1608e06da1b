"""Pictures as they came: whole or not at all, and removed in nobody's way."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from indexer.errors import StorageUnavailable
from indexer.stores import originals as module
from indexer.stores.originals import Originals


class Killed(BaseException):
    """`kill -9`, as far as a test can play it."""


def by_hash(*contents: bytes) -> dict[str, bytes]:
    return {hashlib.sha256(content).hexdigest(): content for content in contents}


def store(originals: Originals, contents: dict[str, bytes]) -> None:
    with originals.stored(contents):
        pass


def held(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "originals"


def test_what_a_killed_process_left_half_goes_at_the_next_start(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill(*_: object) -> None:
        raise Killed

    whole, half = by_hash(b"whole"), by_hash(b"half")
    store(Originals(folder), whole)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", kill)
        with pytest.raises(Killed):
            store(Originals(folder), half)
    assert any(name.endswith(".partial") for name in held(folder))
    reopened = Originals(folder)
    assert held(folder) == set(whole)
    store(reopened, half)
    assert held(folder) == {*whole, *half}


def test_a_picture_that_cannot_be_stored_leaves_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageUnavailable, match="No space left"):
            store(Originals(folder), by_hash(b"too much"))
    assert held(folder) == set()


def test_pictures_of_older_data_folders_are_used_where_they_lie(folder: Path) -> None:
    [(sha256, data)] = by_hash(b"older").items()
    deeper = folder / sha256[:2] / sha256[2:4] / sha256
    deeper.parent.mkdir(parents=True)
    deeper.write_bytes(data)
    originals = Originals(folder)
    assert originals.has(sha256)
    assert originals.read(sha256) == data
    store(originals, {sha256: data})
    assert list(folder.rglob(sha256)) == [deeper]
    originals.remove([sha256], lambda _: set())
    assert held(folder) == set()
    store(originals, {sha256: data})
    assert list(folder.rglob(sha256)) == [folder / sha256[:2] / sha256]


def test_while_many_are_removed_others_can_be_stored(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_REMOVED", 2)
    originals, old, new = Originals(folder), by_hash(*map(bytes, range(1, 6))), by_hash(b"new")
    used, *loose = old
    store(originals, old)
    looked_at: list[str] = []

    def referenced(candidates: set[str]) -> set[str]:
        assert len(candidates) <= 2
        looked_at.extend(candidates)
        return candidates & {used}

    def candidates() -> Iterator[str]:
        yield from [used, *loose[:3]]
        store(originals, new)
        yield loose[3]

    originals.remove(candidates(), referenced)
    assert sorted(looked_at) == sorted(old)
    assert held(folder) == {used, *new}
