"""Generations: a new model, back to the old one, and away with it."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.dependencies import TheCollection, TheJobs, TheResources
from app.errors import blame
from app.openapi import ENDING, READING, WRITING, problems
from app.routes.jobs import IdempotencyKey
from app.schemas import generations as schemas
from app.schemas.jobs import Job
from app.strict_json import StrictRoute
from indexer.collection import Collection
from indexer.errors import GenerationConflict, GenerationIncomplete, GenerationNotFound
from indexer.jobs.runner import Jobs
from indexer.reembed.job import KIND, ReembedRequest
from indexer.types import GenerationInfo

router = APIRouter(prefix="/v1/collections/{name}", tags=["generations"], route_class=StrictRoute)

Number = Annotated[int, Path(ge=1, description="Number of the generation.", examples=[1])]


@router.post("/reembed", summary="Change the model", status_code=202, responses=WRITING | problems(409))
def reembed(
    body: schemas.ReembedBody,
    collection: TheCollection,
    resources: TheResources,
    idempotency_key: IdempotencyKey = None,
) -> Job:
    """Queues a job that fills a generation of the new model beside the active one, compares both, and activates it.

    Searches and writes go on: each is answered by one generation, and what is written meanwhile is in both.
    """
    jobs = resources.jobs
    with blame("/model"):
        fingerprint = resources.open_encoder(body.model).fingerprint
        is_new = not jobs.store.knows_key(idempotency_key)  # else it is in use because of that job, perhaps
        if is_new and fingerprint == collection.generations.active.row.fingerprint:
            raise GenerationConflict(f"the collection's vectors are those of model {body.model!r} already")
    wanted = ReembedRequest(body.model, fingerprint, body.activate, body.expect_missing, body.bridge)
    return Job.of(jobs.submit(KIND, collection.name, wanted.to_json(), idempotency_key))


@router.get("/generations", summary="List generations", responses=READING)
def list_generations(collection: TheCollection) -> schemas.GenerationList:
    infos = collection.generations.infos()
    return schemas.GenerationList(generations=[schemas.Generation.of(info) for info in infos])


@router.post(
    "/generations/{number}/activate",
    summary="Activate a generation",
    response_model=None,  # one of two, by the status
    responses=WRITING
    | problems(409)
    | {200: {"model": schemas.Generation, "description": "It answers now."}}
    | {202: {"model": Job, "description": "It lacks what was written since: a job fills it and then activates it."}},
)
def activate(
    number: Number,
    collection: TheCollection,
    jobs: TheJobs,
    response: Response,
    body: schemas.Activation | None = None,
) -> schemas.Generation | Job:
    """Forward to a new model or back to an old one, in one transaction, at once where nothing is missing in it."""
    expect_missing = body.expect_missing if body else 0
    try:
        collection.generations.activate(number, expect_missing)
    except GenerationIncomplete:
        info = _find(collection, number)
        wanted = ReembedRequest(info.model, info.fingerprint, expect_missing=expect_missing)
        response.status_code = 202
        return Job.of(jobs.submit(KIND, collection.name, wanted.to_json()))
    return schemas.Generation.of(_find(collection, number))


@router.post("/generations/{number}/canary", summary="Try a generation", responses=WRITING | problems(409))
def set_canary(number: Number, body: schemas.CanaryBody, collection: TheCollection) -> schemas.Generation:
    """A share of the searches is answered by a generation that is not active; each answer names its generation."""
    collection.generations.set_canary(number, body.share, body.expect_missing)
    return schemas.Generation.of(_find(collection, number))


@router.delete("/generations/{number}", summary="Drop a generation", status_code=204, responses=ENDING | problems(409))
def drop(number: Number, collection: TheCollection, jobs: TheJobs) -> None:
    """With its vectors and its index; never the active one, nor one that a job is filling."""
    _check_not_filled(number, collection, jobs)
    collection.generations.drop(number)


def _check_not_filled(number: int, collection: Collection, jobs: Jobs) -> None:
    fingerprints = {info.fingerprint for info in collection.generations.infos() if info.number == number}
    for job in jobs.store.unfinished():
        if job.kind == KIND and job.collection_pk == collection.pk and job.request["fingerprint"] in fingerprints:
            raise GenerationConflict(f"job {job.id} is filling generation {number}; cancel it first")


def _find(collection: Collection, number: int) -> GenerationInfo:
    for info in collection.generations.infos():
        if info.number == number:
            return info
    raise GenerationNotFound(f"generation {number} of {collection.name!r} was dropped meanwhile")
