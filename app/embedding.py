"""Texts and pictures of one request, embedded in their order."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.dependencies import ImageLoader
from app.errors import blame
from app.schemas.embeddings import EmbeddingInput
from indexer.types import Vector
from models.encoder import Encoder
from models.imaging import ImageLimits, decode_image

IMAGES_AT_ONCE = 16
"""Pictures that are in memory at a time, as the encoder takes them; of decoded ones, which are larger, there is one."""


@dataclass(frozen=True)
class Embedded:
    """One input's embedding; `tokens` is 0 for a picture."""

    vector: Vector
    truncated: bool = False
    tokens: int = 0


def embed_inputs(
    inputs: Sequence[EmbeddingInput], encoder: Encoder, load_image: ImageLoader, limits: ImageLimits
) -> list[Embedded]:
    """Embed all texts in one call and the pictures a few at a time.

    Raises:
        FieldFault: A picture cannot be loaded or decoded; its pointer says which.
    """
    texts = encoder.encode_texts([part.text for part in inputs if part.text is not None])
    of_texts = map(Embedded, texts.vectors, texts.truncated.tolist(), texts.tokens.tolist())
    references = {f"/input/{number}/image": part.image for number, part in enumerate(inputs) if part.image is not None}
    of_images = map(Embedded, embed_images(references, encoder, load_image, limits))
    return [next(of_images) if part.text is None else next(of_texts) for part in inputs]


def embed_images(
    references: dict[str, str], encoder: Encoder, load_image: ImageLoader, limits: ImageLimits
) -> list[Vector]:
    """Embed pictures.

    Args:
        references: An `image` string for each JSON pointer at which the request has one.
    """
    vectors: list[Vector] = []
    numbered = list(references.items())
    for start in range(0, len(numbered), IMAGES_AT_ONCE):
        pixels = []
        for pointer, reference in numbered[start : start + IMAGES_AT_ONCE]:
            with blame(pointer):
                # Without a name, so that no picture stays while the next is loaded, or these are embedded.
                pixels.append(encoder.preprocess(decode_image(load_image(reference, pointer), limits, encoder.enough)))
        vectors += list(encoder.encode_pixels(pixels))
    return vectors
