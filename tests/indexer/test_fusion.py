"""Moments and fusion against their naive forms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.index.moments import Moments, Spread
from indexer.search.fusion import compose, fuse


def unit(rng: np.random.Generator, count: int, dimension: int = 12) -> np.ndarray:
    vectors = rng.normal(size=(count, dimension)) + 0.5
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@given(seed=st.integers(0, 10_000), count=st.integers(2, 60), removed=st.integers(0, 30))
def test_spread_is_that_of_all_similarities_whatever_came_and_went(seed: int, count: int, removed: int) -> None:
    rng = np.random.default_rng(seed)
    kept, gone, query = unit(rng, count), unit(rng, removed), unit(rng, 1)[0]
    moments = Moments(12)
    moments.add(kept[: count // 2])
    moments.add(gone)
    moments.add(kept[count // 2 :])
    moments.remove(gone)
    similarities = kept.astype(np.float64) @ query
    assert moments.count == count
    assert moments.spread(query).mean == pytest.approx(similarities.mean(), abs=1e-6)
    if similarities.std() > 2e-3:
        assert moments.spread(query).std == pytest.approx(similarities.std(), abs=1e-5)


def test_too_few_or_equal_vectors_have_no_spread_to_speak_of() -> None:
    moments = Moments(12)
    [vector] = unit(np.random.default_rng(0), 1)
    assert moments.spread(vector) == Spread(0.0, 1.0)
    moments.add(np.stack([vector] * 5))
    assert moments.spread(vector).std == 1.0


@given(
    seed=st.integers(0, 10_000),
    weights=st.lists(st.floats(0.1, 3).map(lambda w: w) | st.floats(-3, -0.1), min_size=1, max_size=5),
)
def test_one_dot_product_equals_the_sum_of_standardised_terms(seed: int, weights: list[float]) -> None:
    rng = np.random.default_rng(seed)
    terms, [item] = unit(rng, len(weights)), unit(rng, 1)
    spreads = [Spread(rng.normal() / 5, 0.05 + rng.random() / 5) for _ in weights]
    query = compose(list(terms), weights, spreads)
    naive = sum(w * (t @ item - s.mean) / s.std for w, t, s in zip(weights, terms, spreads, strict=True))
    total = sum(map(abs, weights))
    assert float(query.standardise(query.vector @ item)) == pytest.approx(naive / total, abs=1e-4)
    cosine = sum(w * (t @ item) for w, t in zip(weights, terms, strict=True)) / total
    assert float(query.cosine_vector @ item) == pytest.approx(cosine, abs=1e-5)


def test_an_item_is_not_punished_for_what_it_lacks() -> None:
    nan = float("nan")
    image, text = np.array([2.0, 2.0, 2.0, nan, nan]), np.array([nan, 2.0, 0.0, 2.0, nan])
    scores = fuse({"image": image, "text": text}, {"image": 1.0, "text": 0.3}, Spread(0.2, 0.1))
    assert scores == pytest.approx([0.4, 0.4, 0.2 + 0.1 * 2 / 1.3, 0.4, nan], nan_ok=True)
