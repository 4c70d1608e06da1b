"""Heat maps: where in an item's picture a query matches."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Header, Response
from starlette.concurrency import run_in_threadpool

from app.data_uris import data_uri
from app.dependencies import ItemId, LoadImage, TheCollection, TheResources
from app.heatmaps import MEDIA_TYPE, make_heatmap
from app.openapi import ASKING, problems
from app.queries import blame_pictures, load_terms
from app.responses import model_response
from app.schemas import explain as schemas
from app.strict_json import StrictRoute
from indexer.collection import Collection
from indexer.types import Term
from models.imaging import decode_image

router = APIRouter(prefix="/v1/collections/{name}/items", tags=["search"], route_class=StrictRoute)

_PNG = {"schema": {"type": "string", "format": "binary"}}
_HEAT_MAP = {"description": "The heat map, as `Accept` asks for it.", "content": {MEDIA_TYPE: _PNG}}
_RESPONSES = ASKING | problems(409) | {200: _HEAT_MAP}


@router.post(
    "/{item_id:path}/explain",
    summary="Show where in its picture an item matches a query",
    response_model=schemas.HeatMap,
    responses=_RESPONSES,
)
async def explain(
    item_id: ItemId,
    body: schemas.ExplainBody,
    collection: TheCollection,
    resources: TheResources,
    load_image: LoadImage,
    accept: Annotated[str, Header(include_in_schema=False)] = "",
) -> Response:
    """Embeds some two hundred copies of the picture with a part hidden; two heat maps are computed at a time.

    With `Accept: image/png` the answer is the picture under the heat itself.
    """
    # Before this one's turn: a URL may be slow, and would keep the next heat map waiting.
    terms = await run_in_threadpool(load_terms, body.query, load_image)
    return await to_thread.run_sync(
        _explain, collection, item_id, body, terms, _asks_for_png(accept), limiter=resources.explaining
    )


def _explain(
    collection: Collection, item_id: str, body: schemas.ExplainBody, terms: tuple[Term, ...], as_png: bool
) -> Response:
    picture = decode_image(collection.original(collection.get(item_id)), collection.limits)
    with blame_pictures(body.query):
        found = collection.explain(picture, terms)
    region = collection.encoder.region(picture.size)
    png = make_heatmap(picture, found.grid, region)
    if as_png:
        return Response(png, media_type=MEDIA_TYPE)
    rows, columns = found.grid.shape
    return model_response(
        schemas.HeatMap(
            score=found.score,
            grid=found.grid.tolist(),
            rows=rows,
            columns=columns,
            box=schemas.Box(**region._asdict()),
            image=data_uri(png, MEDIA_TYPE),
        )
    )


def _asks_for_png(accept: str) -> bool:
    types = {part.partition(";")[0].strip().lower() for part in accept.split(",")}
    return MEDIA_TYPE in types and "application/json" not in types
