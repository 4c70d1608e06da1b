"""A query that is kept: its terms as JSON, and the vectors that items are compared with."""

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from indexer.errors import RuleInvalid
from indexer.search.embedding import EmbeddedTerm
from indexer.search.fusion import mean_vector
from indexer.types import MODALITIES, Term
from models.imaging import image_type


def to_document(term: Term) -> dict[str, Any]:
    """A term as JSON can hold it; a picture, which must be known to be decodable, as a `data:` URI."""
    image = None if term.image is None else data_uri(term.image)
    parts = {"text": term.text, "image": image, "item": term.item, "vector": term.vector and list(term.vector)}
    return {"weight": term.weight} | {name: part for name, part in parts.items() if part is not None}


def from_document(document: dict[str, Any]) -> Term:
    """The term that `to_document` was given."""
    image = document.get("image")
    return Term(**document | ({} if image is None else {"image": base64.b64decode(image.partition(",")[2])}))


def data_uri(image: bytes) -> str:
    """The bytes of a decodable picture as a `data:` URI."""
    return f"data:{image_type(image)};base64,{base64.b64encode(image).decode()}"


def holds_for_any_model(terms: Sequence[Term]) -> bool:
    """Whether all terms can be embedded again: the vectors of items and clients hold for one model only."""
    return all(term.text is not None or term.image is not None for term in terms)


def query_vectors(embedded: Sequence[EmbeddedTerm]) -> NDArray[np.float32]:
    """What to compare with the vectors of each modality: float32 [modalities, dimension].

    Their dot products with an item's vectors are the weighted mean cosines that search shows as `scores`.

    Raises:
        RuleInvalid: The terms cancel each other out.
    """
    weights = [term.weight for term in embedded]
    vectors = np.stack(
        [mean_vector([term.embeddings[modality] for term in embedded], weights) for modality in MODALITIES]
    )
    if not np.isfinite(vectors).all() or (np.linalg.norm(vectors, axis=1) < 1e-6).any():
        raise RuleInvalid("the terms of the query cancel each other out", "/query")
    return vectors
