"""Quality reports against oracles that look at every pair one by one."""

import itertools
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import CollectionNotFound
from indexer.index import vector_index
from indexer.index.segment import Segment
from indexer.index.snapshot import Snapshot
from indexer.quality import neighbours
from indexer.quality import reports as quality_reports
from indexer.quality.alignment import DEVIATIONS, MIN_PAIRS, align, describe, misaligned_below
from indexer.quality.duplicates import Forest, group_duplicates
from indexer.quality.neighbours import first_equals, near_pairs
from indexer.quality.report import Quality
from indexer.types import NewItem, VectorRows
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.waiting import WAIT_S

Open = Callable[[], Collections]
Vectors = NDArray[np.float32]
NO_PICTURES = np.empty((0, 2), dtype=np.int64)


def snapshot_of(vectors: Vectors, delta: int = 0, items: Sequence[int] | None = None) -> Snapshot:
    """Vectors as an index holds them, the last `delta` of them in its delta segment."""
    items = range(1, len(vectors) + 1) if items is None else items
    border = len(vectors) - delta
    segments = [Segment.empty(vectors.shape[1]) for _ in range(2)]
    rows = VectorRows(np.arange(1, len(vectors) + 1), np.asarray(items, dtype=np.int64), vectors)
    segments[0].append(VectorRows(*(column[:border] for column in rows)))
    segments[1].append(VectorRows(*(column[border:] for column in rows)))
    return Snapshot([segment.view() for segment in segments], (0, 0), None)


def directions(count: int, dimension: int = 16, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(count, dimension))
    return rounded(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def rounded(vectors: NDArray[np.floating]) -> Vectors:
    return np.asarray(vectors.astype(np.float16), dtype=np.float32)


def near(vectors: Vectors, cosine: float, seed: int = 1) -> Vectors:
    """A vector at this cosine from each."""
    aside = np.random.default_rng(seed).normal(size=vectors.shape)
    aside -= vectors * np.vecdot(vectors, aside)[:, None]
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    return rounded(cosine * vectors + np.sqrt(1 - cosine**2) * aside)


def components(count: int, pairs: Sequence[tuple[int, int]]) -> list[set[int]]:
    """Connected components of at least two, by merging sets."""
    sets = [{node} for node in range(count)]
    for left, right in pairs:
        ours = next(one for one in sets if left in one)
        theirs = next(one for one in sets if right in one)
        if ours is not theirs:
            sets.remove(theirs)
            ours |= theirs
    return [one for one in sets if len(one) > 1]


def pairs_above(vectors: Vectors, threshold: float) -> list[tuple[int, int]]:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return [(a, b) for a, b in itertools.combinations(range(len(vectors)), 2) if unit[a] @ unit[b] >= threshold]


def items(vectors: Vectors, **modalities: Vectors) -> list[NewItem]:
    """Items with ready image vectors, and those of other modalities."""
    return [
        NewItem(
            f"i{number}",
            vectors={
                "image": vectors[number].tolist(),
                **{name: given[number].tolist() for name, given in modalities.items()},
            },  # type: ignore[arg-type]
            fingerprint="f" * 64,
        )
        for number in range(len(vectors))
    ]


def report(collection: Collection, threshold: float = 0.98) -> Quality:
    return collection.quality(0, 1000, threshold)


@given(
    st.integers(1, 30).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(
                st.lists(st.tuples(st.integers(0, count - 1), st.integers(0, count - 1)), max_size=12), max_size=5
            ),
        )
    )
)
def test_joined_sets_are_connected_components(drawn: tuple[int, list[list[tuple[int, int]]]]) -> None:
    count, batches = drawn
    forest = Forest(count)
    for batch in batches:
        pairs = np.array(batch, dtype=np.int64).reshape(-1, 2)
        forest.join(pairs[:, 0], pairs[:, 1])

    roots = forest.roots(np.arange(count))

    expected = np.arange(count)
    for component in components(count, [pair for batch in batches for pair in batch]):
        expected[list(component)] = min(component)
    assert roots.tolist() == expected.tolist()


@settings(max_examples=50)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(0, 40),
    delta=st.integers(0, 40),
    threshold=st.sampled_from([0.5, 0.8, 0.98]),
    pictures=st.lists(st.integers(0, 6), max_size=40),
)
def test_groups_are_those_of_looking_at_every_pair(
    seed: int, count: int, delta: int, threshold: float, pictures: list[int]
) -> None:
    vectors = directions(count, dimension=4, seed=seed)
    vectors[count // 2 :] = vectors[: count - count // 2]  # half of them come twice
    snapshot = snapshot_of(vectors, min(delta, count))
    shared = np.array(list(enumerate(pictures, start=1)), dtype=np.int64).reshape(-1, 2)

    groups = group_duplicates(snapshot, first_equals(snapshot), shared, threshold)

    same = [(a, b) for a, b in itertools.combinations(range(len(pictures)), 2) if pictures[a] == pictures[b]]
    expected = components(max(count, len(pictures)), pairs_above(vectors, threshold) + same)
    assert sorted(group.items for group in groups.largest) == sorted(
        tuple(item + 1 for item in sorted(one)) for one in expected
    )
    assert [group.size for group in groups.largest] == sorted(map(len, expected), reverse=True)
    assert (groups.count, groups.items) == (len(expected), sum(map(len, expected)))
    for group in groups.largest:
        picture_of = [pictures[item - 1] if item <= len(pictures) else None for item in group.items]
        assert group.identical == (len(set(picture_of)) == 1 and picture_of[0] is not None)


def test_the_lowest_score_of_a_group_is_between_any_two() -> None:
    vectors = directions(1, 64)
    chain = np.concatenate([vectors, near(vectors, 0.985), near(vectors, 0.985, seed=2)])
    snapshot = snapshot_of(chain)

    [group] = group_duplicates(snapshot, first_equals(snapshot), NO_PICTURES, 0.98).largest

    assert group.size == 3
    assert group.min_score == pytest.approx(min(chain[a] @ chain[b] for a, b in [(0, 1), (0, 2), (1, 2)]), abs=1e-3)
    assert group.min_score < 0.98


def test_zeros_are_near_to_nothing() -> None:
    vectors = directions(4)
    vectors[1:3] = 0

    pairs = [*near_pairs(snapshot_of(vectors, delta=2), np.arange(4), 0.98)]

    assert [(left.tolist(), right.tolist()) for left, right in pairs] == [([0, 3], [0, 3])]


@pytest.mark.parametrize("clusters", [0, 20])
def test_cells_miss_few_near_duplicates(monkeypatch: pytest.MonkeyPatch, clusters: int) -> None:
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 1000)
    originals = directions(4000, 64)
    if clusters:
        originals = originals + 1.5 * directions(clusters, 64, seed=3)[np.arange(4000) % clusters]
        originals = rounded(originals / np.linalg.norm(originals, axis=1, keepdims=True))
    snapshot = snapshot_of(np.concatenate([originals, near(originals, 0.982)]), delta=3000)

    found: set[tuple[int, int]] = set()
    for left, right in near_pairs(snapshot, np.arange(8000), 0.98):
        found |= set(zip(np.minimum(left, right).tolist(), np.maximum(left, right).tolist(), strict=True))

    assert sum((row, row + 4000) in found for row in range(4000)) >= 0.99 * 4000


def test_thousands_of_equal_and_of_nearly_equal_vectors_make_one_group_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT_UP_TO", 1000)
    placeholder, blank = directions(2, 64)
    noisy = near(np.tile(blank, (3000, 1)), 0.9995)
    vectors = np.concatenate([np.tile(placeholder, (5000, 1)), noisy, directions(500, 64, seed=5)])
    snapshot = snapshot_of(vectors)

    groups = group_duplicates(snapshot, first_equals(snapshot), NO_PICTURES, 0.98)

    assert [group.size for group in groups.largest] == [5000, 3000]
    assert [len(group.items) for group in groups.largest] == [50, 50]


def test_alignment_is_the_cosine_over_items_with_both() -> None:
    image, text = directions(50), directions(40, seed=1) * 0.97
    image_items, text_items = list(range(100, 150)), list(range(159, 119, -1))

    found, cosines = align(snapshot_of(image, 20, image_items), snapshot_of(text, 10, text_items))

    assert found.tolist() == list(range(120, 150))
    for item, cosine in zip(found.tolist(), cosines.tolist(), strict=True):
        ours, theirs = image[image_items.index(item)], text[text_items.index(item)]
        assert cosine == pytest.approx(ours @ theirs / np.linalg.norm(ours) / np.linalg.norm(theirs), abs=1e-6)


def test_a_distribution_is_described() -> None:
    values = np.random.default_rng(0).normal(0.3, 0.05, 500).astype(np.float32)
    values[:3] = [-0.2, -0.1, 0.0]

    described = describe(values)

    median = float(np.median(values.astype(float)))
    bound = median - 3.5 * 1.4826 * float(np.median(np.abs(values.astype(float) - median)))
    assert (described.count, described.flagged) == (500, sum(value < bound for value in values.astype(float)))
    assert 3 <= described.flagged < 10
    assert described.median == pytest.approx(median)
    assert described.mean == pytest.approx(float(values.mean()), abs=1e-6)
    assert described.std == pytest.approx(float(values.std()), abs=1e-6)
    assert described.flagged_below == pytest.approx(bound)
    assert described.histogram is not None
    edges, counts = described.histogram.edges, described.histogram.counts
    assert (len(edges), sum(counts), edges[0], edges[-1]) == (33, 500, min(values), max(values))
    for number, (low, high) in enumerate(itertools.pairwise(edges[:-1])):
        assert counts[number] == sum(low <= value < high for value in values.astype(float))


def test_few_or_equal_alignments_flag_nobody() -> None:
    few = np.linspace(-1, 1, MIN_PAIRS - 1)
    equal = np.append(np.full(50, 0.3), -0.9)

    assert misaligned_below(few) is None
    assert misaligned_below(equal) is None
    assert misaligned_below(np.linspace(0.2, 0.3, MIN_PAIRS)) == pytest.approx(
        0.25 - DEVIATIONS * 1.4826 * 0.025, abs=0.01
    )
    assert describe(np.full(3, 0.5, dtype=np.float32)).histogram is not None
    assert describe(np.empty(0, dtype=np.float32)).count == 0


def test_an_empty_collection_has_a_report(collection: Collection) -> None:
    found = report(collection)

    assert set(vars(found.coverage).values()) == {0}
    assert (found.alignment.count, found.alignment.mean, found.alignment.histogram) == (0, None, None)
    assert (found.gap, found.worst, found.suspicious) == (None, (), ())
    assert (found.duplicates.count, found.duplicates.exact, found.duplicate_groups) == (0, True, ())


def test_coverage_counts_what_items_carry(collection: Collection) -> None:
    collection.upsert([NewItem("both", picture("red"), "red"), NewItem("image", picture("blue"))])
    collection.upsert([NewItem("text", text="green"), NewItem("gone", picture("green"), "green")])
    collection.delete(["gone"])

    assert vars(report(collection).coverage) == {"items": 3, "image": 2, "text": 2, "both": 1, "neither": 0}


def test_pairs_far_below_the_others_are_flagged_worst_first(collection: Collection) -> None:
    good = [NewItem(f"{n}", picture((255, n, 0)), f"red {n}") for n in range(40)]
    swapped = NewItem("swapped", picture("blue"), "red")
    stored = collection.upsert([*good, swapped])

    found = report(collection)

    bound = found.alignment.flagged_below
    assert bound is not None
    assert found.worst[0].id == "swapped"
    assert [pair.misaligned for pair in found.worst] == [pair.alignment < bound for pair in found.worst]
    assert [pair.alignment for pair in found.worst] == pytest.approx(
        sorted(result.alignment for result in stored),  # type: ignore[union-attr, type-var]
        abs=1e-6,
    )
    assert (found.alignment.count, found.alignment.flagged) == (41, sum(pair.misaligned for pair in found.worst))


def test_the_modality_gap_is_between_the_centroids(collection: Collection) -> None:
    image, text = directions(30), directions(30, seed=1)
    collection.upsert(items(image, text=text))
    collection.delete(["i0", "i29"])

    middles = [vectors[1:29].mean(axis=0) for vectors in (image, text)]
    gap = report(collection).gap
    assert gap is not None
    assert gap.distance == pytest.approx(np.linalg.norm(middles[0] - middles[1]), abs=1e-4)


def test_along_the_gap_each_modality_has_its_place(collection: Collection) -> None:
    aside = np.zeros(16)
    aside[0] = 1
    image, text = near(directions(30), 0.9), directions(30, seed=1)
    image, text = (
        rounded((v + shift * aside) / np.linalg.norm(v + shift * aside, axis=1, keepdims=True))
        for v, shift in ((image, -3), (text, 3))
    )
    collection.upsert(items(image, text=text))

    gap = report(collection).gap

    assert gap is not None
    assert {modality: sum(counts) for modality, counts in gap.counts.items()} == {"image": 30, "text": 30}
    centres = (np.array(gap.edges[1:]) + np.array(gap.edges[:-1])) / 2
    means = {modality: float(np.average(centres, weights=counts)) for modality, counts in gap.counts.items()}
    assert means["text"] == pytest.approx(gap.distance / 2, abs=0.03)
    assert means["image"] == pytest.approx(-gap.distance / 2, abs=0.03)


def test_duplicates_are_found_by_vector_and_by_bytes(collection: Collection, encoder: FakeEncoder) -> None:
    data, vector = picture("red"), directions(1)[0].tolist()
    collection.upsert([NewItem("a", data), NewItem("b", data, "red"), NewItem("c", picture("green"))])
    # The same bytes, but with a vector of its own.
    collection.upsert([NewItem("d", data, vectors={"image": vector}, fingerprint=encoder.fingerprint)])
    collection.upsert([NewItem("e", picture("blue")), NewItem("f", picture("blue", format_="BMP"))])

    found = report(collection)

    assert [(group.ids, group.size, group.identical) for group in found.duplicate_groups] == [
        (("a", "b", "d"), 3, True),
        (("e", "f"), 2, False),
    ]
    assert (found.duplicates.count, found.duplicates.items) == (2, 5)


def test_different_contents_with_one_vector_are_suspicious(collection: Collection, encoder: FakeEncoder) -> None:
    collection.upsert([NewItem(f"same-{n}", text="red") for n in range(9)])
    vector = directions(1)[0].tolist()
    collection.upsert(
        [NewItem(f"t{n}", text=f"{n}", vectors={"text": vector}, fingerprint=encoder.fingerprint) for n in range(6)]
    )
    collection.upsert([NewItem(f"p{n}", vectors={"image": vector}, fingerprint="f" * 64) for n in range(4)])

    [found] = report(collection).suspicious

    assert (found.kind, found.modality, found.items) == ("collapsed", "text", 6)
    assert found.ids == tuple(f"t{n}" for n in range(6))


def test_vectors_that_are_no_embeddings_are_suspicious(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = FakeEncoder.encode_pixels
    monkeypatch.setattr(FakeEncoder, "encode_pixels", lambda self, pixels: 0.01 * encode(self, pixels))
    collection.upsert([NewItem("dim", picture("red"), "red")])

    [found] = report(collection).suspicious

    assert (found.kind, found.modality, found.ids) == ("degenerate", "image", ("dim",))


def test_a_report_is_a_function_of_the_catalogue(open_folder: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vector_index, "MIN_COMPACTION", 10**6)
    collection = open_folder().get("default")
    image = directions(60)
    image[30:] = near(image[:30], 0.99)
    collection.upsert(items(image, text=directions(60, seed=1)))
    collection.delete(["i3", "i40"])
    before = report(collection)
    collection.compact()
    collection.upsert(items(image, text=directions(60, seed=1)))
    collection.delete(["i3", "i40"])

    after, restarted = report(collection), report(open_folder().get("default"))

    for found in (after, restarted):
        assert (found.coverage, found.alignment.flagged) == (before.coverage, before.alignment.flagged)
        assert [pair.id for pair in found.worst] == [pair.id for pair in before.worst]
        assert {frozenset(group.ids) for group in found.duplicate_groups} == {
            frozenset({f"i{n}", f"i{n + 30}"}) for n in range(30) if n not in (3, 10)
        }


def test_pages_are_parts_of_one_order(collection: Collection) -> None:
    image = directions(20)
    image[10:] = image[:10]
    collection.upsert(items(image, text=directions(20, seed=1)))

    whole, page = report(collection), collection.quality(4, 3)

    assert page.worst == whole.worst[4:7]
    assert page.duplicate_groups == whole.duplicate_groups[4:7]
    assert page.duplicates.count == 10


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was measured, in order."""
    calls: list[object] = []
    measure = quality_reports.measure

    def measure_and_note(*arguments: object) -> Quality:
        calls.append(arguments)
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(quality_reports, "measure", measure_and_note)
    return calls


def test_a_report_is_kept_until_the_next_write(collection: Collection, measured: list[object]) -> None:
    collection.upsert([NewItem("a", text="red"), NewItem("b", text="red")])
    writes: list[Callable[[], object]] = [
        lambda: collection.upsert([NewItem("c", text="blue")]),
        lambda: collection.upsert([NewItem("a", text="green")]),
        lambda: collection.upsert([NewItem("a", picture("red"), "green")]),
        lambda: collection.delete(["b"]),
    ]
    for count, write in enumerate(writes, start=1):
        assert report(collection) is not report(collection, 0.99)
        assert report(collection, 0.99) == report(collection, 0.99)
        assert len(measured) == 2 * count
        write()
    assert report(collection, 0.99).coverage.items == 2


def test_one_report_is_made_at_a_time_and_those_who_wait_share_it(
    collection: Collection, measured: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    collection.upsert([NewItem("a", text="red")])
    begun, go_on = threading.Event(), threading.Event()
    measure = quality_reports.measure

    def measure_slowly(*arguments: object) -> Quality:
        begun.set()
        assert go_on.wait(WAIT_S)
        return measure(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(quality_reports, "measure", measure_slowly)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(report(collection).coverage.items)) for _ in range(8)]
    threads[0].start()
    assert begun.wait(WAIT_S)
    for thread in threads[1:]:
        thread.start()
    # Neither a write nor a search waits for the report.
    collection.upsert([NewItem("b", text="blue")])
    assert collection.info().items == 2
    go_on.set()
    for thread in threads:
        thread.join()

    # The first one saw one item; the others asked (at the latest) before the second report was begun, and share it.
    assert sorted(found) == [1] + [2] * 7
    assert len(measured) == 2


def test_a_closed_collection_ends_a_report(collection: Collection) -> None:
    collection.upsert([NewItem("a", picture("red"))])
    collection.close()

    with pytest.raises(CollectionNotFound):
        report(collection)
