"""Embeddings and zero-shot labels for other services."""

from fastapi import APIRouter, Response

from app.dependencies import LoadImage, TheCaller, TheCollections, TheResources
from app.embedding import embed_images, embed_inputs
from app.errors import BatchTooLarge, DimensionsUnsupported, blame
from app.openapi import WRITING, problems
from app.responses import encode_vector, model_response
from app.schemas import embeddings as schemas
from app.strict_json import StrictRoute
from app.zero_shot import label_probabilities
from indexer.collection import Collection
from indexer.errors import OriginalMissing
from indexer.types import Vector

router = APIRouter(prefix="/v1", tags=["embedding"], route_class=StrictRoute)


@router.post("/embeddings", summary="Embed texts and pictures", response_model=schemas.Embeddings, responses=WRITING)
def create_embeddings(
    body: schemas.EmbeddingsBody, resources: TheResources, load_image: LoadImage, caller: TheCaller
) -> Response:
    """OpenAI's request and response, so that its client works unchanged."""
    settings, model = resources.settings, body.model or resources.settings.model
    _check_count(len(body.input), settings.max_embedding_inputs)
    caller.take("rows", len(body.input))
    with blame("/model"):
        encoder = resources.open_encoder(model)
    if body.dimensions not in (None, encoder.dimension):
        raise DimensionsUnsupported(f"model {model!r} makes {encoder.dimension} dimensions only", "/dimensions")
    embedded = embed_inputs(body.input, encoder, load_image, settings.image_limits)
    data = [
        schemas.Embedding(
            index=index, embedding=encode_vector(part.vector, body.encoding_format), truncated=part.truncated
        )
        for index, part in enumerate(embedded)
    ]
    tokens = sum(part.tokens for part in embedded)
    usage = schemas.Usage(prompt_tokens=tokens, total_tokens=tokens)
    return model_response(schemas.Embeddings(data=data, model=model, usage=usage))


@router.post("/classify", summary="Label a picture, zero-shot", responses=WRITING | problems(409))
def classify(
    body: schemas.ClassifyBody,
    collections: TheCollections,
    resources: TheResources,
    load_image: LoadImage,
    caller: TheCaller,
) -> schemas.Classification:
    """Which of the labels fits the picture, by the cosine of their embeddings."""
    caller.require_collection(body.collection)
    collection = collections.get(body.collection)
    encoder = collection.encoder
    if body.image is not None:
        [vector] = embed_images({"/image": body.image}, encoder, load_image, resources.settings.image_limits)
    else:
        vector = _item_vector(collection, body.item or "")
    scores = label_probabilities(vector, body.labels, body.template, encoder)
    ranked = sorted(zip(body.labels, scores.tolist(), strict=True), key=lambda pair: -pair[1])
    labels = [schemas.LabelScore(label=label, score=score) for label, score in ranked]
    return schemas.Classification(labels=labels, model=collection.settings.model)


def _check_count(count: int, limit: int) -> None:
    if count > limit:
        raise BatchTooLarge(f"{count} inputs in one request; at most {limit} are allowed", "/input")


def _item_vector(collection: Collection, item_id: str) -> Vector:
    with blame("/item"):
        vector = collection.vectors(item_id).get("image")
        if vector is None:
            raise OriginalMissing(f"item {item_id!r} has no picture")
    return vector
