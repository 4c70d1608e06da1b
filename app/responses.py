"""Large answers, written to JSON where they are made: in the route's thread, not on the event loop."""

import base64
from typing import Literal

from fastapi import Response
from pydantic import BaseModel

from indexer.types import Vector


def encode_vector(vector: Vector, encoding: Literal["float", "base64"]) -> list[float] | str:
    """A vector as numbers, or as base64 of little-endian float32."""
    if encoding == "base64":
        return base64.b64encode(vector.astype("<f4").tobytes()).decode()
    numbers: list[float] = vector.tolist()
    return numbers


def json_response(written: str) -> Response:
    """What is JSON already."""
    return Response(written, media_type="application/json")


def model_response(model: BaseModel, *, only_set: bool = False) -> Response:
    """A model as JSON; with `only_set` without the fields that were left at their default."""
    return Response(model.model_dump_json(exclude_unset=only_set), media_type="application/json")
