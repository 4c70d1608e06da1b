"""`QueryCache`: what is searched for again is not embedded again."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Tower = Literal["image", "text"]

ObserveLookup: TypeAlias = Callable[[Tower, bool], None]
"""Told of each look-up which tower it may spare, and whether it did."""


class QueryEmbedding(NamedTuple):
    """A query's vector [dimension], and whether its text was longer than the model's context."""

    vector: NDArray[np.float32]
    truncated: bool = False


class QueryCache:
    """Embeddings of the texts and encoded pictures that were searched for lately, by one model. Thread-safe.

    Of the queries only hashes are kept.

    Args:
        size: Embeddings kept; 0 keeps none.
        observe: Told of each look-up.
    """

    def __init__(self, size: int = 0, observe: ObserveLookup = lambda tower, hit: None) -> None:
        self._size, self._observe = size, observe
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[Tower, bytes], QueryEmbedding] = OrderedDict()

    def get(self, query: str | bytes) -> QueryEmbedding | None:
        """The embedding of a text or of a picture's bytes, if it is kept."""
        if not self._size:
            return None
        key = _key(query)
        with self._lock:
            found = self._kept.get(key)
            if found:
                self._kept.move_to_end(key)
        self._observe(key[0], found is not None)
        return found

    def keep(self, query: str | bytes, embedding: QueryEmbedding) -> None:
        """Keep an embedding, in the place of the one that was asked for longest ago."""
        if not self._size:
            return
        # A row of a batch would keep the whole batch.
        own, key = embedding._replace(vector=embedding.vector.copy()), _key(query)
        with self._lock:
            self._kept[key] = own
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)


def _key(query: str | bytes) -> tuple[Tower, bytes]:
    if isinstance(query, str):
        return "text", hashlib.sha256(query.encode("utf-8", "surrogatepass")).digest()
    return "image", hashlib.sha256(query).digest()
