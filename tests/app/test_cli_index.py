"""`sightline index` on a data folder on which no server runs."""

from pathlib import Path

import pytest

from app.encoders import Encoders
from app.settings import Settings
from indexer.collections import Collections
from indexer.index import approximate, kinds
from indexer.types import NewItem
from tests.app.conftest import Run
from tests.fakes import FakeEncoder
from tests.pictures import picture


@pytest.fixture
def data(tmp_path: Path, encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder on which no server runs."""
    monkeypatch.setattr(Encoders, "__call__", lambda self, name: encoder)
    with Collections(tmp_path / "data", lambda _: encoder) as collections:
        new = [NewItem("a", picture("red"), "red", {}), NewItem("b", None, "blue", {})]
        collections.get("default").upsert(new)
    return tmp_path / "data"


def flip(data: Path, name: str) -> None:
    """One byte in the middle of a file of the segment of texts."""
    [path] = (data / "index").rglob(f"text/*/{name}")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_an_index_that_is_right_is_verified(run: Run, data: Path) -> None:
    ran = run("index", "verify", "--data-dir", data)

    assert (ran.code, ran.out) == (0, "default: 1 image and 2 text vectors, 0 problems\n")
    assert run("index", "verify", "--data-dir", data, "--collection", "none").code == 1


def test_an_index_is_compacted_verified_damaged_and_rebuilt(run: Run, data: Path) -> None:
    compacted = run("index", "compact", "--data-dir", data)
    right = run("index", "verify", "--data-dir", data)
    flip(data, "vectors.f32")
    damaged = run("index", "verify", "--data-dir", data, "--collection", "default")
    rebuilt = run("index", "rebuild", "--data-dir", data)
    again = run("index", "verify", "--data-dir", data)

    assert (compacted.code, compacted.out) == (0, "default: 1 image and 2 text vectors, 0 segments became 2\n")
    assert right.code == 0
    assert damaged.code == 1
    assert damaged.out.splitlines() == [
        "default: 1 image and 2 text vectors, 1 problems",
        "  text vector 3 differs between catalogue and index",
    ]
    assert "1 differences between index and catalogue; `sightline index rebuild`" in damaged.err
    assert (rebuilt.code, rebuilt.out) == (0, "default: 1 image and 2 text vectors, built anew\n")
    assert "Building default" in rebuilt.err
    assert again.code == 0


def test_a_segment_that_cannot_be_used_is_told_once(run: Run, data: Path) -> None:
    run("index", "compact", "--data-dir", data)
    flip(data, "segment.json")

    first, second = (run("index", "verify", "--data-dir", data) for _ in range(2))

    assert (first.code, "is not usable" in first.out) == (1, True)
    assert second.code == 0


def test_an_index_is_tuned(run: Run, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("index", "compact", "--data-dir", data, "--collection", "default")
    flat = run("index", "tune", "--data-dir", data)
    monkeypatch.setattr(kinds, "FLAT_COMPONENTS", 1)
    monkeypatch.setattr(approximate, "FAR", 0)
    run("index", "rebuild", "--data-dir", data)
    tuned = run("index", "tune", "--data-dir", data, "--recall", "0.9")

    assert (flat.code, tuned.code) == (0, 0)
    assert flat.out.splitlines()[1:] == [
        "  image, 1 vectors: flat, which is exact",
        "  text, 2 vectors: flat, which is exact",
    ]
    [_, image, text] = tuned.out.splitlines()
    recall = "hnsw, recall 1.000 of stored queries, 1.000 of other queries; nprobe 1, ef_search 16"
    assert (image, text) == (f"  image, 1 vectors: {recall}", f"  text, 2 vectors: {recall}")
    assert run("index", "verify", "--data-dir", data).code == 0
    assert run("index", "tune", "--data-dir", data, "--recall", "1.5").code == 2


@pytest.mark.parametrize("verb", ["verify", "compact", "rebuild", "tune"])
def test_a_folder_without_a_catalogue_is_refused_and_not_made(run: Run, tmp_path: Path, verb: str) -> None:
    ran = run("index", verb, "--data-dir", tmp_path / "typo")

    assert (ran.code, str(tmp_path / "typo") in ran.err) == (1, True)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("verb", ["verify", "compact", "rebuild", "tune"])
def test_a_folder_that_a_server_has_open_is_refused(run: Run, server_url: str, settings: Settings, verb: str) -> None:
    ran = run("index", verb, "--data-dir", settings.data_dir)

    assert (ran.code, "in use" in ran.err) == (1, True)
