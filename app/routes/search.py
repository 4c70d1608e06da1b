"""Search: by anything, by a text, by a picture's file."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.access.caller import caller_of
from app.dependencies import ImageLoader, TheCollection, TheResources, resources_of
from app.direct_route import DirectRoute
from app.errors import MediaTypeUnsupported, blame
from app.forms import PICTURE, form_document, is_form, read_body
from app.openapi import READING, WRITING, fields_of, problems
from app.queries import blame_pictures, filter_of, load_filter, load_terms
from app.responses import json_response
from app.results import write_results
from app.schemas import search as schemas
from app.search_batcher import SearchBatcher
from app.strict_json import StrictRoute
from indexer import types
from indexer.collection import Collection
from indexer.errors import QueryInvalid
from indexer.search.filters import Filter
from indexer.search.searcher import is_short

router = APIRouter(prefix="/v1/collections/{name}/search", tags=["search"], route_class=StrictRoute)

_JSON_FIELDS = frozenset(schemas.SearchOptions.model_fields) - {"mode", "fusion", "group_by", "encoding_format"}
_RESPONSES = WRITING | problems(409)
_TEXT = {"type": "string", "description": "A text to search for together with the picture."}
_FORM = fields_of(schemas.SearchOptions) | {"image": PICTURE, "query": _TEXT}
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {"multipart/form-data": form_document(_FORM, ["image"], _JSON_FIELDS)},
    }
}


async def search(body: schemas.SearchBody, collection: TheCollection, request: Request) -> Response:
    """By texts, pictures, items and vectors, alone or weighted together."""
    resources = resources_of(request)
    load_image = ImageLoader(resources, caller_of(request.scope))

    def asked() -> types.SearchRequest:
        return request_of(load_terms(body.query, load_image), body, filter_of(body.filter))

    def answer() -> Response:
        with blame_pictures(body.query):
            return _search(resources.search_batcher, collection, asked(), body)

    # Pictures and filters may take a while to read alone.
    if body.filter is not None or any(term.image is not None for term in body.query):
        return await run_in_threadpool(answer)
    return await _search_soon(resources.search_batcher, collection, asked(), body)


router.add_api_route(
    "",
    search,
    methods=["POST"],
    summary="Search",
    response_model=schemas.SearchResults,
    responses=_RESPONSES,
    route_class_override=DirectRoute,
)


@router.get(
    "", summary="Search by a text", response_model=schemas.SearchResults, responses=READING | problems(409, 503)
)
async def search_text(
    query: Annotated[schemas.SearchQuery, Query()], collection: TheCollection, resources: TheResources
) -> Response:
    options = schemas.SearchOptions(**query.model_dump(exclude={"q", "filter"}))
    with blame("/q"):
        request = request_of([types.Term(text=query.q)], options, load_filter(query.filter))
        return await _search_soon(resources.search_batcher, collection, request, options)


@router.post(
    "/upload",
    summary="Search by a picture's file",
    response_model=schemas.SearchResults,
    responses=_RESPONSES,
    openapi_extra=_UPLOAD_BODY,
)
async def search_upload(request: Request, collection: TheCollection, resources: TheResources) -> Response:
    """The other fields are those of search."""
    if not is_form(request):
        raise MediaTypeUnsupported("send the picture's file as the field `image` of a multipart form")
    body, image = await read_body(request, schemas.UploadBody, _JSON_FIELDS)
    if image is None:
        raise QueryInvalid("the form has no file in its field `image`", "/image")
    with blame("/image"):
        terms = [types.Term(image=image), *(types.Term(text=term.text) for term in body.query)]
        asked = request_of(terms, body, filter_of(body.filter))
        return await run_in_threadpool(_search, resources.search_batcher, collection, asked, body)


def _search(
    batcher: SearchBatcher, collection: Collection, request: types.SearchRequest, options: schemas.SearchOptions
) -> Response:
    return json_response(write_results(collection, batcher.run_one(collection, request), options))


async def _search_soon(
    batcher: SearchBatcher, collection: Collection, request: types.SearchRequest, options: schemas.SearchOptions
) -> Response:
    """Where it takes least: here, together with others, or in a thread of its own."""
    if collection.is_quick(request):
        return _search(batcher, collection, request, options)
    if not is_short(request):
        return await run_in_threadpool(_search, batcher, collection, request, options)
    return json_response(
        await batcher.search(collection, request, lambda found: write_results(collection, found, options))
    )


def request_of(
    terms: Sequence[types.Term], options: schemas.SearchOptions, filter_: Filter | None
) -> types.SearchRequest:
    """A search as the indexer takes it."""
    return types.SearchRequest(
        terms=tuple(terms),
        limit=options.limit,
        offset=options.offset,
        min_score=options.min_score,
        target=options.target,
        mode=options.mode,
        fusion=options.fusion,
        include_vectors="vector" in options.include,
        explain="explain" in options.include,
        filter=filter_,
        facets=options.facets,
        group_by=options.group_by,
        group_size=options.group_size,
        collapse_duplicates=options.collapse_duplicates,
        diversity=options.diversity,
        generation=options.generation,
    )
