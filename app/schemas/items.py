"""Items: what is put, what is answered, what is read back."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from app.schemas.base import (
    MAX_TEXT_LENGTH,
    Body,
    FilterObject,
    FilterText,
    ImageReference,
    ItemIdField,
    JsonObject,
    Metadata,
    Schema,
    one_of,
)
from app.schemas.problem import Problem
from app.schemas.vectors import Vector
from indexer import types
from indexer.fetching.images import is_url
from indexer.types import Modality, Status


class ItemBody(Body):
    """An item's content: at least one of image, text and vectors."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "image": "https://shop.example/pictures/1042.jpg",
                    "text": "Red summer dress",
                    "metadata": {"brand": "Puma", "price": 49.9},
                }
            ]
        }
    )

    image: ImageReference | None = None
    text: str | None = Field(default=None, max_length=MAX_TEXT_LENGTH)
    metadata: Metadata = Field(default_factory=dict)
    vectors: dict[Modality, Vector] | None = Field(
        default=None, description="Ready vectors, instead of embedding here; they need `fingerprint`."
    )
    fingerprint: str | None = Field(default=None, description="Of the model that made `vectors`.", max_length=256)

    def new_item(self, item_id: str, image: bytes | None) -> types.NewItem:
        """As the indexer takes it, with the picture that `image` refers to."""
        source = self.image if is_url(self.image or "") else None
        vectors = self.vectors and {modality: list(vector) for modality, vector in self.vectors.items()}
        return types.NewItem(item_id, image, self.text, self.metadata, vectors, self.fingerprint, source)


class BatchItem(ItemBody):
    """An item's content and id."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "sku-1042", "text": "Red summer dress"}]})

    id: ItemIdField


class BatchBody(Body):
    """Items to store; each is answered for itself, in order."""

    items: Annotated[list[BatchItem], Field(min_length=1)]


class Duplicate(Schema):
    """Another item with (nearly) the same picture."""

    id: str
    score: float = Field(description="Cosine; 1.0 for identical bytes.")


class ItemFlag(Schema):
    """A watch rule that the item matches."""

    rule: str = Field(examples=["weapons"])
    modality: Modality = Field(description="Whose vector exceeds its threshold the most.")
    score: float = Field(description="Cosine, as search tells it in `scores`.", examples=[0.31])


class StoredItem(Schema):
    """An acknowledged item: durable, and found by the next search."""

    id: str = Field(examples=["sku-1042"])
    status: Status
    modalities: list[Modality]
    alignment: float | None = Field(description="Cosine of its image and its text, when it has both.")
    truncated: bool = Field(description="The text was longer than the model reads; its end was not embedded.")
    flags: list[ItemFlag] = Field(description="What the watch rules of the collection found, by their names.")

    @classmethod
    def of(cls, upserted: types.Upserted) -> "StoredItem":
        """From what the indexer tells."""
        return cls(
            id=upserted.id,
            status=upserted.status,
            modalities=list(upserted.modalities),
            alignment=upserted.alignment,
            truncated=upserted.truncated,
            flags=[ItemFlag(rule=flag.rule, modality=flag.modality, score=flag.score) for flag in upserted.flags],
        )


class PutItem(StoredItem):
    """An acknowledged item, with those whose picture is the same or nearly the same."""

    duplicates: list[Duplicate]

    @classmethod
    def of(cls, upserted: types.Upserted) -> "PutItem":
        """From what the indexer tells."""
        duplicates = [Duplicate(id=other.id, score=other.score) for other in upserted.duplicates]
        return cls(**dict(StoredItem.of(upserted)), duplicates=duplicates)


class RefusedItem(Schema):
    """An item that was not stored; the others of its batch were."""

    id: str
    error: Problem


class BatchResults(Schema):
    """One result per item, in the order of the request."""

    results: list[PutItem | StoredItem | RefusedItem]


class BatchQuery(Schema):
    """What is told about a batch."""

    duplicates: bool = Field(
        default=False, description="Also tell of items with the same or nearly the same picture, as storing one does."
    )


class Item(Schema):
    """One catalogue entry."""

    id: str = Field(examples=["sku-1042"])
    text: str | None
    metadata: JsonObject
    modalities: list[Modality]
    image_url: str | None = Field(
        description="Where its picture is, relative to this server.",
        examples=["/v1/collections/default/items/sku-1042/image"],
    )
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, item: types.Item, image_url: str | None) -> "Item":
        """From what the indexer tells."""
        return cls(
            id=item.id,
            text=item.text,
            metadata=item.metadata,
            modalities=list(item.modalities),
            image_url=image_url,
            created_at=item.created_at,
            updated_at=item.updated_at,
        )


class ItemPage(Schema):
    """A page of items, in the order in which they were first stored."""

    items: list[Item]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class ItemsQuery(Schema):
    """Which page of a collection."""

    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=2048)
    filter: FilterText | None = None


class DeleteBody(Body):
    """Items to delete, by exactly one of ids and filter; ids that are not there are no error."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"ids": ["sku-1042"]}, {"filter": {"season": "2019"}}]}
        | one_of("ids", "filter")
    )

    ids: list[ItemIdField] | None = Field(default=None, min_length=1, max_length=10_000)
    filter: FilterObject | None = Field(default=None, min_length=1)

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.ids is None) == (self.filter is None):
            raise ValueError("must have exactly one of ids and filter")
        return self


class Deleted(Schema):
    """How many items there were to delete."""

    deleted: int
