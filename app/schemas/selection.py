"""Items that cover a collection."""

from pydantic import ConfigDict, Field

from app.schemas.base import Body, FilterObject, JsonObject, Schema
from indexer import types
from indexer.quality import selection


class SelectBody(Body):
    """How many items, and which."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"k": 12, "method": "representative"}, {"k": 200, "filter": {"labelled": {"$exists": False}}}]
        }
    )

    k: int = Field(ge=1, le=selection.MAX_SELECTED, description="How many items at most.")
    method: selection.Method = Field(
        default="diverse",
        description="`diverse`: as far from each other as can be, rare ones too (farthest-point traversal). "
        "`representative`: each the middle of a cluster of like ones (spherical k-means).",
    )
    filter: FilterObject | None = None


class SelectedItem(Schema):
    """An item that stands for others."""

    id: str = Field(examples=["sku-1042"])
    cluster_size: int | None = Field(
        default=None, description="Items in its cluster, itself included; of `representative` only.", examples=[311]
    )
    text: str | None
    metadata: JsonObject
    image_url: str | None = Field(
        description="Where its picture is, relative to this server.",
        examples=["/v1/collections/default/items/sku-1042/image"],
    )

    @classmethod
    def of(cls, chosen: types.Representative, image_url: str | None) -> "SelectedItem":
        """From what the indexer tells."""
        item = chosen.item
        counted = {} if chosen.cluster_size is None else {"cluster_size": chosen.cluster_size}
        return cls(id=item.id, text=item.text, metadata=item.metadata, image_url=image_url, **counted)


class SelectedItems(Schema):
    """The most telling first; fewer than `k` where no other item differs from these."""

    items: list[SelectedItem]
