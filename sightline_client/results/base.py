"""What all answers share; fields that a newer server adds are ignored."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

Modality = Literal["image", "text"]
Signal = Literal["image", "text", "lexical"]
JsonObject = dict[str, Any]


class Result(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(frozen=True, extra="ignore", arbitrary_types_allowed=True)


class FieldError(Result):
    """One field of a request that is at fault, by its JSON pointer."""

    location: Literal["body", "query", "path", "header"] = "body"
    pointer: str
    detail: str


class Problem(Result):
    """Why a request, or a part of it, was refused; `type` is a stable word."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[FieldError] | None = None
