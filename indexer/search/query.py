"""From terms to hits: embed, compose per modality, search, fuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ItemNotFound, QueryInvalid
from indexer.index.moments import Spread
from indexer.index.vector_index import VectorIndex
from indexer.preparation import check_vector
from indexer.search.fusion import ComposedQuery, compose, fuse
from indexer.search.sources import Best, Source
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import MODALITIES, Modality, Signal, Term, Vector
from models.encoder import Encoder
from models.imaging import ImageLimits, decode_image

MIN_CANDIDATES = 256
"""Best vectors taken from each modality at first, before they are fused."""


@dataclass(frozen=True)
class EmbeddedTerm:
    """A term's embedding against each modality; an item's differs, since like is compared with like."""

    weight: float
    embeddings: Mapping[Modality, Vector]
    item_pk: int | None = None
    truncated: bool = False


def check_terms(terms: Sequence[Term]) -> None:
    """Raises `QueryInvalid`: no term, a blank text, a weight that is zero or not finite."""
    if not terms:
        raise QueryInvalid("the query needs at least one term", "/query")
    for number, term in enumerate(terms):
        if not np.isfinite(term.weight) or term.weight == 0:
            raise QueryInvalid("a weight must be a finite number other than zero", f"/query/{number}/weight")
        if term.text is not None and not term.text.strip():
            raise QueryInvalid("the text of a query must not be blank", _pointer(terms, number, "text"))


def embed_terms(
    terms: Sequence[Term], encoder: Encoder, limits: ImageLimits, catalogue: Catalogue, row: CollectionRow
) -> list[EmbeddedTerm]:
    """Embed a query's terms, the texts in one call and the pictures in one call.

    Raises:
        QueryInvalid: No term, a blank text, a weight that is zero or not finite.
        ItemNotFound, VectorInvalid, ImageError: A term's item, vector or picture is not usable.
    """
    check_terms(terms)
    texts = encoder.encode_texts([term.text for term in terms if term.text is not None])
    pictures = encoder.encode_images([decode_image(term.image, limits) for term in terms if term.image is not None])
    text_rows, picture_rows = iter(zip(texts.vectors, texts.truncated.tolist(), strict=True)), iter(pictures)
    embedded = []
    for number, term in enumerate(terms):
        if term.text is not None:
            vector, truncated = next(text_rows)
            embedded.append(EmbeddedTerm(term.weight, _everywhere(vector), truncated=truncated))
        elif term.image is not None:
            embedded.append(EmbeddedTerm(term.weight, _everywhere(next(picture_rows))))
        elif term.vector is not None:
            vector = check_vector(term.vector, encoder.dimension, _pointer(terms, number, "vector"))
            embedded.append(EmbeddedTerm(term.weight, _everywhere(vector)))
        else:
            embedded.append(_item_term(term, catalogue, row, _pointer(terms, number, "item")))
    return embedded


def compose_terms(
    terms: Sequence[EmbeddedTerm], indexes: Mapping[Modality, VectorIndex]
) -> dict[Modality, ComposedQuery]:
    """All terms as one query against each modality."""
    return {modality: _compose(terms, modality, index) for modality, index in indexes.items()}


def rank(
    sources: Mapping[Signal, Source],
    weights: Mapping[Signal, float],
    scale: Spread,
    own: NDArray[np.int64],
    wanted: int,
) -> list[tuple[int, float]]:
    """Search every source and fuse; primary key and score of the `wanted` best items, ties by the item's age.

    The answer is that of fusing the scores of every item, so that the pages of a query are parts of one order. Each
    source gives its best, and they are enough once the last wanted item scores higher than any item outside them could
    (the threshold algorithm: Fagin, Lotem and Naor 2003, JCSS 66); until then, more are asked for.

    Args:
        scale: The cosine scale on which the scores are.
        own: Items of the query, which do not find themselves.
    """
    if not sources:
        return []
    depths = dict.fromkeys(sources, max(MIN_CANDIDATES, 2 * wanted))
    while True:
        found = {signal: source.best(depths[signal]) for signal, source in sources.items()}
        pks = np.setdiff1d(np.concatenate([part.items for part in found.values()]), own)
        scores = _scores(pks, sources, weights, scale)
        best = np.lexsort((pks, -scores))[:wanted]
        last = scores[best[-1]] if len(best) == wanted else -np.inf
        cut = {signal for signal, part in found.items() if len(part.items) == depths[signal]}
        rest = max((sources[signal].rest for signal in found if signal not in cut), default=-np.inf)
        shallow = [signal for signal in cut if last <= _bound(found[signal], sources[signal], rest, scale)]
        if not shallow:
            pairs = zip(pks[best].tolist(), scores[best].tolist(), strict=True)
            return [(pk, score) for pk, score in pairs if score > -np.inf]
        for signal in shallow:
            depths[signal] *= 4


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


def _pointer(terms: Sequence[Term], number: int, field: str) -> str:
    return f"/query/{field}" if len(terms) == 1 else f"/query/{number}/{field}"


def _everywhere(vector: Vector) -> dict[Modality, Vector]:
    return dict.fromkeys(MODALITIES, vector)


def _item_term(term: Term, catalogue: Catalogue, row: CollectionRow, pointer: str) -> EmbeddedTerm:
    """An item as a query: its image vector against images, its text vector against texts, else the one it has."""
    stored = catalogue.items(row.pk, [term.item or ""]).get(term.item or "")
    vectors = catalogue.item_vectors(row.generation_pk, [stored.pk]).get(stored.pk) if stored else None
    if stored is None or not vectors:
        raise ItemNotFound(f"no item {term.item!r} in collection {row.name!r}", pointer)
    fallback = next(iter(vectors.values()))
    return EmbeddedTerm(term.weight, {m: vectors.get(m, fallback) for m in MODALITIES}, item_pk=stored.pk)


def _compose(terms: Sequence[EmbeddedTerm], modality: Modality, index: VectorIndex) -> ComposedQuery:
    embeddings = [term.embeddings[modality] for term in terms]
    return compose(embeddings, [term.weight for term in terms], [index.spread(vector) for vector in embeddings])
