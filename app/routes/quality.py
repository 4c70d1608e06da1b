"""Quality: what is wrong with a catalogue."""

from functools import partial
from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query

from app.access.scopes import GuardedRoute
from app.dependencies import TheCollection, TheResources, image_url
from app.openapi import READING
from app.schemas import quality as schemas
from indexer.collection import Collection

router = APIRouter(prefix="/v1/collections/{name}/quality", tags=["collections"], route_class=GuardedRoute)


@router.get("", summary="Report on a collection's quality", responses=READING)
async def get_quality(
    query: Annotated[schemas.QualityQuery, Query()], collection: TheCollection, resources: TheResources
) -> schemas.Quality:
    """Computed from all stored vectors, nothing is embedded again; kept until the collection's next write.

    The first call takes seconds for 10,000 items, and about a minute for 200,000.
    """
    # Threads of its own: were those that wait for a report to take the others', nothing else would be answered.
    return await to_thread.run_sync(partial(_report, collection, query), limiter=resources.reporting)


def _report(collection: Collection, query: schemas.QualityQuery) -> schemas.Quality:
    found = collection.quality(query.offset, query.limit, query.duplicate_threshold)
    items = collection.get_some([pair.id for pair in found.worst])
    return schemas.Quality.of(found, {id_: (item, image_url(collection, item)) for id_, item in items.items()})
