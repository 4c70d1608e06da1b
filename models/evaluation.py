"""Retrieval metrics over a gallery, computed exactly."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder
from models.errors import TrainingFailed
from models.imaging import ImageLimits, decode_image
from models.recipe import read_rows


class Figures(NamedTuple):
    """How well titles find their own pictures, and label words find pictures that carry them."""

    queries: int
    gallery: int
    recall_at_1: float
    recall_at_10: float
    mean_reciprocal_rank: float
    labels: int
    label_precision_at_10: float
    """Over the labels that at least ten pictures carry; NaN where there is none."""


def ranks(queries: NDArray[np.float32], gallery: NDArray[np.float32]) -> NDArray[np.int64]:
    """Rank (1 = best) at which query i finds gallery row i; ties count against the query.

    Args:
        queries: [n, d], unit length; row i belongs to gallery row i.
        gallery: [n, d], unit length.
    """
    scores = queries @ gallery.T
    own = np.diagonal(scores)[:, None]
    return np.asarray((scores >= own).sum(axis=1), dtype=np.int64)


def recall_at(rank: NDArray[np.int64], k: int) -> float:
    """Share of the queries that find their own item among the first k."""
    return float((rank <= k).mean())


def mean_reciprocal_rank(rank: NDArray[np.int64]) -> float:
    """Mean of 1 / rank."""
    return float((1 / rank).mean())


def precision_at(
    queries: NDArray[np.float32], gallery: NDArray[np.float32], wanted: Sequence[str], labels: Sequence[str], k: int
) -> float:
    """Mean share, over the queries, of the first k gallery rows that carry the wanted label.

    Args:
        queries: [m, d]; query i asks for label `wanted[i]`, which at least k rows should carry for 1 to be possible.
        gallery: [n, d]; row j carries `labels[j]`.
    """
    best = np.argsort(-(queries @ gallery.T), axis=1, kind="stable")[:, :k]
    carried = np.asarray(labels)[best]
    return float((carried == np.asarray(wanted)[:, None]).mean())


def evaluate_catalogue(
    encoder: Encoder,
    catalogues: Sequence[Path],
    *,
    split: str | None,
    title: str,
    label: str,
    progress: Callable[[str, int, int, dict[str, float]], None],
) -> Figures:
    """Text-to-image retrieval over the pictures of CSV catalogues.

    Args:
        split: Only rows whose `split` column says so; None takes all.
        title: Column of the queries; each must find its own row's picture.
        label: Column of the labels; each that ten or more rows carry is a query for those rows, in lower case.

    Raises:
        TrainingFailed: No row has a title and an image.
        ImageError: A picture cannot be decoded.
    """
    rows = [
        (catalogue.parent / row["image"], row)
        for catalogue in catalogues
        for row in read_rows(catalogue)
        if row.get("image") and row.get(title) and split in (None, row.get("split"))
    ]
    if not rows:
        raise TrainingFailed(f"no row of split {split!r} has an image and a {title}")
    gallery = np.concatenate(_embed_images(encoder, [path for path, _ in rows], progress))
    titles = encoder.encode_texts([row[title] for _, row in rows]).vectors
    rank = ranks(titles, gallery)
    labels = [row.get(label, "") for _, row in rows]
    common = sorted(name for name, count in Counter(labels).items() if name and count >= 10)
    words = encoder.encode_texts([name.lower() for name in common]).vectors
    precision = precision_at(words, gallery, common, labels, 10) if common else float("nan")
    figures = (recall_at(rank, 1), recall_at(rank, 10), mean_reciprocal_rank(rank))
    return Figures(len(rows), len(rows), *figures, len(common), precision)


def _embed_images(
    encoder: Encoder, paths: Sequence[Path], progress: Callable[[str, int, int, dict[str, float]], None]
) -> list[NDArray[np.float32]]:
    blocks = []
    for start in range(0, len(paths), 64):
        images = (decode_image(path.read_bytes(), ImageLimits()) for path in paths[start : start + 64])
        pixels = [encoder.preprocess(image) for image in images]
        blocks.append(encoder.encode_pixels(pixels))
        progress("embed pictures", start + len(pixels), len(paths), {})
    return blocks
