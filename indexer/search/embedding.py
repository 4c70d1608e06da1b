"""The terms of queries as vectors."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from indexer.errors import IndexerError, ItemNotFound, QueryInvalid
from indexer.preparation import check_vector
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import MODALITIES, Modality, Term, Vector
from models.encoder import Encoder
from models.errors import ModelError
from models.imaging import ImageLimits, decode_image
from models.query_cache import QueryEmbedding


@dataclass(frozen=True)
class EmbeddedTerm:
    """A term's embedding against each modality; an item's differs, since like is compared with like."""

    weight: float
    embeddings: Mapping[Modality, Vector]
    item_pk: int | None = None
    truncated: bool = False


Embedded: TypeAlias = list[EmbeddedTerm] | IndexerError | ModelError
"""A query's terms, or why they cannot be embedded."""


class _Loaded(NamedTuple):
    """A term that can be embedded, or is."""

    term: Term
    pixels: NDArray[np.uint8] | None = None
    ready: EmbeddedTerm | None = None


def check_terms(terms: Sequence[Term]) -> None:
    """Raises `QueryInvalid`: no term, a blank text, a weight that is zero or not finite."""
    if not terms:
        raise QueryInvalid("the query needs at least one term", "/query")
    for number, term in enumerate(terms):
        if not math.isfinite(term.weight) or term.weight == 0:
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
    [embedded] = embed_queries([terms], encoder, limits, catalogue, row)
    if isinstance(embedded, Exception):
        raise embedded
    return embedded


def embed_queries(
    queries: Sequence[Sequence[Term]], encoder: Encoder, limits: ImageLimits, catalogue: Catalogue, row: CollectionRow
) -> list[Embedded]:
    """Embed the terms of many queries, all texts in one call and all pictures in one call; see `embed_terms`.

    A query that cannot be embedded stops no other.
    """
    items = _item_terms([term for terms in queries for term in terms], catalogue, row)

    def load(terms: Sequence[Term]) -> list[_Loaded] | IndexerError | ModelError:
        try:
            return list(_load(terms, encoder, limits, items, row.name))
        except (IndexerError, ModelError) as error:
            return error

    loaded = [load(terms) for terms in queries]
    try:
        embedded = iter(list(_embed([term for terms in loaded if isinstance(terms, list) for term in terms], encoder)))
    except (IndexerError, ModelError) as error:
        return [_ready(terms, error) if isinstance(terms, list) else terms for terms in loaded]
    return [[next(embedded) for _ in terms] if isinstance(terms, list) else terms for terms in loaded]


def _ready(terms: Sequence[_Loaded], error: IndexerError | ModelError) -> Embedded:
    """The terms, if the model was not needed for them; else why it could not embed."""
    ready = [one.ready for one in terms if one.ready is not None]
    return ready if len(ready) == len(terms) else error


def _load(
    terms: Sequence[Term], encoder: Encoder, limits: ImageLimits, items: Mapping[str, EmbeddedTerm], collection: str
) -> Iterator[_Loaded]:
    """Check the terms of a query; pictures are resized one by one, as all at full size would be much memory."""
    check_terms(terms)
    for number, term in enumerate(terms):
        query = term.image if term.text is None else term.text
        if query is not None and (known := encoder.queries.get(query)):
            yield _Loaded(term, ready=_embedded(term, known))
        elif term.text is not None:
            yield _Loaded(term)
        elif term.image is not None:
            yield _Loaded(term, pixels=encoder.preprocess(decode_image(term.image, limits, encoder.enough)))
        elif term.vector is not None:
            vector = check_vector(term.vector, encoder.dimension, _pointer(terms, number, "vector"))
            yield _Loaded(term, ready=EmbeddedTerm(term.weight, _everywhere(vector)))
        elif item := items.get(term.item or ""):
            yield _Loaded(term, ready=EmbeddedTerm(term.weight, item.embeddings, item.item_pk))
        else:
            raise ItemNotFound(f"no item {term.item!r} in collection {collection!r}", _pointer(terms, number, "item"))


def _embed(loaded: Sequence[_Loaded], encoder: Encoder) -> Iterator[EmbeddedTerm]:
    """The loaded terms, embedded, in their order."""
    if all(one.ready is not None for one in loaded):
        yield from (one.ready for one in loaded if one.ready is not None)
        return
    texts = encoder.encode_texts([one.term.text for one in loaded if one.term.text is not None and not one.ready])
    pictures = iter(encoder.encode_pixels([one.pixels for one in loaded if one.pixels is not None]))
    text_rows = zip(texts.vectors, texts.truncated.tolist(), strict=True)
    for one in loaded:
        if one.ready is not None:
            yield one.ready
        elif one.term.image is not None:
            yield _keep(one.term, one.term.image, QueryEmbedding(next(pictures)), encoder)
        elif one.term.text is not None:
            yield _keep(one.term, one.term.text, QueryEmbedding(*next(text_rows)), encoder)


def _keep(term: Term, query: str | bytes, embedding: QueryEmbedding, encoder: Encoder) -> EmbeddedTerm:
    encoder.queries.keep(query, embedding)
    return _embedded(term, embedding)


def _embedded(term: Term, embedding: QueryEmbedding) -> EmbeddedTerm:
    return EmbeddedTerm(term.weight, _everywhere(embedding.vector), truncated=embedding.truncated)


def _pointer(terms: Sequence[Term], number: int, field: str) -> str:
    return f"/query/{field}" if len(terms) == 1 else f"/query/{number}/{field}"


def _everywhere(vector: Vector) -> dict[Modality, Vector]:
    return dict.fromkeys(MODALITIES, vector)


def _item_terms(terms: Sequence[Term], catalogue: Catalogue, row: CollectionRow) -> dict[str, EmbeddedTerm]:
    """Items as queries: the image vector against images, the text vector against texts, else the one that it has."""
    ids = {term.item for term in terms if term.item is not None}
    if not ids:
        return {}
    stored = catalogue.items(row.pk, sorted(ids))
    vectors = catalogue.item_vectors(row.generation_pk, [item.pk for item in stored.values()])
    found = {id_: (item.pk, vectors[item.pk]) for id_, item in stored.items() if item.pk in vectors}
    return {id_: EmbeddedTerm(1.0, _of_each_modality(own), pk) for id_, (pk, own) in found.items()}


def _of_each_modality(vectors: Mapping[Modality, Vector]) -> dict[Modality, Vector]:
    fallback = next(iter(vectors.values()))
    return {modality: vectors.get(modality, fallback) for modality in MODALITIES}
