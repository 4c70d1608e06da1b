"""`DualEncoder`: the two ONNX towers of one model, ready to embed pictures and texts."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.batching import Batcher, Row
from models.bulk_batching import BulkBatcher
from models.lanes import Lane, Lanes
from models.manifest import Manifest, read_manifest
from models.preprocessing import Region
from models.query_cache import QueryCache, Tower
from models.sessions import Device, Session
from models.tokenizing import TextTokenizer

MAX_IMAGES = 32
"""Pictures that are held decoded at a time."""

LARGEST_IMAGES, LARGEST_TEXTS = 8, 32
"""Rows of a batch on CPU: more are no faster, and nobody waits long for the batch before."""
LARGEST_IMAGES_GPU, LARGEST_TEXTS_GPU = 64, 256
"""Rows of a batch on a GPU, which fewer would not fill."""

PAD_STEP = 4
"""Texts are padded to a multiple of so many tokens: few lengths make large batches, many waste little on padding."""

ObserveTower = Callable[[Tower, Lane, int, Sequence[float]], None]
"""Told of each batch of a tower; see `models.batching.Observe`."""

WAITING_IMAGES = 256
WAITING_TEXTS = 2048
"""Rows that may wait before more are refused."""


class TextEmbeddings(NamedTuple):
    """Embeddings of n texts, with what the tokeniser saw of each."""

    vectors: NDArray[np.float32]
    """[n, dimension], unit length."""
    truncated: NDArray[np.bool_]
    """[n], whether the text was longer than the model's context."""
    tokens: NDArray[np.int64]
    """[n], tokens embedded, special ones included."""


class Encoder(Protocol):
    """What `indexer` and `app` need of a model."""

    @property
    def dimension(self) -> int:
        """Length of every embedding."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over all that decides an embedding; vectors of two fingerprints are never compared."""

    @property
    def logit_scale(self) -> float:
        """Temperature of the contrastive softmax: logits are `logit_scale * cosine`."""

    @property
    def queries(self) -> QueryCache:
        """What it embedded lately for searches."""

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop an RGB picture as the model was trained: uint8 [height, width, 3]."""

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to which a picture of `size` may be scaled while it is decoded for `preprocess`."""

    def region(self, size: tuple[int, int]) -> Region:
        """Where what `preprocess` gives lies in a picture of `size` (width, height)."""

    @property
    def bulk(self) -> "Encoder":
        """The same model for work that nobody waits for: each run of a tower is a step in the lane of such work."""

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed preprocessed pictures: float32 [n, dimension], unit length; [] gives shape (0, dimension)."""

    def encode_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embed texts; longer ones than the model's context are truncated and reported, never refused."""


def _in_lanes(
    tower: Session,
    run: Callable[[Sequence[Row]], NDArray[np.float32]],
    *,
    bucket: Callable[[Row], int] = lambda row: 0,
    largest: int,
    most_waiting: int,
    lanes: Lanes,
    observe: Callable[[Lane, int, Sequence[float]], None],
) -> dict[Lane, Batcher | BulkBatcher]:
    """What embeds rows in each lane. They share the cores, not a queue: people never wait for bulk work to end."""
    return {
        "interactive": Batcher(
            run,
            bucket=bucket,
            largest=largest,
            parallel=tower.parallel,
            most_waiting=most_waiting,
            observe=partial(observe, "interactive"),
        ),
        "bulk": BulkBatcher(
            run,
            lanes,
            bucket=bucket,
            largest=largest,
            parallel=tower.parallel,
            cores=tower.cores,
            observe=partial(observe, "bulk"),
        ),
    }


class DualEncoder:
    """An exported model on one device. Thread-safe; build it with `DualEncoder.open`.

    What is asked for at the same time by several threads goes through a tower together; see `models.batching`.
    """

    def __init__(
        self,
        manifest: Manifest,
        image: Session,
        text: Session,
        tokenizer: TextTokenizer,
        lanes: Lanes,
        observe: ObserveTower,
        queries: QueryCache,
    ) -> None:
        self.manifest, self.queries = manifest, queries
        self.image, self.text = image, text
        self.providers = image.providers
        """ONNX Runtime's execution providers in use, first choice first."""
        self.images = _in_lanes(
            image,
            lambda pictures: image.run(np.stack(pictures)),
            largest=LARGEST_IMAGES_GPU if image.on_gpu else LARGEST_IMAGES,
            most_waiting=WAITING_IMAGES,
            lanes=lanes,
            observe=partial(observe, "image"),
        )
        self.texts = _in_lanes(
            text,
            lambda rows: text.run(self._pad(rows)),
            bucket=self._padded,
            largest=LARGEST_TEXTS_GPU if text.on_gpu else LARGEST_TEXTS,
            most_waiting=WAITING_TEXTS,
            lanes=lanes,
            observe=partial(observe, "text"),
        )
        self._tokenizer = tokenizer
        self._lane: Lane = "interactive"

    @classmethod
    def open(
        cls,
        folder: Path,
        *,
        device: Device = "auto",
        threads: int = 1,
        cores: int | None = None,
        lanes: Lanes | None = None,
        observe: ObserveTower = lambda *_: None,
        queries: QueryCache | None = None,
    ) -> "DualEncoder":
        """Load a model folder.

        Args:
            threads: Of one run on CPU; as many runs go on at once as the cores allow. 0 takes one per physical core.
            cores: That it may use; all of this machine, or of the container, if None.
            lanes: Those of the process, where others than this model's work is to give way to.
            observe: Told of each batch of a tower.
            queries: Keeps what is embedded for searches; without it nothing is kept.

        Raises:
            ManifestInvalid: The folder's `model.json` is missing or wrong.
            FileCorrupt: A tower cannot be loaded.
            DeviceUnavailable: The device is not there.
        """
        manifest = read_manifest(folder)
        tokenizer = TextTokenizer(
            folder / "tokenizer.json", context_length=manifest.context_length, clean=manifest.clean
        )
        image, text = (
            Session(folder / f"{tower}.onnx", device=device, threads=threads, cores=cores)
            for tower in ("image", "text")
        )
        return cls(manifest, image, text, tokenizer, lanes or Lanes(), observe, queries or QueryCache())

    @property
    def dimension(self) -> int:
        return self.manifest.dimension

    @property
    def fingerprint(self) -> str:
        return self.manifest.fingerprint

    @property
    def logit_scale(self) -> float:
        return self.manifest.logit_scale

    @property
    def bulk(self) -> "DualEncoder":
        """The same model for work that nobody waits for: each run of a tower is a step in the lane of such work."""
        other = copy(self)
        other._lane, other.queries = "bulk", QueryCache()
        return other

    def encode_images(self, images: Sequence[Image.Image]) -> NDArray[np.float32]:
        """Embed RGB pictures of any size.

        Returns:
            float32 [n, dimension], unit length; [] gives shape (0, dimension).
        """
        rows = [np.empty((0, self.dimension), dtype=np.float32)]
        for start in range(0, len(images), MAX_IMAGES):  # few at a time, as all would be much memory
            pixels = [self.preprocess(image) for image in images[start : start + MAX_IMAGES]]
            rows.append(self.encode_pixels(pixels))
        return np.concatenate(rows)

    def preprocess(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop one RGB picture.

        Returns:
            uint8 [height, width, 3].
        """
        return self.manifest.preprocessing.pixels(image)

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to which a picture of `size` may be scaled while it is decoded for `preprocess`."""
        return self.manifest.preprocessing.enough(size)

    def region(self, size: tuple[int, int]) -> Region:
        """Where what `preprocess` gives lies in a picture of `size` (width, height)."""
        return self.manifest.preprocessing.region(size)

    def encode_pixels(self, pixels: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embed preprocessed pictures.

        Returns:
            float32 [n, dimension], unit length; [] gives shape (0, dimension).
        """
        vectors = self.images[self._lane](pixels)
        return np.array(vectors, dtype=np.float32).reshape(-1, self.dimension)

    def encode_texts(self, texts: Sequence[str]) -> TextEmbeddings:
        """Embed texts of any length; texts of like length go through the tower together, so that padding is small."""
        ids, truncated = self._tokenizer(texts)
        lengths = np.array([len(row) for row in ids], dtype=np.int64)
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        order = np.argsort(lengths, kind="stable")
        if len(order):
            vectors[order] = self.texts[self._lane]([ids[index] for index in order])
        return TextEmbeddings(vectors, truncated, lengths)

    def _padded(self, row: NDArray[np.int64]) -> int:
        """Tokens that a text is padded to: its own length alone decides, so that its vector depends on no batch."""
        context = self.manifest.context_length
        return min(-(-len(row) // PAD_STEP) * PAD_STEP, context) if self.manifest.dynamic_length else context

    def _pad(self, rows: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
        """[n, l] of rows that are padded to one length."""
        padded = np.full((len(rows), self._padded(rows[0])), self.manifest.pad_id, dtype=np.int64)
        for target, row in zip(padded, rows, strict=True):
            target[: len(row)] = row
        return padded
