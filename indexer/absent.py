"""`AbsentEncoder`: in the place of a model that is not there, so that what it made can be searched and changed."""

from collections.abc import Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from indexer.errors import ModelAbsent
from indexer.stores.catalogue import CollectionRow
from models.encoder import TextEmbeddings
from models.preprocessing import Region
from models.query_cache import QueryCache


class AbsentEncoder:
    """An `Encoder` that knows what its model was and embeds nothing: whatever needs it to raises `ModelAbsent`.

    Args:
        row: The generation that the model made.
        reason: Why it is not there.
    """

    def __init__(self, row: CollectionRow, reason: str) -> None:
        self.dimension, self.fingerprint = row.dimension, row.fingerprint
        self.queries = QueryCache()  # nothing is embedded that could be kept
        self._detail = (
            f"{reason}. Until that model is back, or POST /v1/collections/{row.name}/reembed has made the vectors "
            "anew with another one, only items, vectors and words can be searched for, and nothing is embedded"
        )

    @property
    def logit_scale(self) -> float:
        """Nobody knows."""
        self._refuse()

    @property
    def bulk(self) -> "AbsentEncoder":
        """It does no work."""
        return self

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """See `Encoder`."""
        self._refuse()

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        """All of it: it is asked for within the decoding of a picture, which is then refused by `preprocess`."""
        return size

    def region(self, size: tuple[int, int]) -> Region:
        """See `Encoder`."""
        self._refuse()

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Of nothing, nothing."""
        return self._nothing_of(pixels)

    def encode_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Of nothing, nothing."""
        return TextEmbeddings(self._nothing_of(texts), np.empty(0, dtype=np.bool_), np.empty(0, dtype=np.int64))

    def _nothing_of(self, inputs: Sequence[object]) -> NDArray[np.float32]:
        if inputs:
            self._refuse()
        return np.empty((0, self.dimension), dtype=np.float32)

    def _refuse(self) -> NoReturn:
        raise ModelAbsent(self._detail)
