"""Large answers, written to JSON where they are made: in the route's thread, not on the event loop."""

from fastapi import Response
from pydantic import BaseModel


def json_response(written: str) -> Response:
    """What is JSON already."""
    return Response(written, media_type="application/json")


def model_response(model: BaseModel, *, only_set: bool = False) -> Response:
    """A model as JSON; with `only_set` without the fields that were left at their default."""
    return Response(model.model_dump_json(exclude_unset=only_set), media_type="application/json")
