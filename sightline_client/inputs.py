"""What users hand in: items to store, queries to search for."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, Required, TypedDict

from numpy.typing import ArrayLike

from sightline_client.pictures import Picture, reference
from sightline_client.results import JsonObject, Modality, Signal
from sightline_client.vectors import encode_vector


@dataclass(frozen=True)
class NewItem:
    """An item to store: at least one of image, text and vectors.

    Args:
        metadata: Any JSON object; datetimes and numpy's numbers are written as JSON's.
        vectors: Ready vectors [dimension], instead of embedding on the server; they need the `fingerprint` of the
            model that made them.
    """

    id: str
    _: KW_ONLY
    image: Picture | None = None
    text: str | None = None
    metadata: JsonObject = field(default_factory=dict)
    vectors: Mapping[Modality, ArrayLike] | None = None
    fingerprint: str | None = None


@dataclass(frozen=True)
class Term:
    """One part of a query: one of text, image, item (more like it) and vector; a negative weight pushes away."""

    text: str | None = None
    _: KW_ONLY
    image: Picture | None = None
    item: str | None = None
    vector: ArrayLike | None = None
    weight: float = 1.0


Query = str | Term | Sequence[str | Term]
"""A text, a term, or a list of these."""


class SearchOptions(TypedDict, total=False):
    """What to find and to tell; what is left out is the server's default. The API's reference explains each."""

    limit: int
    offset: int
    filter: JsonObject
    min_score: float
    mode: Literal["vector", "lexical", "hybrid"]
    fusion: Literal["weighted", "rrf"]
    target: Mapping[Signal, float]
    include: Sequence[Literal["text", "metadata", "vector", "explain"]]
    facets: Sequence[str]
    group_by: str
    group_size: int
    collapse_duplicates: float
    diversity: float
    generation: int


class Search(SearchOptions, total=False):
    """A search of a batch."""

    query: Required[Query]


def item_document(item: NewItem) -> JsonObject:
    """An item as the body of a request, without its id.

    Raises:
        OSError: The file of its picture cannot be read.
        ValueError: Its picture is a text that is no URL.
    """
    vectors = item.vectors and {modality: encode_vector(vector) for modality, vector in item.vectors.items()}
    image = None if item.image is None else reference(item.image)
    parts = {"image": image, "text": item.text, "vectors": vectors, "fingerprint": item.fingerprint}
    return given(parts | {"metadata": item.metadata or None})


def query_document(query: Query) -> list[JsonObject]:
    """A query as the body of a request; raises as `item_document`."""
    terms = [query] if isinstance(query, str | Term) else query
    return [_term_document(Term(term) if isinstance(term, str) else term) for term in terms]


def search_document(query: Query, options: Mapping[str, Any]) -> JsonObject:
    """A search as the body of a request; raises as `item_document`."""
    body = {**options, "query": query_document(query)}
    return body | {"encoding_format": "base64"} if "vector" in options.get("include", ()) else body


def given(parts: Mapping[str, Any]) -> JsonObject:
    """Those that are not None."""
    return {name: value for name, value in parts.items() if value is not None}


def _term_document(term: Term) -> JsonObject:
    image = None if term.image is None else reference(term.image)
    vector = None if term.vector is None else encode_vector(term.vector)
    return given({"text": term.text, "image": image, "item": term.item, "vector": vector, "weight": term.weight})
