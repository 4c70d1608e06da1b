"""An encoder that costs nothing, so that the rest is measured."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.encoder import TextEmbeddings
from models.preprocessing import Region
from models.query_cache import QueryCache


class RandomEncoder:
    """Embeds everything as a random direction."""

    fingerprint, logit_scale, providers = "0" * 64, 10.0, ("None",)

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.queries = QueryCache()
        self._random = np.random.default_rng(0)

    @property
    def bulk(self) -> "RandomEncoder":
        return self

    def encode_texts(self, texts: list[str]) -> TextEmbeddings:
        vectors = self._random.standard_normal((len(texts), self.dimension), dtype=np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return TextEmbeddings(vectors, np.zeros(len(texts), dtype=bool), np.ones(len(texts), dtype=np.int64))

    def encode_pixels(self, pixels: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        return self.encode_texts([""] * len(pixels)).vectors

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image)

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def region(self, size: tuple[int, int]) -> Region:
        return Region(0, 0, 1, 1)
