"""The server, its models, its collections and their generations."""

from collections.abc import Mapping
from operator import attrgetter
from typing import Literal

from sightline_client.call import Call, delete, get, once, path_of, post, put
from sightline_client.inputs import given
from sightline_client.results import Collection, Generation, Job, Modality, Model, Readiness
from sightline_client.results.base import Result


class _Models(Result):
    data: list[Model]


class _Collections(Result):
    collections: list[Collection]


class _Generations(Result):
    generations: list[Generation]


def ready() -> Call[Readiness]:
    """Ask whether the server can serve; it refuses with status 503 else."""
    return get("/readyz", Readiness)


def models() -> Call[list[Model]]:
    """List the models that the server can use."""
    return get(path_of("models"), _Models, attrgetter("data"))


def model(name: str) -> Call[Model]:
    """Describe a model."""
    return get(path_of("models", name), Model)


def collections() -> Call[list[Collection]]:
    """List all collections, by name."""
    return get(path_of("collections"), _Collections, attrgetter("collections"))


def collection(name: str = "default") -> Call[Collection]:
    """Describe a collection."""
    return get(path_of("collections", name), Collection)


def put_collection(
    name: str,
    *,
    model: str | None = None,
    modality_weights: Mapping[Modality, float] | None = None,
    store_originals: bool | None = None,
    index: Literal["auto", "flat", "hnsw", "ivf"] | None = None,
) -> Call[Collection]:
    """Create a collection, unless it is there with these settings."""
    settings = {"model": model, "modality_weights": modality_weights, "store_originals": store_originals}
    return put(path_of("collections", name), given(settings | {"index": index}), Collection)


def delete_collection(name: str) -> Call[None]:
    """Delete a collection with all that is in it."""
    return delete(path_of("collections", name))


def reembed(
    model: str,
    *,
    collection: str = "default",
    activate: bool = True,
    bridge: bool = False,
    expect_missing: int = 0,
) -> Call[Job]:
    """Queue a job that changes the model of a collection, while it answers."""
    body = {"model": model, "activate": activate, "bridge": bridge, "expect_missing": expect_missing}
    return post(path_of("collections", collection, "reembed"), body, Job, headers=once())


def generations(*, collection: str = "default") -> Call[list[Generation]]:
    """List the generations of a collection."""
    return get(path_of("collections", collection, "generations"), _Generations, attrgetter("generations"))


def activate_generation(number: int, *, collection: str = "default", expect_missing: int = 0) -> Call[Generation | Job]:
    """Let a generation answer: at once, or after a job that fills it."""
    path = path_of("collections", collection, "generations", str(number), "activate")
    return post(path, {"expect_missing": expect_missing}, Generation | Job)


def set_canary(number: int, share: float, *, collection: str = "default", expect_missing: int = 0) -> Call[Generation]:
    """Let a generation answer a share of the searches."""
    path = path_of("collections", collection, "generations", str(number), "canary")
    return post(path, {"share": share, "expect_missing": expect_missing}, Generation)


def drop_generation(number: int, *, collection: str = "default") -> Call[None]:
    """Drop a generation that does not answer, with its vectors."""
    return delete(path_of("collections", collection, "generations", str(number)))
