"""Embeddings and zero-shot labels for other services."""

import base64
from collections.abc import Sequence

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray

from app.dependencies import ImageLoader, LoadImage, TheCollections, TheResources
from app.errors import BatchTooLarge, DimensionsUnsupported, blame
from app.openapi import WRITING
from app.schemas import embeddings as schemas
from app.strict_json import StrictRoute
from app.zero_shot import label_probabilities
from indexer.collection import Collection
from indexer.errors import OriginalMissing
from models.encoder import Encoder
from models.imaging import ImageLimits, decode_image

router = APIRouter(prefix="/v1", tags=["embedding"], route_class=StrictRoute)

IMAGES_AT_ONCE = 16
"""Pictures that are in memory decoded at a time."""

Vector = NDArray[np.float32]


@router.post("/embeddings", summary="Embed texts and pictures", responses=WRITING)
def create_embeddings(
    body: schemas.EmbeddingsBody, resources: TheResources, load_image: LoadImage
) -> schemas.Embeddings:
    """OpenAI's request and response, so that its client works unchanged."""
    limit, inputs = resources.settings.max_embedding_inputs, body.input
    if len(inputs) > limit:
        raise BatchTooLarge(f"{len(inputs)} inputs in one request; at most {limit} are allowed", "/input")
    model = body.model or resources.settings.model
    with blame("/model"):
        encoder = resources.open_encoder(model)
    if body.dimensions not in (None, encoder.dimension):
        raise DimensionsUnsupported(f"model {model!r} makes {encoder.dimension} dimensions only", "/dimensions")
    texts = encoder.encode_texts([part.text for part in inputs if part.text is not None])
    vectors, truncated = iter(texts.vectors), iter(texts.truncated.tolist())
    pictures = iter(_embed_images(inputs, encoder, resources.settings.image_limits, load_image))
    data = [
        schemas.Embedding(
            index=index,
            embedding=_encode(next(pictures) if part.text is None else next(vectors), body.encoding_format),
            truncated=part.text is not None and next(truncated),
        )
        for index, part in enumerate(inputs)
    ]
    tokens = int(texts.tokens.sum())
    return schemas.Embeddings(data=data, model=model, usage=schemas.Usage(prompt_tokens=tokens, total_tokens=tokens))


@router.post("/classify", summary="Label a picture, zero-shot", responses=WRITING)
def classify(
    body: schemas.ClassifyBody, collections: TheCollections, resources: TheResources, load_image: LoadImage
) -> schemas.Classification:
    """Which of the labels fits the picture, by the cosine of their embeddings."""
    collection = collections.get(body.collection)
    encoder = collection.encoder
    if body.item is not None:
        vector = _item_vector(collection, body.item)
    else:
        part = schemas.EmbeddingInput(image=body.image)
        [vector] = _embed_images([part], encoder, resources.settings.image_limits, load_image, "/image")
    scores = label_probabilities(vector, body.labels, body.template, encoder)
    ranked = sorted(zip(body.labels, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    labels = [schemas.LabelScore(label=label, score=score) for label, score in ranked]
    return schemas.Classification(labels=labels, model=collection.settings.model)


def _embed_images(
    inputs: Sequence[schemas.EmbeddingInput],
    encoder: Encoder,
    limits: ImageLimits,
    load_image: ImageLoader,
    pointer: str = "/input/{}/image",
) -> list[Vector]:
    numbered = [(number, part.image) for number, part in enumerate(inputs) if part.image is not None]
    vectors: list[Vector] = []
    for start in range(0, len(numbered), IMAGES_AT_ONCE):
        pictures = []
        for number, reference in numbered[start : start + IMAGES_AT_ONCE]:
            field = pointer.format(number)
            with blame(field):
                pictures.append(decode_image(load_image(reference, field), limits))
        vectors += list(encoder.encode_images(pictures))
    return vectors


def _item_vector(collection: Collection, item_id: str) -> Vector:
    with blame("/item"):
        vector = collection.vectors(item_id).get("image")
        if vector is None:
            raise OriginalMissing(f"item {item_id!r} has no picture")
    return vector


def _encode(vector: Vector, encoding: str) -> list[float] | str:
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return [float(value) for value in vector]
