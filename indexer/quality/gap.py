"""The modality gap: how far the vectors of pictures and of texts lie apart, as one number and as a picture of it.

The measure of Liang et al., Mind the Gap: Understanding the Modality Gap in Multi-modal Contrastive Representation
Learning, 2022, section 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.index.snapshot import Snapshot
from indexer.types import MODALITIES, Modality

_BINS = 40


@dataclass(frozen=True)
class Gap:
    """Where the vectors lie along the line through both centroids, and how far apart these are."""

    distance: float
    """Euclidean, between the centroids."""
    edges: tuple[float, ...]
    """n + 1 edges of equal bins, ascending; 0 is midway between the centroids, that of pictures below it."""
    counts: Mapping[Modality, tuple[int, ...]]
    """n of each; the last bin holds its upper edge too."""


def measure_gap(snapshots: Mapping[Modality, Snapshot]) -> Gap | None:
    """Reads all vectors; None when there are none of one modality."""
    image, text = (snapshots[modality].centroid for modality in MODALITIES)
    if image is None or text is None:
        return None
    distance = float(np.linalg.norm(text - image))
    axis = (text - image) / (distance or 1)
    middle = float((text + image) @ axis) / 2
    places = {modality: _along(snapshots[modality], axis) - middle for modality in MODALITIES}
    edges = np.histogram_bin_edges(np.concatenate(list(places.values())), _BINS)
    counts = {modality: tuple(np.histogram(found, edges)[0].tolist()) for modality, found in places.items()}
    return Gap(distance, tuple(edges.tolist()), counts)


def _along(snapshot: Snapshot, axis: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([block @ axis for block in snapshot.blocks()])
