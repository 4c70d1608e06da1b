"""Queries and filters as clients write them, as the indexer takes them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.dependencies import ImageLoader
from app.errors import FieldFault, JsonInvalid
from app.schemas import search as schemas
from app.schemas.base import JsonObject
from app.strict_json import parse_json
from indexer import types
from indexer.search.filters import Filter, parse_filter
from models.errors import ImageError


def load_terms(query: Sequence[schemas.Term], load_image: ImageLoader) -> tuple[types.Term, ...]:
    """The terms as the indexer takes them.

    Raises:
        FieldFault: A picture cannot be loaded.
    """
    return tuple(
        types.Term(
            weight=term.weight,
            text=term.text,
            image=None if term.image is None else load_image(term.image, _pointer(query, number)),
            item=term.item,
            vector=term.vector,
        )
        for number, term in enumerate(query)
    )


def filter_of(body: JsonObject | None) -> Filter | None:
    """The filter that a body says, where it says one; raises `FilterInvalid`."""
    return None if body is None else parse_filter(body)


def load_filter(text: str | None) -> Filter | None:
    """The filter that the JSON text of a query parameter says.

    Raises:
        JsonInvalid, FilterInvalid: It says none.
    """
    if text is None:
        return None
    try:
        return parse_filter(parse_json(text.encode()))
    except JsonInvalid as error:
        raise JsonInvalid(f"the filter is not JSON: {error.detail}", "/filter") from error


@contextmanager
def blame_pictures(query: Sequence[schemas.Term]) -> Iterator[None]:
    """Name the picture that cannot be decoded."""
    try:
        yield
    except ImageError as error:
        raise picture_fault(error, query) from error


def picture_fault(error: ImageError, query: Sequence[schemas.Term]) -> FieldFault:
    """Where the picture is that cannot be decoded: the indexer, which decodes those of a query, does not tell which."""
    pictures = [number for number, term in enumerate(query) if term.image is not None]
    return FieldFault(error, _pointer(query, pictures[0]) if len(pictures) == 1 else "/query")


def _pointer(query: Sequence[schemas.Term], number: int) -> str:
    return "/query/image" if len(query) == 1 else f"/query/{number}/image"
