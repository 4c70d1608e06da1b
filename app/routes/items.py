"""Items: put, stored in batches, read, listed, deleted."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.convertors import StringConvertor, register_url_convertor

from app.batches import store_batch
from app.dependencies import ImageLoader, ItemId, LoadImage, TheCaller, TheCollection, TheResources, image_url
from app.errors import BatchTooLarge, FieldFault
from app.forms import PICTURE, form_document, read_body
from app.openapi import ENDING, READING, WRITING, fields_of, problems, refer_to
from app.queries import load_filter
from app.schemas import items as schemas
from app.strict_json import StrictRoute
from indexer.collection import Collection
from indexer.errors import ItemNotFound
from indexer.search.filters import parse_filter
from indexer.types import Failed, Item


class _ItemConvertor(StringConvertor):
    """An id, in which slashes need not be encoded; but one before `image` or `explain` leads to what an item has."""

    regex = "(?:(?!/(?:image|explain)$).)*"


register_url_convertor("item", _ItemConvertor())

router = APIRouter(prefix="/v1/collections/{name}/items", tags=["items"], route_class=StrictRoute)

_JSON_FIELDS = frozenset({"metadata"})
_FORM = fields_of(schemas.ItemBody, "text", "metadata") | {"image": PICTURE}
_PUT_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": refer_to(schemas.ItemBody)},
            "multipart/form-data": form_document(_FORM, [], _JSON_FIELDS),
        },
    }
}


@router.put(
    "/{item_id:item}",
    summary="Store an item",
    responses=WRITING | problems(409) | {201: {"model": schemas.PutItem, "description": "It was created now."}},
    openapi_extra=_PUT_BODY,
)
async def put_item(
    item_id: ItemId, collection: TheCollection, load_image: LoadImage, request: Request, response: Response
) -> schemas.PutItem:
    """When this answers, the item is durable, and the next search finds it."""
    body, image = await read_body(request, schemas.ItemBody, _JSON_FIELDS)
    stored = await run_in_threadpool(_put, collection, item_id, body, image, load_image)
    response.status_code = 201 if stored.status == "created" else 200
    return stored


@router.post("", summary="Store a batch of items", responses=WRITING | problems(409))
def post_items(
    body: schemas.BatchBody,
    query: Annotated[schemas.BatchQuery, Query()],
    collection: TheCollection,
    load_image: LoadImage,
    resources: TheResources,
    caller: TheCaller,
) -> schemas.BatchResults:
    """Each item is answered for itself, in order; a bad one stops no other."""
    limit = resources.settings.max_batch_items
    if len(body.items) > limit:
        raise BatchTooLarge(f"{len(body.items)} items in one request; at most {limit} are allowed", "/items")
    caller.take("rows", len(body.items))
    results = store_batch(collection, body.items, load_image, find_duplicates=query.duplicates)
    return schemas.BatchResults(results=results)


@router.get("", summary="List items", responses=READING)
def list_items(query: Annotated[schemas.ItemsQuery, Query()], collection: TheCollection) -> schemas.ItemPage:
    """Those that match the filter, in the order in which they were first stored."""
    items, cursor = collection.items(query.limit, query.cursor, load_filter(query.filter))
    return schemas.ItemPage(items=[_describe(collection, item) for item in items], next_cursor=cursor)


@router.post("/delete", summary="Delete items", responses=WRITING)
def delete_items(body: schemas.DeleteBody, collection: TheCollection) -> schemas.Deleted:
    """By id, or all that match a filter."""
    if body.ids is not None:
        return schemas.Deleted(deleted=collection.delete(body.ids))
    return schemas.Deleted(deleted=collection.delete_matching(parse_filter(body.filter)))


@router.get("/{item_id:item}", summary="Read an item", responses=READING)
def get_item(item_id: ItemId, collection: TheCollection) -> schemas.Item:
    return _describe(collection, collection.get(item_id))


@router.delete("/{item_id:item}", summary="Delete an item", status_code=204, responses=ENDING)
def delete_item(item_id: ItemId, collection: TheCollection) -> None:
    if not collection.delete([item_id]):
        raise ItemNotFound(f"no item {item_id!r} in collection {collection.name!r}")


def _put(
    collection: Collection, item_id: str, body: schemas.ItemBody, upload: bytes | None, load_image: ImageLoader
) -> schemas.PutItem:
    image = load_image(body.image, "/image") if body.image is not None else upload
    [result] = collection.upsert([body.new_item(item_id, image)], find_duplicates=True)
    if isinstance(result, Failed):
        raise FieldFault.of(result.error)
    return schemas.PutItem.of(result)


def _describe(collection: Collection, item: Item) -> schemas.Item:
    return schemas.Item.of(item, image_url(collection, item))
