"""What a search costs beside the encoder: the index alone, and the whole read path of a collection."""

import tempfile
from functools import partial
from pathlib import Path

import faiss
import numpy as np

from bench.encoder import median_s
from bench.stub import RandomEncoder
from indexer.collections import Collections
from indexer.types import NewItem, SearchRequest, Term

DIMENSION = 256


def unit(count: int) -> np.ndarray:
    """Random unit vectors [count, DIMENSION]."""
    vectors = np.random.default_rng().normal(size=(count, DIMENSION)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def run() -> None:
    """Print the table."""
    print(f"\nSearch, {DIMENSION} dimensions, one thread of callers")
    print(
        f"{'items (picture and text each)':<34}{'FAISS ms':>10}{'one target':>12}{'both fused':>12}{'fused/FAISS':>12}"
    )
    for count in (1_000, 20_000):
        with (
            tempfile.TemporaryDirectory() as folder,
            Collections(Path(folder), lambda name: RandomEncoder(DIMENSION)) as collections,
        ):
            collection = collections.get("default")
            for start in range(0, count, 500):
                collection.upsert([item(number) for number in range(start, start + 500)])
            flat = faiss.IndexFlatIP(DIMENSION)
            flat.add(unit(count))
            bare = median_s(partial(flat.search, unit(1), 10))
            term = (Term(vector=unit(1)[0].tolist()),)
            alone = median_s(partial(collection.search, SearchRequest(term, target={"image": 1.0})))
            fused = median_s(partial(collection.search, SearchRequest(term, target={"image": 1.0, "text": 0.3})))
            print(f"{count:<34}{1000 * bare:>10.2f}{1000 * alone:>12.2f}{1000 * fused:>12.2f}{fused / bare:>12.1f}")


def item(number: int) -> NewItem:
    """An item with ready vectors of both modalities."""
    image, text = unit(2).tolist()
    return NewItem(str(number), text=f"item {number}", vectors={"image": image, "text": text}, fingerprint="0" * 64)
