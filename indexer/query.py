"""From terms to hits: embed, compose per modality, search, fuse."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from indexer.catalogue import Catalogue, CollectionRow
from indexer.errors import ItemNotFound, QueryInvalid
from indexer.fusion import ComposedQuery, compose, fuse
from indexer.preparation import check_vector
from indexer.types import MODALITIES, Modality, Term, Vector
from indexer.vector_index import VectorIndex
from models.encoder import Encoder
from models.imaging import ImageLimits, decode_image

MIN_CANDIDATES = 256
"""Best vectors taken from each modality before they are fused."""


@dataclass(frozen=True)
class EmbeddedTerm:
    """A term's embedding against each modality; an item's differs, since like is compared with like."""

    weight: float
    embeddings: Mapping[Modality, Vector]
    item_pk: int | None = None
    truncated: bool = False


@dataclass(frozen=True)
class Candidate:
    """A found item before it is read from the catalogue."""

    item_pk: int
    score: float
    scores: dict[Modality, float]


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


def search_targets(
    terms: Sequence[EmbeddedTerm],
    targets: Mapping[Modality, float],
    indexes: Mapping[Modality, VectorIndex],
    catalogue: Catalogue,
    row: CollectionRow,
    wanted: int,
) -> list[Candidate]:
    """Search every target modality and fuse; at least the `wanted` best candidates where there are as many, best first.

    Each modality gives its best, a power of two of them, so that pages of one query come from the same candidates;
    similarities that an item's other modality did not bring in are computed from its stored vector.
    """
    composed = {modality: _compose(terms, modality, indexes[modality]) for modality in targets}
    if not composed:
        return []
    depth = max(MIN_CANDIDATES, 1 << (2 * wanted - 1).bit_length())
    found = {modality: indexes[modality].search(query.vector, depth) for modality, query in composed.items()}
    pks = np.unique(np.concatenate([part.items for part in found.values()])).tolist()
    vectors = catalogue.item_vectors(row.generation_pk, pks)
    own = {term.item_pk for term in terms}
    primary = max(composed, key=lambda modality: targets[modality])
    candidates = [_score(pk, vectors[pk], composed, targets, primary) for pk in pks if pk in vectors and pk not in own]
    return sorted(
        (candidate for candidate in candidates if candidate is not None),
        key=lambda candidate: (-candidate.score, candidate.item_pk),
    )


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


def _score(
    pk: int,
    vectors: Mapping[Modality, Vector],
    composed: Mapping[Modality, ComposedQuery],
    targets: Mapping[Modality, float],
    primary: Modality,
) -> Candidate | None:
    present = [modality for modality in composed if modality in vectors]
    if not present:
        return None
    standardised = {m: composed[m].standardise(float(composed[m].vector @ vectors[m])) for m in present}
    cosines = {m: float(composed[m].cosine_vector @ vectors[m]) for m in present}
    return Candidate(pk, fuse(standardised, targets, composed[primary].spread), cosines)
