"""What routes take: `Annotated` aliases over the state that the lifespan built.

What only looks something up is `async`: else FastAPI hands it to a thread, which takes longer than the whole look-up.
"""

from typing import Annotated
from urllib.parse import quote, unquote

from fastapi import Depends, Path, Request
from pydantic import BeforeValidator

from app.errors import blame
from app.schemas.base import MAX_ID_LENGTH
from app.state import Resources
from indexer.collection import Collection
from indexer.collections import Collections
from indexer.fetching.images import load_image
from indexer.ingest.locations import Locations
from indexer.jobs.runner import Jobs
from indexer.jobs.store import Job
from indexer.types import Item
from models.store import ModelStore


async def _resources(request: Request) -> Resources:
    resources = request.state.resources
    assert isinstance(resources, Resources)
    return resources


TheResources = Annotated[Resources, Depends(_resources)]


async def _collections(resources: TheResources) -> Collections:
    return resources.collections


async def _store(resources: TheResources) -> ModelStore:
    return resources.store


TheCollections = Annotated[Collections, Depends(_collections)]
TheStore = Annotated[ModelStore, Depends(_store)]


async def _jobs(resources: TheResources) -> Jobs:
    return resources.jobs


async def _locations(resources: TheResources) -> Locations:
    return resources.locations


TheJobs = Annotated[Jobs, Depends(_jobs)]
TheLocations = Annotated[Locations, Depends(_locations)]


def _job(job_id: str, jobs: TheJobs) -> Job:
    return jobs.get(job_id)


TheJob = Annotated[Job, Depends(_job)]


def _decode(part: str) -> str:
    """A part of a path as it was before it was percent-encoded; see `KeepEncodedPaths`."""
    return unquote(part, errors="strict")


Name = Annotated[str, BeforeValidator(_decode), Path(description="Name of the collection.", examples=["default"])]
ItemId = Annotated[
    str,
    BeforeValidator(_decode),
    Path(description="Id of the item, percent-encoded.", min_length=1, max_length=MAX_ID_LENGTH),
]

RuleName = Annotated[str, BeforeValidator(_decode), Path(description="Name of the watch rule.", examples=["weapons"])]


async def _collection(name: Name, collections: TheCollections) -> Collection:
    return collections.get(name)


TheCollection = Annotated[Collection, Depends(_collection)]


class ImageLoader:
    """Gives the bytes that an image string of a request refers to."""

    def __init__(self, resources: Resources) -> None:
        self._limits, self._fetcher = resources.settings.image_limits, resources.fetcher

    def __call__(self, reference: str, pointer: str) -> bytes:
        """Load a `data:` URI or an URL.

        Raises:
            FieldFault: It is neither, leads to a forbidden place, or gives no picture of allowed size.
        """
        with blame(pointer):
            return load_image(reference, self._limits, pointer=pointer, fetcher=self._fetcher)


async def _load_image(resources: TheResources) -> ImageLoader:
    return ImageLoader(resources)


LoadImage = Annotated[ImageLoader, Depends(_load_image)]


def image_url(collection: Collection, item: Item) -> str | None:
    """Where an item's picture is, relative to the server; None where it has none."""
    if item.image_sha256 is None or not collection.settings.store_originals:
        return None
    return f"/v1/collections/{quote(collection.name, safe='')}/items/{quote(item.id, safe='')}/image"
