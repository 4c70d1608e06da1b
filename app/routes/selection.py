"""Selection: a few items that cover a collection."""

from anyio import to_thread
from fastapi import APIRouter, Response

from app.dependencies import TheCollection, TheResources, image_url
from app.openapi import ASKING
from app.queries import filter_of
from app.responses import model_response
from app.schemas import selection as schemas
from app.strict_json import StrictRoute
from indexer.collection import Collection

router = APIRouter(prefix="/v1/collections/{name}/select", tags=["collections"], route_class=StrictRoute)


@router.post("", summary="Select items that cover a collection", response_model=schemas.SelectedItems, responses=ASKING)
async def select(body: schemas.SelectBody, collection: TheCollection, resources: TheResources) -> Response:
    """By the vectors of their pictures, of items without one by that of their text; the same ones for the same items.

    Of more than 50,000 items, `diverse` ones are chosen among a random sample of as many.
    """
    return await to_thread.run_sync(_select, collection, body, limiter=resources.selecting)


def _select(collection: Collection, body: schemas.SelectBody) -> Response:
    chosen = collection.select(body.k, body.method, filter_of(body.filter))
    items = [schemas.SelectedItem.of(one, image_url(collection, one.item)) for one in chosen]
    return model_response(schemas.SelectedItems(items=items), only_set=True)
