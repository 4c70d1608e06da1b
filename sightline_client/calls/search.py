"""Search, heat maps, embeddings and labels."""

from collections.abc import Sequence
from operator import attrgetter
from typing import Unpack

from sightline_client.call import Call, path_of, post
from sightline_client.inputs import Query, Search, SearchOptions, given, query_document, search_document
from sightline_client.pictures import Picture, reference
from sightline_client.results import Classification, Embeddings, FailedSearch, HeatMap, JsonObject, SearchResults
from sightline_client.results.base import Result


class _BatchResults(Result):
    results: list[SearchResults | FailedSearch]


def search(query: Query, *, collection: str = "default", **options: Unpack[SearchOptions]) -> Call[SearchResults]:
    """Find items by texts, pictures, items and vectors, alone or weighted together."""
    return post(path_of("collections", collection, "search"), search_document(query, options), SearchResults)


def search_batch(
    searches: Sequence[Search], *, collection: str = "default"
) -> Call[list[SearchResults | FailedSearch]]:
    """Search at most 256 times at once; a search that is refused fails alone."""
    body = {"searches": [search_document(one["query"], one) for one in searches]}
    return post(path_of("collections", collection, "search", "batch"), body, _BatchResults, attrgetter("results"))


def explain(item_id: str, query: Query, *, collection: str = "default") -> Call[HeatMap]:
    """Show where in its picture an item matches a query."""
    path = path_of("collections", collection, "items", item_id, "explain")
    return post(path, {"query": query_document(query)}, HeatMap)


def embed(inputs: Query, *, model: str | None = None) -> Call[Embeddings]:
    """Embed texts and pictures; `vectors` of the answer holds them."""
    body = {"input": [_input(term) for term in query_document(inputs)], "model": model, "encoding_format": "base64"}
    return post(path_of("embeddings"), given(body), Embeddings)


def classify(
    labels: Sequence[str],
    *,
    image: Picture | None = None,
    item: str | None = None,
    template: str | None = None,
    collection: str = "default",
) -> Call[Classification]:
    """Tell which labels fit a picture, or that of an item of the collection, whose model judges.

    Args:
        template: What is embedded for a label, with `{}` where it goes.
    """
    picture = None if image is None else reference(image)
    body = {"labels": labels, "image": picture, "item": item, "template": template, "collection": collection}
    return post(path_of("classify"), given(body), Classification)


def _input(term: JsonObject) -> JsonObject:
    return {name: value for name, value in term.items() if name != "weight"}
