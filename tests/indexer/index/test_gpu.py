"""Segments on a GPU, which an index of float16 vectors on the CPU stands for: it finds what FAISS's own would."""

from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from numpy.typing import NDArray

from indexer.index import gpu as gpus
from indexer.index.gpu import Gpu
from indexer.index.segment import Segment
from indexer.index.selection import ItemSet
from models.sessions import Device
from tests.indexer.index.segments import pictures, texts, write

COUNT = 5000


class GpuIndexFlatIP:
    """What FAISS has of this name: no selection, and no more than 2,048 rows for a query."""

    searches = 0

    def __init__(self, resources: object, dimension: int, config: Any) -> None:
        assert config.useFloat16
        self._index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)

    def add(self, vectors: NDArray[np.float32]) -> None:
        self._index.add(vectors)

    def search(self, queries: NDArray[np.float32], k: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        assert k <= 2048
        type(self).searches += 1
        return self._index.search(queries, k)


class FullGpu(GpuIndexFlatIP):
    def add(self, vectors: NDArray[np.float32]) -> None:
        raise RuntimeError("Error in virtual void* faiss::gpu::StandardGpuResourcesImpl::allocMemory")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Gpu:
    for name, stand_in in {
        "get_num_gpus": lambda: 1,
        "StandardGpuResources": object,
        "GpuIndexFlatConfig": type("Config", (), {}),
        "GpuIndexFlatIP": GpuIndexFlatIP,
    }.items():
        monkeypatch.setattr(faiss, name, stand_in, raising=False)
    found = Gpu.find("auto")
    assert found
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert write(tmp_path / "segment", "flat", pictures(COUNT))
    return tmp_path / "segment"


@pytest.mark.parametrize("hidden", [0, 40, COUNT // 3, COUNT - 100])
@pytest.mark.parametrize("k", [1, 10, 2000, COUNT])
def test_it_finds_what_a_scan_finds(gpu: Gpu, folder: Path, hidden: int, k: int) -> None:
    copied, scanned = (Segment.open(folder, some)[0] for some in (gpu, None))
    gone = np.random.default_rng(0).permutation(COUNT)[:hidden] + 1
    queries = np.concatenate([texts(20), pictures(20, seed=4)])
    found = []
    for segment in (copied, scanned):
        segment.hide(np.sort(gone))
        view = segment.view()
        found.append(view.search(queries, k, view.select(None)))
    np.testing.assert_array_equal(found[0].similarities, found[1].similarities)
    assert np.mean(found[0].rows == found[1].rows) > 0.999  # equal scores may change places


def test_the_cpu_searches_where_few_are_selected_or_much_is_asked_for(gpu: Gpu, folder: Path) -> None:
    view = Segment.open(folder, gpu)[0].view()
    few = ItemSet(1, np.arange(COUNT) % 10 == 0)
    before = GpuIndexFlatIP.searches
    for items, k, used in ((None, 10, 1), (few, 10, 1), (None, 3000, 1), (None, 100, 2)):
        found = view.search(texts(3), k, view.select(items))
        assert found.rows.min() >= 0
        assert items is None or np.all(found.rows % 10 == 0)
        assert GpuIndexFlatIP.searches - before == used


def test_the_cpu_searches_where_the_gpu_has_no_room(
    gpu: Gpu, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(faiss, "GpuIndexFlatIP", FullGpu)
    view = Segment.open(folder, gpu)[0].view()
    assert "the GPU has no room" in caplog.text
    expected = Segment.open(folder)[0].view().search(texts(3), 10, view.select(None))
    np.testing.assert_array_equal(view.search(texts(3), 10, view.select(None)).rows, expected.rows)


@pytest.mark.parametrize(("device", "warned"), [("cpu", False), ("auto", False), ("cuda", True)])
def test_without_a_gpu_the_cpu_searches(
    device: Device, warned: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gpus.faiss, "get_num_gpus", lambda: 0)
    assert Gpu.find(device) is None
    assert ("finds no GPU" in caplog.text) == warned
