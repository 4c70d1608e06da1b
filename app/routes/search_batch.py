"""A batch of searches: each checked by itself, all embedded and read together, one result for each."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple

from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError

from app.batches import SIDE_BY_SIDE
from app.dependencies import ImageLoader, LoadImage, TheCaller, TheCollection, TheResources
from app.errors import BatchTooLarge, FieldFault, invalid_request, problem_of
from app.forms import check_body
from app.openapi import WRITING, problems
from app.queries import filter_of, load_terms, picture_fault
from app.responses import json_response
from app.results import write_results
from app.routes.search import request_of
from app.schemas import search as schemas
from app.schemas.problem import Problem
from app.strict_json import StrictRoute
from indexer.collection import Collection
from indexer.errors import IndexerError, ModelAbsent
from indexer.types import SearchOutcome, SearchRequest, SearchResult
from models.errors import EncoderOverloaded, ImageError, RequestAbandoned

router = APIRouter(prefix="/v1/collections/{name}/search/batch", tags=["search"], route_class=StrictRoute)

STOPS_ALL = (EncoderOverloaded, ModelAbsent, RequestAbandoned)
"""No search of a batch is the cause of these, and what a client is to do about them is told by status and headers."""


class Asked(NamedTuple):
    """A search as the client wrote it, and as the indexer takes it."""

    body: schemas.SearchBody
    request: SearchRequest


@router.post("", summary="Search many times", response_model=schemas.BatchResults, responses=WRITING | problems(409))
def search_batch(
    body: schemas.BatchBody,
    collection: TheCollection,
    load_image: LoadImage,
    caller: TheCaller,
    resources: TheResources,
) -> Response:
    """Answers in order, each search with its hits or its problem; a bad one stops no other."""
    caller.take("rows", len(body.searches))
    searches = [_check(search) for search in body.searches]
    _check_size([search for search in searches if isinstance(search, schemas.SearchBody)])
    asked = _load_all(searches, load_image)
    found = resources.search_batcher.run(collection, [one.request for one in asked if isinstance(one, Asked)])
    if fault := next((one for one in found if isinstance(one, STOPS_ALL)), None):
        raise fault
    outcomes = iter(found)
    results = [
        _answer(collection, one.body, next(outcomes)) if isinstance(one, Asked) else _failed(one) for one in asked
    ]
    return json_response(f'{{"results":[{",".join(results)}]}}')


def _check(search: object) -> schemas.SearchBody | Problem:
    try:
        return check_body(schemas.SearchBody, search)
    except RequestValidationError as error:
        return invalid_request(error.errors(), error.body)


def _check_size(searches: Sequence[schemas.SearchBody]) -> None:
    """Together they may not ask for more than one search may, so that the answer is no larger."""
    hits = sum(search.limit for search in searches)
    pictures = sum(term.image is not None for search in searches for term in search.query)
    for what, count, most in (("hits", hits, schemas.MAX_DEPTH), ("pictures", pictures, schemas.MAX_PICTURES)):
        if count > most:
            raise BatchTooLarge(f"{count:,} {what} in all; at most {most:,} are allowed in one batch", "/searches")


def _load_all(searches: Sequence[schemas.SearchBody | Problem], load_image: ImageLoader) -> list[Asked | Problem]:
    if not any(term.image for search in searches if isinstance(search, schemas.SearchBody) for term in search.query):
        return [_load(search, load_image) for search in searches]
    with ThreadPoolExecutor(SIDE_BY_SIDE, "load-image") as pool:
        return list(pool.map(partial(_load, load_image=load_image), searches))


def _load(search: schemas.SearchBody | Problem, load_image: ImageLoader) -> Asked | Problem:
    if isinstance(search, Problem):
        return search
    try:
        return Asked(search, request_of(load_terms(search.query, load_image), search, filter_of(search.filter)))
    except FieldFault as fault:
        return problem_of(fault.error, fault.pointer)
    except IndexerError as error:
        return problem_of(error)


def _answer(collection: Collection, body: schemas.SearchBody, outcome: SearchOutcome) -> str:
    if isinstance(outcome, SearchResult):
        return write_results(collection, outcome, body)
    pointer = picture_fault(outcome, body.query).pointer if isinstance(outcome, ImageError) else None
    return _failed(problem_of(outcome, pointer))


def _failed(problem: Problem) -> str:
    return schemas.FailedSearch(problem=problem).model_dump_json(exclude_unset=True)
