"""clip-retrieval's protocol, so that its clients and front ends search here; switched on by a setting."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, Request, Response

from app.dependencies import ImageLoader, LoadImage, TheCaller, TheCollections, TheResources, image_url
from app.errors import FieldFault
from app.openapi import ASKING, problems
from app.schemas import clip_retrieval as schemas
from app.strict_json import StrictRoute
from indexer.collection import Collection
from indexer.errors import IndexerError, QueryInvalid
from indexer.types import FoundItem, Item, SearchRequest, Term
from models.errors import ModelError


class ForcedJsonRoute(StrictRoute):
    """A route that reads its body as JSON whatever it is declared as: these clients declare nothing, or a text."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """`StrictRoute`'s handler, with the request declared as JSON."""
        handle = super().get_route_handler()

        async def handle_as_json(request: Request) -> Response:
            others = [(name, value) for name, value in request.scope["headers"] if name != b"content-type"]
            headers = [*others, (b"content-type", b"application/json")]
            return await handle(Request({**request.scope, "headers": headers}, request.receive))

        return handle_as_json


router = APIRouter(tags=["clip-retrieval"], route_class=ForcedJsonRoute)


@router.post("/knn-service", summary="Search, as clip-retrieval does", responses=ASKING | problems(409))
def search(
    body: schemas.KnnBody,
    request: Request,
    resources: TheResources,
    caller: TheCaller,
    load_image: LoadImage,
) -> list[schemas.Result]:
    """Results with their metadata, best first; beyond `num_images` ids and similarities alone."""
    caller.require_collection(body.collection)
    collection = resources.collections.get(body.collection)
    pointer, term = _term(body, load_image)
    asked = SearchRequest(
        terms=(term,),
        limit=body.limit,
        target={body.modality: 1.0},
        collapse_duplicates=schemas.DUPLICATES if body.deduplicate else None,
    )
    try:
        hits = resources.search_batcher.run_one(collection, asked).hits
    except (IndexerError, ModelError) as error:
        raise FieldFault(error, pointer) from error
    return [
        schemas.Result(
            **(_describe(collection, hit.item, request) if number < body.num_images else {})
            | {"id": hit.id, "similarity": hit.scores[body.modality]}
        )
        for number, hit in enumerate(hits)
    ]


@router.post("/metadata", summary="Metadata, as clip-retrieval tells it", responses=ASKING)
def read_metadata(
    body: schemas.MetadataBody, request: Request, collections: TheCollections, caller: TheCaller
) -> list[schemas.Described]:
    """Of the items that are there, in the order of their ids."""
    caller.require_collection(body.collection)
    collection = collections.get(body.collection)
    items = collection.get_some(body.ids)
    there = [items[id_] for id_ in body.ids if id_ in items]
    return [schemas.Described(id=item.id, metadata=_describe(collection, item, request)) for item in there]


@router.get("/indices-list", summary="List collections, as clip-retrieval does", responses=problems())
def list_indices(collections: TheCollections, caller: TheCaller) -> list[str]:
    """The names of those that the key is for."""
    return [info.name for info in collections.infos() if caller.covers(info.name)]


def _term(body: schemas.KnnBody, load_image: ImageLoader) -> tuple[str, Term]:
    """Where the query stands, and what it looks for: the first that is given, as in clip-retrieval's server."""
    if body.text and body.text.strip():
        return "/text", Term(text=body.text)
    if body.image is not None:
        return "/image", Term(image=load_image(f"data:application/octet-stream;base64,{body.image}", "/image"))
    if body.image_url is not None:
        return "/image_url", Term(image=load_image(body.image_url, "/image_url"))
    if body.embedding_input is not None:
        return "/embedding_input", Term(vector=body.embedding_input)
    raise QueryInvalid("give a text, an image, an image_url or an embedding_input")


def _describe(collection: Collection, item: Item | FoundItem, request: Request) -> dict[str, Any]:
    """Its metadata; names that front ends know stand for its text and its picture."""
    described = dict(item.metadata)
    if item.text is not None:
        described["caption"] = item.text
    if (path := image_url(collection, item)) is not None:
        described["url"] = f"{request.base_url}".rstrip("/") + path
    return described
