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
class Ranking:
    """All candidates of a query, best first, before any of them is read from the catalogue."""

    candidates: list[tuple[int, float]]
    """Primary key of the item, and its score."""
    composed: Mapping[Modality, ComposedQuery]

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


def rank(
    terms: Sequence[EmbeddedTerm],
    targets: Mapping[Modality, float],
    indexes: Mapping[Modality, VectorIndex],
    catalogue: Catalogue,
    row: CollectionRow,
    wanted: int,
) -> Ranking:
    """Search every target modality and fuse; at least the `wanted` best candidates where there are as many.

    Each modality gives its best, a power of two of them, so that pages of one query come from the same candidates;
    a similarity that an item's other modality did not bring in is computed from its stored vector.
    """
    composed = {modality: _compose(terms, modality, indexes[modality]) for modality in targets}
    depth = max(MIN_CANDIDATES, 1 << (2 * wanted - 1).bit_length())
    standardised: dict[int, dict[Modality, float]] = {}
    for modality, query in composed.items():
        found = indexes[modality].search(query.vector, depth)
        for pk, similarity in zip(found.items.tolist(), found.similarities.tolist(), strict=True):
            standardised.setdefault(pk, {})[modality] = query.standardise(similarity)
    for term in terms:
        standardised.pop(term.item_pk or 0, None)
    _fill_in(standardised, composed, catalogue, row)
    if not standardised:
        return Ranking([], composed)
    scale = composed[max(composed, key=lambda modality: targets[modality])].spread
    scored = [(pk, fuse(own, targets, scale)) for pk, own in standardised.items()]
    return Ranking(sorted(scored, key=lambda pair: (-pair[1], pair[0])), composed)


def _fill_in(
    standardised: dict[int, dict[Modality, float]],
    composed: Mapping[Modality, ComposedQuery],
    catalogue: Catalogue,
    row: CollectionRow,
) -> None:
    """Add the scores of modalities that an item has but did not come up with."""
    partial = [pk for pk, own in standardised.items() if len(own) < len(composed)]
    for pk, vectors in catalogue.item_vectors(row.generation_pk, partial).items():
        for modality in composed.keys() & vectors.keys() - standardised[pk].keys():
            query = composed[modality]
            standardised[pk][modality] = query.standardise(float(query.vector @ vectors[modality]))


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
