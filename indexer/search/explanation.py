"""Where a score comes from: a base, and sums over what an item has and over the terms of the query."""

from collections.abc import Mapping

import numpy as np

from indexer.search.fusion import shares_of
from indexer.search.ranking import Question
from indexer.search.reciprocal import Ranks, rank_of, reciprocal
from indexer.types import Explanation, Modality, Signal, SignalShare, TermShare, Vector


def explain(
    question: Question, ranks: Ranks, pk: int, scores: Mapping[Signal, float], vectors: Mapping[Modality, Vector]
) -> Explanation:
    """Take apart the score of an item; see `indexer.search.fusion` and `indexer.search.reciprocal`.

    Args:
        scores: As in `Hit.scores`.
        vectors: Of the item.
    """
    own = [signal for signal in question.signals if signal in scores]
    shares = dict(zip(own, shares_of([question.weights[signal] for signal in own]), strict=True))
    scale = question.scale

    def of_signal(signal: Signal, share: float) -> SignalShare:
        if question.by_ranks:
            rank = rank_of(pk, ranks[signal])
            return SignalShare(scores[signal], share, share * reciprocal(rank), rank=rank)
        standardised = _standardised(question, signal, pk, vectors)
        return SignalShare(scores[signal], share, scale.std * share * standardised, standardised=standardised)

    def of_term(number: int, share: float) -> TermShare:
        parts = {signal: part for signal in own if (part := _term(question, number, signal, pk, vectors))}
        summed = sum(shares[signal] * standardised for signal, (_, standardised) in parts.items())
        told = {signal: score for signal, (score, _) in parts.items()}
        return TermShare(share, told, None if question.by_ranks else scale.std * summed)

    term_shares = shares_of([term.weight for term in question.request.terms])
    return Explanation(
        scale.mean,
        {signal: of_signal(signal, share) for signal, share in shares.items()},
        tuple(of_term(number, share) for number, share in enumerate(term_shares)),
    )


def _standardised(question: Question, signal: Signal, pk: int, vectors: Mapping[Modality, Vector]) -> float:
    if signal == "lexical":
        assert question.words is not None
        return question.words.score(pk) / question.words.deviation
    query = question.composed[signal]
    return float(query.standardise(np.vecdot(query.vector, vectors[signal])))


def _term(
    question: Question, number: int, signal: Signal, pk: int, vectors: Mapping[Modality, Vector]
) -> tuple[float, float] | None:
    """A term's own score, and what it adds to the standardised one of the signal; None for a term without words."""
    if signal == "lexical":
        assert question.words is not None
        words = question.words.terms[number]
        bm25 = 0.0 if words is None else words.matched.score(pk)
        return None if words is None else (bm25, words.share * bm25 / question.words.deviation)
    part = question.composed[signal].terms[number]
    cosine = float(part.embedding @ vectors[signal])
    return cosine, part.standardised_share(cosine)
