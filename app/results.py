"""What was found, as clients read it: `app.schemas.search.SearchResults`, written to JSON by hand.

Models of it would take as long as the search itself, and what they check is made here.
"""

from json.encoder import encode_basestring
from typing import Any

from pydantic_core import to_json

from app.dependencies import image_url
from app.responses import encode_vector
from app.schemas import search as schemas
from indexer import types
from indexer.collection import Collection


def write_results(collection: Collection, result: types.SearchResult, options: schemas.SearchOptions) -> str:
    """One `SearchResults`, with what `include` and `facets` ask for."""
    text, metadata = "text" in options.include, "metadata" in options.include
    hits = ",".join([_hit(collection, hit, options, text=text, metadata=metadata) for hit in result.hits])
    return f'{{"hits":[{hits}],{_rest(result, options)}}}'


def _hit(collection: Collection, hit: types.Hit, options: schemas.SearchOptions, *, text: bool, metadata: bool) -> str:
    id_, score, scores, item, vectors, explanation = hit  # which takes less than to ask for each by its name
    total = repr(score)
    # Often it is the one score of its parts.
    parts = ",".join([f'"{signal}":{total if part is score else repr(part)}' for signal, part in scores.items()])
    written = f'{{"id":{encode_basestring(id_)},"score":{total},"scores":{{{parts}}}'
    if text:
        written += ',"text":null' if item.text is None else f',"text":{encode_basestring(item.text)}'
    if metadata:
        written += f',"metadata":{item.metadata_json}'
    if vectors is not None:
        encoding = options.encoding_format
        given = {modality: encode_vector(vector, encoding) for modality, vector in vectors.items()}
        written += f',"vectors":{_json(given)}'
    if explanation is not None:
        written += ',"explain":' + schemas.Explanation.of(explanation).model_dump_json(exclude_unset=True)
    url = image_url(collection, item)
    return written + (',"image_url":null}' if url is None else f',"image_url":"{url}"}}')


def _rest(result: types.SearchResult, options: schemas.SearchOptions) -> str:
    rest = f'"total":{result.total}'
    if options.facets:
        rest += f',"facets":{_json(result.facets)}'
    rest += f',"model":{encode_basestring(result.model)},"generation":{result.generation}'
    if result.bridged:
        rest += ',"bridged":true'
    rest += ',"truncated":true' if result.truncated else ',"truncated":false'
    if "explain" in options.include:
        rest += f',"plan":{_json(result.plan._asdict())}'
    took = ",".join(f'"{part}":{milliseconds:.3f}' for part, milliseconds in result.took._asdict().items())
    return f'{rest},"took_ms":{{{took}}}'


def _json(value: Any) -> str:
    return to_json(value).decode()
