"""Search: by anything, by a text, by a picture's file."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from app.dependencies import LoadImage, TheCollection, image_url
from app.errors import MediaTypeUnsupported, blame
from app.forms import form_document, is_form, read_body
from app.openapi import READING, WRITING, problems
from app.queries import blame_pictures, load_filter, load_terms
from app.responses import model_response
from app.schemas import search as schemas
from app.schemas.base import JsonObject
from app.strict_json import StrictRoute
from indexer import types
from indexer.collection import Collection
from indexer.errors import QueryInvalid
from indexer.search.filters import Filter, parse_filter

router = APIRouter(prefix="/v1/collections/{name}/search", tags=["search"], route_class=StrictRoute)

_JSON_FIELDS = frozenset({"limit", "offset", "min_score", "target", "include", "filter", "facets", "group_size"})
_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": form_document(
                {
                    "query": {"type": "string", "description": "A text to search for together with the picture."},
                    "limit": {"type": "integer", "default": 10},
                    "offset": {"type": "integer", "default": 0},
                    "min_score": {"type": "number"},
                    "target": {"type": "string", "description": "A JSON object."},
                    "include": {"type": "string", "description": "A JSON list."},
                    "filter": {"type": "string", "description": "A JSON object."},
                    "facets": {"type": "string", "description": "A JSON list."},
                    "group_by": {"type": "string"},
                    "group_size": {"type": "integer", "default": 1},
                },
                ["image"],
            )
        },
    }
}


@router.post("", summary="Search", response_model=schemas.SearchResults, responses=WRITING)
def search(body: schemas.SearchBody, collection: TheCollection, load_image: LoadImage) -> Response:
    """By texts, pictures, items and vectors, alone or weighted together."""
    with blame_pictures(body.query):
        return _search(collection, load_terms(body.query, load_image), body, _filter_of(body))


@router.get("", summary="Search by a text", response_model=schemas.SearchResults, responses=READING | problems(400))
def search_text(query: Annotated[schemas.SearchQuery, Query()], collection: TheCollection) -> Response:
    options = schemas.SearchOptions(limit=query.limit, offset=query.offset, min_score=query.min_score)
    with blame("/q"):
        return _search(collection, [types.Term(text=query.q)], options, load_filter(query.filter))


@router.post(
    "/upload",
    summary="Search by a picture's file",
    response_model=schemas.SearchResults,
    responses=WRITING,
    openapi_extra=_UPLOAD_BODY,
)
async def search_upload(request: Request, collection: TheCollection) -> Response:
    """The other fields are those of search."""
    if not is_form(request):
        raise MediaTypeUnsupported("send the picture's file as the field `image` of a multipart form")
    body, image = await read_body(request, schemas.UploadBody, _JSON_FIELDS)
    if image is None:
        raise QueryInvalid("the form has no file in its field `image`", "/image")
    with blame("/image"):
        terms = [types.Term(image=image), *(types.Term(text=term.text) for term in body.query)]
        return await run_in_threadpool(_search, collection, terms, body, _filter_of(body))


def _filter_of(options: schemas.SearchOptions) -> Filter | None:
    return None if options.filter is None else parse_filter(options.filter)


def _search(
    collection: Collection, terms: Sequence[types.Term], options: schemas.SearchOptions, filter_: Filter | None
) -> Response:
    request = types.SearchRequest(
        terms=tuple(terms),
        limit=options.limit,
        offset=options.offset,
        min_score=options.min_score,
        target=options.target,
        include_vectors="vector" in options.include,
        filter=filter_,
        facets=tuple(options.facets),
        group_by=options.group_by,
        group_size=options.group_size,
        generation=options.generation,
    )
    result = collection.search(request)
    asked: dict[str, Any] = {"facets": _facets(result)} if options.facets else {}
    if result.bridged:
        asked["bridged"] = True
    results = schemas.SearchResults(
        hits=[_hit(collection, hit, options) for hit in result.hits],
        total=result.total,
        **asked,
        model=result.model,
        generation=result.generation,
        truncated=result.truncated,
        took_ms=schemas.Took(
            embed=round(result.embed_ms, 3), search=round(result.search_ms, 3), total=round(result.total_ms, 3)
        ),
    )
    return model_response(results, only_set=True)


def _facets(result: types.SearchResult) -> dict[str, list[schemas.FacetValue]]:
    return {
        field: [schemas.FacetValue(value=found.value, count=found.count) for found in counts]
        for field, counts in result.facets.items()
    }


def _hit(collection: Collection, hit: types.Hit, options: schemas.SearchOptions) -> schemas.Hit:
    asked: JsonObject = {}
    if "text" in options.include:
        asked["text"] = hit.item.text
    if "metadata" in options.include:
        asked["metadata"] = hit.item.metadata
    if hit.vectors is not None:
        asked["vectors"] = {modality: vector.tolist() for modality, vector in hit.vectors.items()}
    return schemas.Hit(
        id=hit.id, score=hit.score, scores=hit.scores, image_url=image_url(collection, hit.item), **asked
    )
