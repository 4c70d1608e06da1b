"""Weighted late fusion: how similarities of several terms to vectors of two modalities become one score.

Text-to-image and text-to-text similarities live on different scales (the modality gap: Liang et al. 2022,
arXiv:2203.02053), so each is standardised by its own mean and standard deviation over the collection before it is
weighted. Since similarity is linear in the query, the standardised sum over the terms is again one dot product:

    Z(x) = sum_t w_t (e_t.x - mean_t) / std_t / sum_t |w_t| = q.x - offset

so that each modality is searched once, however many terms a query has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.index.moments import Spread
from indexer.types import Signal, Vector


@dataclass(frozen=True)
class ComposedTerm:
    """One term of a query against one modality."""

    share: float
    """w_t / sum_t |w_t| above."""
    embedding: Vector
    spread: Spread

    def standardised_share(self, cosine: float) -> float:
        """What the term adds to Z(x), given e_t.x."""
        return self.share * (cosine - self.spread.mean) / self.spread.std


@dataclass(frozen=True)
class ComposedQuery:
    """All terms of a query against one modality."""

    vector: Vector
    """q above: [d], not unit length."""
    offset: float
    cosine_vector: Vector
    """[d]; its dot product with x is the weighted mean cosine of the terms with x."""
    spread: Spread
    """Weighted mean and standard deviation of the terms' similarities: the cosine scale of this modality."""
    terms: tuple[ComposedTerm, ...] = ()

    @property
    def has_scale(self) -> bool:
        """Whether similarities are spread at all: those with one vector, or with equal ones, are not."""
        return any(term.spread.std < 1 for term in self.terms)

    def standardise(self, similarities: NDArray[np.float32]) -> NDArray[np.float64]:
        """Z [n] from the dot products [n] of `vector` with items' vectors."""
        return similarities.astype(np.float64) - self.offset


def compose(embeddings: Sequence[Vector], weights: Sequence[float], spreads: Sequence[Spread]) -> ComposedQuery:
    """Fold weighted terms into one query.

    Args:
        embeddings: one unit-length vector [d] per term.
        weights: one per term, not all zero; a negative one pushes away.
        spreads: of each term's similarity over the collection.
    """
    shares = shares_of(weights)
    vector = sum(
        (share / s.std * e for share, s, e in zip(shares, spreads, embeddings, strict=True)), start=np.float32(0)
    )
    return ComposedQuery(
        vector=np.asarray(vector, dtype=np.float32),
        offset=sum(share * s.mean / s.std for share, s in zip(shares, spreads, strict=True)),
        cosine_vector=mean_vector(embeddings, weights),
        spread=Spread(
            sum(share * s.mean for share, s in zip(shares, spreads, strict=True)),
            sum(abs(share) * s.std for share, s in zip(shares, spreads, strict=True)),
        ),
        terms=tuple(map(ComposedTerm, shares, embeddings, spreads)),
    )


def compose_alone(embedding: Vector, weight: float) -> ComposedQuery:
    """One term as a query whose scores are its cosines."""
    vector = embedding if weight > 0 else -embedding
    return ComposedQuery(vector, 0.0, vector, Spread(0.0, 1.0))


def mean_vector(embeddings: Sequence[Vector], weights: Sequence[float]) -> Vector:
    """[d], not unit length; its dot product with x is the weighted mean cosine of the terms with x."""
    mean = sum((share * e for share, e in zip(shares_of(weights), embeddings, strict=True)), start=np.float32(0))
    return np.asarray(mean, dtype=np.float32)


def fuse(
    standardised: Mapping[Signal, NDArray[np.float64]], weights: Mapping[Signal, float], scale: Spread
) -> NDArray[np.float64]:
    """One score per item from its standardised scores [n] per signal, which are NaN where it lacks the signal.

    The mean is taken over the signals that the item has, so that it is never punished for what it lacks; it is
    then put on the cosine scale of the primary target, where one number means the same with and without fusion.

    Returns:
        [n], NaN for an item that has none of the signals.
    """
    values = np.stack([np.asarray(standardised[signal], dtype=np.float64) for signal in standardised])
    shares = np.stack([np.full(values.shape[1:], weights[signal]) for signal in standardised])
    shares[np.isnan(values)] = 0
    with np.errstate(invalid="ignore"):
        return np.asarray(scale.mean + scale.std * (np.nan_to_num(values) * shares).sum(0) / shares.sum(0))


def shares_of(weights: Sequence[float]) -> list[float]:
    """The weights as parts of their sum without signs."""
    total = sum(map(abs, weights))
    return [weight / total for weight in weights]
