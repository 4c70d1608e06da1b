"""A stand-in for the encoder, whose vectors can be computed by hand: red things are near the word "red"."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.encoder import TextEmbeddings
from models.preprocessing import Region
from models.query_cache import QueryCache

COLOURS = {
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "black": (0, 0, 0),
    "white": (255, 255, 255),
}


class FakeEncoder:
    """Vector of a picture: its mean colour; of a text: the mean of its colour words; the rest is a hash, small."""

    providers = ("FakeExecutionProvider",)

    def __init__(self, dimension: int = 16, fingerprint: str = "f" * 64) -> None:
        self.dimension = dimension
        self.fingerprint = fingerprint
        self.logit_scale = 10.0
        self.queries = QueryCache()
        self.encoded_images = 0
        self.encoded_texts = 0

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        return np.asarray(image.convert("RGB").resize((8, 8)))

    @property
    def bulk(self) -> "FakeEncoder":
        return self

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        return size

    def region(self, size: tuple[int, int]) -> Region:
        return Region(0, 0, 1, 1)

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        self.encoded_images += len(pixels)
        rows = [self._vector(np.mean(picture, (0, 1)), picture.astype(np.float32).tobytes()) for picture in pixels]
        return np.array(rows, dtype=np.float32).reshape(-1, self.dimension)

    def encode_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        self.encoded_texts += len(texts)
        words = [re.findall(r"\w+", text.lower()) for text in texts]
        rows = []
        for text, row in zip(texts, words, strict=True):
            colours = [COLOURS[word] for word in row if word in COLOURS]
            mean = np.mean(colours, axis=0) if colours else np.full(3, 127.0)
            rows.append(self._vector(mean, text.encode("utf-8", "surrogatepass")))
        return TextEmbeddings(
            np.array(rows, dtype=np.float32).reshape(-1, self.dimension),
            np.array([len(row) > 77 for row in words], dtype=bool),
            np.array([min(len(row), 77) for row in words], dtype=np.int64),
        )

    def _vector(self, colour: NDArray[np.floating], seed: bytes) -> NDArray[np.float32]:
        noise = np.random.default_rng(int.from_bytes(hashlib.sha256(seed).digest()[:8], "big"))
        vector = noise.normal(scale=0.02, size=self.dimension)
        vector[:3] += (np.asarray(colour) - 127.5) / 127.5
        return (vector / np.linalg.norm(vector)).astype(np.float32)
