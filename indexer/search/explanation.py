"""Where a score comes from: a base, and sums over what an item has and over the terms of the query."""

from collections.abc import Mapping

import numpy as np

from indexer.search.fusion import ComposedQuery
from indexer.types import Explanation, Modality, SignalShare, TermShare, Vector


def explain(
    composed: Mapping[Modality, ComposedQuery], weights: Mapping[Modality, float], vectors: Mapping[Modality, Vector]
) -> Explanation:
    """Take apart the weighted score of an item with these vectors; see `indexer.search.fusion`."""
    scale = composed[max(composed, key=lambda modality: weights[modality])].spread
    own = {modality: query for modality, query in composed.items() if modality in vectors}
    total = sum(weights[modality] for modality in own)
    shares = {modality: weights[modality] / total for modality in own}
    signals = {}
    for modality, query in own.items():
        standardised = float(query.standardise(np.vecdot(query.vector, vectors[modality])))
        cosine = float(query.cosine_vector @ vectors[modality])
        signals[modality] = SignalShare(
            cosine, standardised, shares[modality], scale.std * shares[modality] * standardised
        )
    terms = []
    for term in zip(*(query.terms for query in own.values()), strict=True):
        parts = dict(zip(own, term, strict=True))
        cosines = {modality: float(part.embedding @ vectors[modality]) for modality, part in parts.items()}
        summed = sum(shares[m] * part.standardised_share(cosines[m]) for m, part in parts.items())
        terms.append(TermShare(term[0].share, cosines, scale.std * summed))
    return Explanation(scale.mean, signals, tuple(terms))
