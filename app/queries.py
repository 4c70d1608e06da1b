"""Queries as clients write them, with their pictures loaded."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from app.dependencies import ImageLoader
from app.errors import FieldFault
from app.schemas import search as schemas
from indexer import types
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


@contextmanager
def blame_pictures(query: Sequence[schemas.Term]) -> Iterator[None]:
    """Name the picture that cannot be decoded: the indexer, which decodes all of them together, does not tell which."""
    try:
        yield
    except ImageError as error:
        pictures = [number for number, term in enumerate(query) if term.image is not None]
        pointer = _pointer(query, pictures[0]) if len(pictures) == 1 else "/query"
        raise FieldFault(error, pointer) from error


def _pointer(query: Sequence[schemas.Term], number: int) -> str:
    return "/query/image" if len(query) == 1 else f"/query/{number}/image"
