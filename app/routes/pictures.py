"""Items' pictures: the original or a thumbnail, with what caches need."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response

from app.access.scopes import GuardedRoute
from app.dependencies import ItemId, TheCollection, TheResources
from app.openapi import READING
from app.thumbnails import MEDIA_TYPE
from indexer.errors import OriginalMissing

router = APIRouter(prefix="/v1/collections/{name}/items", tags=["items"], route_class=GuardedRoute)

_HEADERS = {
    # A picture may be replaced under the same address, so caches ask; an unchanged one costs them no bytes.
    "Cache-Control": "private, no-cache",
    # Were a picture ever taken for a document, it could run nothing.
    "Content-Security-Policy": "default-src 'none'; sandbox",
}
_PICTURE = {"schema": {"type": "string", "format": "binary"}}
_RESPONSES = READING | {
    200: {"description": "The picture.", "content": {"image/*": _PICTURE}},
    304: {"description": "It is what `If-None-Match` named."},
}

Width = Annotated[int | None, Query(ge=16, le=2048, description="Of a JPEG thumbnail; the original if left out.")]


@router.get("/{item_id:path}/image", summary="An item's picture", response_class=Response, responses=_RESPONSES)
def get_image(
    item_id: ItemId,
    collection: TheCollection,
    resources: TheResources,
    width: Width = None,
    if_none_match: Annotated[str | None, Header()] = None,
) -> Response:
    item = collection.get(item_id)
    if item.image_sha256 is None:
        raise OriginalMissing(f"item {item_id!r} has no picture")
    etag = f'"{item.image_sha256}{"" if width is None else f"-{width}"}"'
    if _names(if_none_match, etag):
        return Response(status_code=304, headers=_HEADERS | {"ETag": etag})
    if width is None:
        data, media_type = collection.original(item), item.image_type or "application/octet-stream"
    else:
        data = resources.thumbnails.get(item.image_sha256, width, lambda: collection.original(item))
        media_type = MEDIA_TYPE
    return Response(data, media_type=media_type, headers=_HEADERS | {"ETag": etag})


def _names(if_none_match: str | None, etag: str) -> bool:
    given = [tag.strip().removeprefix("W/") for tag in (if_none_match or "").split(",")]
    return etag in given or given == ["*"]
