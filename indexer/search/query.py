"""From terms to hits: embed, compose per modality, search, fuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ItemNotFound, QueryInvalid
from indexer.index.moments import Spread
from indexer.index.segment import Found
from indexer.index.vector_index import Selected, VectorIndex
from indexer.preparation import check_vector
from indexer.search.fusion import ComposedQuery, compose, fuse
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import MODALITIES, Modality, Term, Vector
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


@dataclass(frozen=True)
class Ranking:
    """The best items of a query, best first, before any of them is read from the catalogue."""

    candidates: list[tuple[int, float]]
    """Primary key of the item, and its score."""
    composed: Mapping[Modality, ComposedQuery]
    searched: Mapping[Modality, int]
    """Number of vectors among which they were found."""

    def cosines(self, vectors: Mapping[Modality, Vector]) -> dict[Modality, float]:
        """Weighted mean cosine of the terms with an item's vector of each target modality that it has."""
        return {
            modality: float(query.cosine_vector @ vectors[modality])
            for modality, query in self.composed.items()
            if modality in vectors
        }


def embed_terms(
    terms: Sequence[Term], encoder: Encoder, limits: ImageLimits, catalogue: Catalogue, row: CollectionRow
) -> list[EmbeddedTerm]:
    """Embed a query's terms, the texts in one call and the pictures in one call.

    Raises:
        QueryInvalid: No term, a blank text, a weight that is zero or not finite.
        ItemNotFound, VectorInvalid, ImageError: A term's item, vector or picture is not usable.
    """
    if not terms:
        raise QueryInvalid("the query needs at least one term", "/query")
    for number, term in enumerate(terms):
        if not np.isfinite(term.weight) or term.weight == 0:
            raise QueryInvalid("a weight must be a finite number other than zero", f"/query/{number}/weight")
        if term.text is not None and not term.text.strip():
            raise QueryInvalid("the text of a query must not be blank", _pointer(terms, number, "text"))
    texts = encoder.encode_texts([term.text for term in terms if term.text is not None])
    images = [term.image for term in terms if term.image is not None]
    pictures = encoder.encode_images([decode_image(image, limits, encoder.enough) for image in images])
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


def rank(
    terms: Sequence[EmbeddedTerm],
    targets: Mapping[Modality, float],
    indexes: Mapping[Modality, VectorIndex],
    searched: Mapping[Modality, Selected],
    wanted: int,
) -> Ranking:
    """Search every target modality and fuse; the `wanted` best items, ties by the item's age.

    Only vectors in `searched` are found, while the scale of the scores is that of all: a filter changes no score.

    The answer is that of fusing the similarities of every item, so that the pages of a query are parts of one order.
    Each modality gives its best, and they are enough once the last wanted item scores higher than any item outside
    them could (the threshold algorithm: Fagin, Lotem and Naor 2003, JCSS 66); until then, more are asked for.
    """
    composed = {modality: _compose(terms, modality, indexes[modality]) for modality in targets}
    if not composed:
        return Ranking([], composed, {})
    own = np.array([term.item_pk for term in terms if term.item_pk is not None], dtype=np.int64)
    scale = composed[max(composed, key=lambda modality: targets[modality])].spread
    depths = dict.fromkeys(composed, max(MIN_CANDIDATES, 2 * wanted))
    while True:
        found = {
            modality: searched[modality].search(query.vector, depths[modality]) for modality, query in composed.items()
        }
        pks = np.setdiff1d(np.concatenate([part.items for part in found.values()]), own)
        scores = _scores(pks, composed, targets, indexes, scale)
        best = np.lexsort((pks, -scores))[:wanted]
        last = scores[best[-1]] if len(best) == wanted else -np.inf
        shallow = [
            modality
            for modality, part in found.items()
            if len(part.items) == depths[modality] and last <= _bound(part, composed[modality], scale)
        ]
        if not shallow:
            pairs = zip(pks[best].tolist(), scores[best].tolist(), strict=True)
            candidates = [(pk, score) for pk, score in pairs if score > -np.inf]
            return Ranking(candidates, composed, {modality: part.live for modality, part in searched.items()})
        for modality in shallow:
            depths[modality] *= 4


def _scores(
    pks: NDArray[np.int64],
    composed: Mapping[Modality, ComposedQuery],
    targets: Mapping[Modality, float],
    indexes: Mapping[Modality, VectorIndex],
    scale: Spread,
) -> NDArray[np.float64]:
    """Fused score of each item [n]; -inf for one that was deleted while this search ran."""
    similarities = {modality: indexes[modality].similarities(query.vector, pks) for modality, query in composed.items()}
    standardised = {modality: composed[modality].standardise(values) for modality, values in similarities.items()}
    fused = fuse(standardised, targets, scale)
    return np.where(np.isnan(fused), -np.inf, fused)


def _bound(found: Found, query: ComposedQuery, scale: Spread) -> float:
    """The score that no item can exceed whose vector of this modality was not found, and whose others are no better.

    A weighted mean is at most its highest part; the margin is for FAISS rounding otherwise than the scores do.
    """
    margin = 1e-6 * float(np.linalg.norm(query.vector))
    return scale.mean + scale.std * (float(query.standardise(found.similarities[-1:])[0]) + margin)


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
