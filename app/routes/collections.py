"""Collections: made, listed, described, deleted."""

from fastapi import APIRouter, Response

from app.dependencies import Name, TheCaller, TheCollection, TheCollections, TheJobs, TheResources
from app.openapi import ENDING, READING, WRITING, problems
from app.schemas.collections import Collection, CollectionBody, CollectionList
from app.strict_json import StrictRoute

router = APIRouter(prefix="/v1/collections", tags=["collections"], route_class=StrictRoute)


@router.put(
    "/{name}",
    summary="Create a collection",
    responses=WRITING | problems(409) | {201: {"model": Collection, "description": "It was created now."}},
)
def put_collection(name: Name, body: CollectionBody, resources: TheResources, response: Response) -> Collection:
    """200 if it exists with these settings, 409 if it exists with others."""
    settings = body.settings(resources.settings.model)
    info, created = resources.collections.put(name, settings, any_model=body.model is None)
    response.status_code = 201 if created else 200
    return Collection.of(info)


@router.get("", summary="List collections", responses=problems())
def list_collections(collections: TheCollections, caller: TheCaller) -> CollectionList:
    """Those that the key is for."""
    infos = [info for info in collections.infos() if caller.covers(info.name)]
    return CollectionList(collections=[Collection.of(info) for info in infos])


@router.get("/{name}", summary="Describe a collection", responses=READING)
def get_collection(collection: TheCollection) -> Collection:
    return Collection.of(collection.info())


@router.delete("/{name}", summary="Delete a collection", status_code=204, responses=ENDING)
def delete_collection(name: Name, collections: TheCollections, jobs: TheJobs) -> None:
    """With its items, pictures and index, and what was still to be done; `default` comes back empty."""
    jobs.cancel_all(name)
    collections.delete(name)
