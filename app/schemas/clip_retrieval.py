"""What clip-retrieval's clients send and read; what they say of models that are not here is ignored, as there."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.base import JsonObject
from app.schemas.search import MAX_COLLAPSED, MAX_DEPTH
from app.schemas.vectors import Vector
from indexer.types import Modality

DUPLICATES = 0.94
"""Cosine from which clip-retrieval takes pictures for the same."""


class Asked(BaseModel):
    """Base of requests."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)

    indice_name: str | None = Field(default=None, description="Name of a collection; `default` when left out.")

    @property
    def collection(self) -> str:
        """The collection that is asked."""
        return self.indice_name or "default"


class KnnBody(Asked):
    """A query: the first of text, image, image_url and embedding_input that is there."""

    text: str | None = Field(default=None, max_length=100_000, examples=["red dress"])
    image: str | None = Field(default=None, description="A picture in base64.")
    image_url: str | None = None
    embedding_input: Vector | None = Field(default=None, description="A vector of the collection's model.")
    modality: Modality = Field(default="image", description="Which vectors of the items are searched.")
    num_images: int = Field(default=40, ge=1, description="Results with their metadata.")
    num_result_ids: int | None = Field(default=None, ge=1, description="All results; `num_images` if left out.")
    deduplicate: bool = Field(default=False, description="Leave out what nearly equals a better result's picture.")

    @property
    def limit(self) -> int:
        """How many results, as far as a search goes."""
        return min(self.num_result_ids or self.num_images, MAX_COLLAPSED if self.deduplicate else MAX_DEPTH)


class MetadataBody(Asked):
    """Of which items."""

    ids: list[Annotated[str, Field(max_length=256)]] = Field(max_length=MAX_DEPTH)


class Result(BaseModel):
    """An item; of the first `num_images` also its metadata, `caption` (its text) and `url` (of its picture)."""

    model_config = ConfigDict(extra="allow")

    id: str
    similarity: float = Field(description="Cosine.")


class Described(BaseModel):
    """An item's metadata, with `caption` and `url`."""

    id: str
    metadata: JsonObject
