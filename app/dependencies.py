"""What routes take: `Annotated` aliases over the state that the lifespan built.

What only looks something up is `async`, else FastAPI hands it to a thread, and depends on the request alone: each step
of a chain of dependencies takes longer than the look-up.
"""

from functools import lru_cache
from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Depends, Path, Request
from pydantic import BeforeValidator

from app.access.caller import Caller, caller_of
from app.errors import blame
from app.schemas.base import MAX_ID_LENGTH
from app.state import Resources
from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import JobNotFound
from indexer.fetching.images import load_image
from indexer.ingest.locations import Locations
from indexer.jobs.runner import Jobs
from indexer.jobs.store import Job
from indexer.types import FoundItem, Item
from models.store import ModelStore


def resources_of(request: Request) -> Resources:
    """What the lifespan built."""
    resources = request.state.resources
    assert isinstance(resources, Resources)
    return resources


async def _resources(request: Request) -> Resources:
    return resources_of(request)


async def _collections(request: Request) -> Collections:
    return resources_of(request).collections


async def _store(request: Request) -> ModelStore:
    return resources_of(request).store


async def _jobs(request: Request) -> Jobs:
    return resources_of(request).jobs


async def _locations(request: Request) -> Locations:
    return resources_of(request).locations


async def _caller(request: Request) -> Caller:
    return caller_of(request.scope)


TheCaller = Annotated[Caller, Depends(_caller)]
TheResources = Annotated[Resources, Depends(_resources)]
TheCollections = Annotated[Collections, Depends(_collections)]
TheStore = Annotated[ModelStore, Depends(_store)]
TheJobs = Annotated[Jobs, Depends(_jobs)]
TheLocations = Annotated[Locations, Depends(_locations)]


def _job(job_id: str, jobs: TheJobs, caller: TheCaller) -> Job:
    job = jobs.get(job_id)
    if not caller.covers(job.collection):
        raise JobNotFound(f"no job {job_id!r}; GET /v1/jobs lists them")
    return job


TheJob = Annotated[Job, Depends(_job)]


def _decode(part: str) -> str:
    """A part of a path as it was before it was percent-encoded; see `KeepEncodedPaths`."""
    return unquote(part, errors="strict")


Name = Annotated[str, BeforeValidator(_decode), Path(description="Name of the collection.", examples=["default"])]
ItemId = Annotated[
    str,
    BeforeValidator(_decode),
    Path(description="Id of the item, percent-encoded.", min_length=1, max_length=MAX_ID_LENGTH, examples=["sku-1042"]),
]

RuleName = Annotated[str, BeforeValidator(_decode), Path(description="Name of the watch rule.", examples=["weapons"])]


def collection_of(request: Request) -> Collection:
    """The collection that the path names.

    Raises:
        CollectionNotFound: There is none.
        UnicodeDecodeError: The name is no text.
    """
    return resources_of(request).collections.get(_decode(request.path_params["name"]))


async def _collection(name: Name, request: Request) -> Collection:
    return resources_of(request).collections.get(name)


TheCollection = Annotated[Collection, Depends(_collection)]


class ImageLoader:
    """Gives the bytes that an image string of a request refers to."""

    def __init__(self, resources: Resources, caller: Caller) -> None:
        self._limits, self._fetcher = resources.settings.image_limits, resources.fetcher
        self._caller = caller

    def __call__(self, reference: str, pointer: str) -> bytes:
        """Load a `data:` URI or an URL.

        Raises:
            FieldFault: It is neither, leads to a forbidden place, or gives no picture of allowed size.
            RateLimited: The caller has had too many pictures in the last minute.
        """
        self._caller.take("pictures")
        with blame(pointer):
            return load_image(reference, self._limits, pointer=pointer, fetcher=self._fetcher)


async def _load_image(request: Request) -> ImageLoader:
    return ImageLoader(resources_of(request), caller_of(request.scope))


LoadImage = Annotated[ImageLoader, Depends(_load_image)]


def image_url(collection: Collection, item: Item | FoundItem) -> str | None:
    """Where an item's picture is, relative to the server; None where it has none."""
    if item.image_sha256 is None or not collection.settings.store_originals:
        return None
    return f"/v1/collections/{_quote(collection.name)}/items/{quote(item.id, safe='')}/image"


@lru_cache
def _quote(name: str) -> str:
    return quote(name, safe="")
