"""From embedded terms to the best items: compose per modality, search, fuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from indexer.index.moments import Spread
from indexer.index.vector_index import VectorIndex
from indexer.search.embedding import EmbeddedTerm
from indexer.search.fusion import ComposedQuery, compose, compose_alone, fuse
from indexer.search.sources import Best, Source
from indexer.types import Modality, Signal

MIN_CANDIDATES = 256
"""Best items taken from each source at first, before they are fused."""


@dataclass
class Effort:
    """What was done for a ranking."""

    vectors: dict[Modality, int] = field(default_factory=dict)
    """Number of vectors among which the best were looked for."""
    rounds: int = 0
    candidates: int = 0

    def count(self, candidates: int) -> None:
        """Another round, in which so many items were scored."""
        self.rounds += 1
        self.candidates += candidates


def compose_terms(
    terms: Sequence[EmbeddedTerm], indexes: Mapping[Modality, VectorIndex], *, standardised: bool = True
) -> dict[Modality, ComposedQuery]:
    """All terms as one query against each modality.

    Args:
        standardised: Whether similarities are compared with others; of one term, the cosine may be all there is.
    """
    if not standardised:
        [term] = terms
        return {modality: compose_alone(term.embeddings[modality], term.weight) for modality in indexes}
    return {modality: _compose(terms, modality, index) for modality, index in indexes.items()}


def first_depth(sources: int, wanted: int, own: int) -> int:
    """How many of the best are asked of each source at first; of a lone one, one more than needed tells of ties."""
    return wanted + own + 1 if sources == 1 else max(MIN_CANDIDATES, 2 * wanted)


def rank(
    sources: Mapping[Signal, Source],
    weights: Mapping[Signal, float],
    scale: Spread,
    own: NDArray[np.int64],
    wanted: int,
    effort: Effort,
) -> Best:
    """Search every source and fuse; the `wanted` best items by their scores.

    The answer is that of fusing the scores of every item, so that the pages of a query are parts of one order. Each
    source gives its best, and they are enough once the last wanted item scores higher than any item outside them could
    (the threshold algorithm: Fagin, Lotem and Naor 2003, JCSS 66); until then, more are asked for.

    Args:
        scale: On which the scores are.
        own: Items of the query, which do not find themselves.
    """
    if not sources:
        return Best(np.empty(0, dtype=np.int64), np.empty(0))
    if len(sources) == 1:
        [source] = sources.values()
        return _rank_by_one(source, scale, own, wanted, effort)
    depths = dict.fromkeys(sources, first_depth(len(sources), wanted, len(own)))
    while True:
        found = {signal: source.best(depths[signal]) for signal, source in sources.items()}
        pks = np.setdiff1d(np.concatenate([part.items for part in found.values()]), own)
        scores = _scores(pks, sources, weights, scale)
        effort.count(len(pks))
        best = np.lexsort((pks, -scores))[:wanted]
        last = scores[best[-1]] if len(best) == wanted else -np.inf
        cut = {signal for signal, part in found.items() if len(part.items) == depths[signal]}
        rest = max((sources[signal].rest for signal in found if signal not in cut), default=-np.inf)
        shallow = [signal for signal in cut if last <= _bound(found[signal], sources[signal], rest, scale)]
        if not shallow:
            best = best[scores[best] > -np.inf]
            return Best(pks[best], scores[best])
        for signal in shallow:
            depths[signal] *= 4


def _rank_by_one(source: Source, scale: Spread, own: NDArray[np.int64], wanted: int, effort: Effort) -> Best:
    """What a lone source says best is the order, unless more are rated like the last: then the oldest come first."""
    depth = first_depth(1, wanted, len(own))
    while True:
        items, values = source.best(depth)
        cut = len(items) == depth
        if len(own):
            others = ~np.isin(items, own)
            items, values = items[others], values[others]
        effort.count(len(items))
        if not cut or values[wanted - 1] > values[-1] + source.margin:
            return Best(items[:wanted], scale.mean + scale.std * values[:wanted])
        depth *= 4


def _scores(
    pks: NDArray[np.int64], sources: Mapping[Signal, Source], weights: Mapping[Signal, float], scale: Spread
) -> NDArray[np.float64]:
    """Fused score of each item [n]; -inf for one that was deleted while this search ran."""
    fused = fuse({signal: source.of(pks) for signal, source in sources.items()}, weights, scale)
    return np.where(np.isnan(fused), -np.inf, fused)


def _bound(found: Best, source: Source, rest: float, scale: Spread) -> float:
    """The score that no item can exceed which this source was cut before, and which the others rate no better.

    A weighted mean is at most its highest part.
    """
    return scale.mean + scale.std * max(float(found.values[-1]) + source.margin, rest)


def _compose(terms: Sequence[EmbeddedTerm], modality: Modality, index: VectorIndex) -> ComposedQuery:
    embeddings = [term.embeddings[modality] for term in terms]
    return compose(embeddings, [term.weight for term in terms], [index.spread(vector) for vector in embeddings])
