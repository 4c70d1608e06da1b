"""What was found, as clients read it: `app.schemas.search.SearchResults`, written to JSON by hand.

Models of it would take as long as the search itself, and what they check is made here.
"""

from json.encoder import encode_basestring
from typing import Any

from pydantic_core import to_json

from app.dependencies import image_url
from app.responses import encode_vector
from app.schemas import search as schemas
from app.schemas.base import JsonObject
from indexer import types
from indexer.collection import Collection


def write_results(collection: Collection, result: types.SearchResult, options: schemas.SearchOptions) -> str:
    """One `SearchResults`, with what `include` and `facets` ask for."""
    hits = ",".join([_hit(collection, hit, options) for hit in result.hits])
    return f'{{"hits":[{hits}],{_json(_rest(result, options))[1:]}'


def _hit(collection: Collection, hit: types.Hit, options: schemas.SearchOptions) -> str:
    item = hit.item
    scores = ",".join([f'"{signal}":{score!r}' for signal, score in hit.scores.items()])
    written = f'{{"id":{encode_basestring(hit.id)},"score":{hit.score!r},"scores":{{{scores}}}'
    if "text" in options.include:
        written += ',"text":' + ("null" if item.text is None else encode_basestring(item.text))
    if "metadata" in options.include:
        written += ',"metadata":' + item.metadata_json
    if hit.vectors is not None:
        encoding = options.encoding_format
        vectors = {modality: encode_vector(vector, encoding) for modality, vector in hit.vectors.items()}
        written += ',"vectors":' + _json(vectors)
    if hit.explanation is not None:
        explanation = schemas.Explanation.of(hit.explanation)
        written += ',"explain":' + explanation.model_dump_json(exclude_unset=True)
    url = image_url(collection, item)
    return written + ',"image_url":' + ("null}" if url is None else f'"{url}"}}')


def _rest(result: types.SearchResult, options: schemas.SearchOptions) -> JsonObject:
    rest: JsonObject = {"total": result.total}
    if options.facets:
        rest["facets"] = result.facets
    rest |= {"model": result.model, "generation": result.generation}
    if result.bridged:
        rest["bridged"] = True
    rest["truncated"] = result.truncated
    if "explain" in options.include:
        rest["plan"] = result.plan._asdict()
    return rest | {"took_ms": {part: round(ms, 3) for part, ms in result.took._asdict().items()}}


def _json(value: Any) -> str:
    return to_json(value).decode()
