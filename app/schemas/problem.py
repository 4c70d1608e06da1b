"""RFC 9457 problem documents."""

from typing import Literal

from pydantic import Field

from app.schemas.base import Schema

Location = Literal["body", "query", "path", "header"]


class FieldError(Schema):
    """One field of the request that is at fault."""

    location: Location = Field(default="body", description="Part of the request.")
    pointer: str = Field(
        description="JSON pointer within that part; empty for the whole of it.", examples=["/items/3/image"]
    )
    detail: str = Field(examples=["not a complete picture in a supported format"])


class Problem(Schema):
    """Why a request was refused."""

    type: str = Field(description="Stable word for programs.", examples=["image-undecodable"])
    title: str = Field(examples=["Image undecodable"])
    status: int = Field(examples=[422])
    detail: str = Field(description="What was wrong and what to do, for people.")
    errors: list[FieldError] | None = Field(default=None, description="The fields at fault, where there are any.")
