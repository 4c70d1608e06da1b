"""Building segments that are not flat: stopped, damaged, tuned anew."""

import json
import shutil
import threading
from itertools import pairwise
from pathlib import Path

import faiss
import numpy as np
import pytest

from indexer.index import approximate, graph, ivf
from indexer.index.approximate import Approximate
from indexer.index.kinds import FLAT_COMPONENTS, IndexSetting, Kind, choose_kind
from indexer.index.mapping import VectorFile, checksum
from indexer.index.segment import Segment
from indexer.index.selection import Selection
from indexer.index.tuning import Tuning, cheapest, ladder, sample
from tests.indexer.index.segments import DIMENSION, build, pictures, texts, write

MUCH, LITTLE = 2**40, 2**20


@pytest.mark.parametrize(
    ("setting", "components", "memory_bytes", "kind"),
    [
        ("auto", FLAT_COMPONENTS - 512, MUCH, "flat"),
        ("auto", FLAT_COMPONENTS, MUCH, "auto"),
        ("auto", FLAT_COMPONENTS, LITTLE, "ivf"),
        ("hnsw", FLAT_COMPONENTS - 512, MUCH, "flat"),
        ("hnsw", FLAT_COMPONENTS, LITTLE, "hnsw"),
        ("ivf", FLAT_COMPONENTS, MUCH, "ivf"),
        ("flat", FLAT_COMPONENTS, MUCH, "flat"),
    ],
)
def test_the_kind_follows_size_memory_and_setting(
    setting: IndexSetting, components: int, memory_bytes: int, kind: IndexSetting
) -> None:
    assert choose_kind(setting, components // 512, 512, memory_bytes) == kind


class StopAt(threading.Event):
    """Set from the n-th time on that it is asked."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.left = times

    def is_set(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("kind", ["ivf", "hnsw"])
def test_a_stopped_build_leaves_nothing(tmp_path: Path, kind: Kind) -> None:
    vectors, times = pictures(5000), 0
    while not write(tmp_path / "segment", kind, vectors, stop=StopAt(times)):
        assert list(tmp_path.iterdir()) == []
        times += 1
    # Between the blocks of the columns, the iterations of k-means, and the blocks of the lists (and of the graph).
    assert times == 5 + ivf.ITERATIONS + (4 if kind == "hnsw" else 2)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segment with all files, to be copied."""
    folder = tmp_path_factory.mktemp("built") / "segment"
    assert write(folder, "hnsw", pictures(500))
    return folder


@pytest.mark.parametrize("name", ["ivf.faiss", "hnsw.faiss", "tuning.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "missing"])
def test_a_damaged_segment_is_not_opened(built: Path, tmp_path: Path, name: str, damage: str) -> None:
    shutil.copytree(built, tmp_path / "segment")
    path = tmp_path / "segment" / name
    data = bytearray(path.read_bytes())
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    else:
        data[0] ^= 1
        path.write_bytes(data)
    with pytest.raises((OSError, ValueError, TypeError)):
        Segment.open(tmp_path / "segment")


@pytest.mark.parametrize("change", [{"nprobe": 0}, {"candidates": -1}, {"ef_search": 0}, {"more": 1}])
def test_widths_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, int]) -> None:
    Tuning(0.98, {"stored": 1.0}, 4, 200, 16).write(tmp_path)
    path = tmp_path / "tuning.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises((ValueError, TypeError)):
        Tuning.read(tmp_path)


def test_a_graph_is_built_where_lists_must_be_read_far(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vectors without clusters are in no list more than in others."""
    monkeypatch.setattr(approximate, "FAR", 1000 * DIMENSION)
    rng = np.random.default_rng(0)
    scattered = rng.normal(size=(6000, DIMENSION)).astype(np.float16).astype(np.float32)
    clusters = np.repeat(scattered[:60], 100, axis=0)
    clusters += 0.01 * rng.normal(size=clusters.shape)
    clusters = clusters.astype(np.float16).astype(np.float32)
    for vectors, kind in ((scattered, "hnsw"), (clusters, "ivf")):
        assert write(tmp_path / kind, "auto", vectors, others=vectors[::50] + 0.02)
        built = Segment.open(tmp_path / kind)[0].approximate
        assert built
        assert built.kind == kind


def put(folder: Path, name: str, data: bytes) -> None:
    """Replace a file of a segment, and its sum."""
    (folder / name).write_bytes(data)
    header = json.loads((folder / "segment.json").read_text())
    header["sums"][name] = checksum(folder / name)
    (folder / "segment.json").write_text(json.dumps(header))


@pytest.mark.parametrize(("name", "count"), [("ivf.faiss", 501), ("hnsw.faiss", 500), ("hnsw.faiss", 501)])
def test_files_of_other_vectors_are_told_by_verify(built: Path, tmp_path: Path, name: str, count: int) -> None:
    """Their sums are right: they were built wrong, or put there."""
    shutil.copytree(built, tmp_path / "own")
    build(tmp_path / "other", "hnsw", pictures(count, seed=3))
    put(tmp_path / "own", name, (tmp_path / "other" / name).read_bytes())

    segment, _ = Segment.open(tmp_path / "own")

    assert segment.approximate
    assert len(list(segment.approximate.problems())) == 1


def test_vectors_of_an_odd_dimension_have_codes(tmp_path: Path) -> None:
    vectors = np.ascontiguousarray(pictures(3000)[:, :47])
    assert write(tmp_path / "segment", "ivf", vectors, others=vectors[:20])
    lists = ivf.Ivf.open(tmp_path / "segment")
    found = lists.candidates(vectors[:100], 50, Selection(None, len(vectors)), lists.lists)
    assert np.mean([number in rows for number, rows in enumerate(found)]) > 0.95


@pytest.mark.parametrize("vector", [pictures(1), np.eye(1, DIMENSION)], ids=["any", "just its centroid"])
def test_equal_vectors_are_found_although_their_codes_tell_nothing_apart(tmp_path: Path, vector: np.ndarray) -> None:
    vectors = np.repeat(vector, 500, axis=0).astype(np.float32)
    assert write(tmp_path / "segment", "ivf", vectors, others=vectors[:20])
    view = Segment.open(tmp_path / "segment")[0].view()
    found = view.search(vectors[:3], 500, view.select(None))
    assert [sorted(rows.tolist()) for rows in found.rows] == [list(range(500))] * 3


def test_neighbours_of_a_dense_list_are_told_apart(tmp_path: Path) -> None:
    """Their codes are of what they differ by from its centroid, which is little of each vector."""
    rng = np.random.default_rng(4)
    near = np.repeat(pictures(20), 250, axis=0) + 0.02 * rng.normal(size=(5000, DIMENSION))
    near = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float16).astype(np.float32)
    assert write(tmp_path / "segment", "ivf", near, others=near[:20])
    lists = ivf.Ivf.open(tmp_path / "segment")

    found = lists.candidates(near[::50], 50, Selection(None, len(near)), lists.lists)

    best = np.argsort(near[::50] @ near.T, axis=1)[:, -5:]
    assert np.mean([np.isin(right, own).mean() for own, right in zip(found, best, strict=True)]) > 0.5


def test_lists_of_one_bit_codes_are_searched_as_before(tmp_path: Path) -> None:
    """Earlier versions built them."""
    vectors = pictures(3000)
    build(tmp_path / "segment", "ivf", vectors)
    quantizer = faiss.IndexFlatIP(DIMENSION)
    quantizer.add(vectors[::50])
    index = faiss.IndexIVFRaBitQFastScan(quantizer, DIMENSION, 60, faiss.METRIC_INNER_PRODUCT)
    index.train(vectors)
    index.add(vectors)
    put(tmp_path / "segment", "ivf.faiss", faiss.serialize_index(index).tobytes())

    approximate = Segment.open(tmp_path / "segment")[0].approximate

    assert approximate
    assert list(approximate.problems()) == []
    found = approximate.search(vectors[:9], 10, Selection(None, len(vectors)))
    assert found
    assert found.rows[:, 0].tolist() == list(range(9))


def test_a_row_that_is_in_two_lists_is_told(tmp_path: Path) -> None:
    segment = build(tmp_path / "segment", "ivf", pictures(500))
    index = faiss.read_index(str(tmp_path / "segment" / ivf.FILE))
    lists = index.invlists
    full = next(number for number in range(index.nlist) if lists.list_size(number) > 1)
    faiss.rev_swig_ptr(lists.get_ids(full), lists.list_size(full))[0] += 1
    assert ivf.Ivf(index).problem(segment.view().rows.vectors) == "its lists do not hold each of its vectors once"


def test_a_higher_target_widens_the_search_and_is_kept(tmp_path: Path) -> None:
    segment = build(tmp_path / "segment", "hnsw", pictures(6000))
    assert segment.approximate
    queries = sample(VectorFile(tmp_path / "segment" / "vectors.f32", DIMENSION), {"other": texts(100)})
    low, high = (segment.approximate.tune(queries, target) for target in (0.7, 0.99))
    assert low.nprobe < high.nprobe
    assert low.ef_search
    assert high.ef_search
    assert low.ef_search <= high.ef_search
    assert min(high.recall.values()) >= 0.99
    high.write(tmp_path / "segment")
    opened = Segment.open(tmp_path / "segment")[0].approximate
    assert opened
    assert opened.tuning == high


def test_without_vectors_of_the_other_modality_a_segment_is_tuned_for_queries_apart(tmp_path: Path) -> None:
    assert write(tmp_path / "segment", "hnsw", pictures(6000), others=np.empty((0, DIMENSION), dtype=np.float32))
    tuning = Tuning.read(tmp_path / "segment")
    assert set(tuning.recall) == {"stored", "other"}


def test_widths_are_tried_from_the_cheapest_on() -> None:
    assert ladder(1, 1) == [1]
    steps = ladder(16, 2048)
    assert (steps[0], steps[-1]) == (16, 2048)
    assert all(low < high <= 1.3 * low for low, high in pairwise(steps))
    assert cheapest([1, 2, 4, 8], lambda width: {"stored": width / 4, "other": 1.0}, 0.5) == (
        4,
        {"stored": 1.0, "other": 1.0},
    )
    assert cheapest([1, 2], lambda width: {"stored": 0.1}, 0.5) == (2, {"stored": 0.1})


def test_the_graph_takes_no_more_memory_than_is_reckoned_with(tmp_path: Path) -> None:
    build(tmp_path / "segment", "hnsw", pictures(5000))
    size = (tmp_path / "segment" / graph.FILE).stat().st_size
    assert 0.8 * size < 5000 * (2 * DIMENSION + graph.ROW_BYTES) < 1.3 * size


def test_a_segment_that_faiss_cannot_read_is_refused(tmp_path: Path) -> None:
    build(tmp_path / "segment", "ivf", pictures(100))
    (tmp_path / "segment" / ivf.FILE).write_bytes(b"no index")
    sums = {ivf.FILE: checksum(tmp_path / "segment" / ivf.FILE)}
    with pytest.raises(ValueError, match="cannot be read"):
        Approximate.open(tmp_path / "segment", pictures(100), sums)
