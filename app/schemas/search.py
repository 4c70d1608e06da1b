"""Search: queries and hits."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from app.schemas.base import (
    FieldName,
    FilterObject,
    FilterText,
    ImageReference,
    ItemIdField,
    JsonObject,
    Schema,
    Text,
    Vector,
    Weights,
)
from indexer.types import Modality

MAX_TERMS = 32
MAX_FACETS = 20
MAX_DEPTH = 10_000
"""`limit + offset` may not go beyond it."""

Include = Literal["text", "metadata", "vector"]


class Term(Schema):
    """One part of a query: exactly one of text, image, item and vector."""

    text: Text | None = None
    image: ImageReference | None = None
    item: ItemIdField | None = Field(default=None, description="An item of the collection, to find more like it.")
    vector: Vector | None = Field(default=None, description="A vector of the collection's model.")
    weight: float = Field(default=1.0, ge=-1e6, le=1e6, description="Negative ones push away.")

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [self.text, self.image, self.item, self.vector]
        if sum(part is not None for part in given) != 1:
            raise ValueError("must have exactly one of text, image, item and vector")
        return self

    @field_validator("weight")
    @classmethod
    def _not_zero(cls, weight: float) -> float:
        if weight == 0:
            raise ValueError("must not be 0")
        return weight


def _as_terms(query: Any) -> Any:
    """A lone term becomes a list, a string becomes a text; what is neither is left for the schema to refuse."""
    terms = query if isinstance(query, list) else [query]
    return [{"text": term} if isinstance(term, str) else term for term in terms]


Query = Annotated[
    list[Term],
    BeforeValidator(_as_terms, json_schema_input_type=str | Term | list[str | Term]),
    Field(min_length=1, max_length=MAX_TERMS, description="A text, a term, or a list of these."),
]


class Page(Schema):
    """Which hits."""

    limit: int = Field(default=10, ge=1, le=MAX_DEPTH)
    offset: int = Field(default=0, ge=0, le=MAX_DEPTH)

    @model_validator(mode="after")
    def _within_depth(self) -> Self:
        if self.limit + self.offset > MAX_DEPTH:
            raise ValueError(f"limit + offset must be at most {MAX_DEPTH}")
        return self


class SearchOptions(Page):
    """Which vectors are searched, and what is told about the hits."""

    min_score: float | None = Field(default=None, description="Hits below it are left out.")
    target: Weights | None = Field(
        default=None,
        description="Which vectors of the items are searched, and their weights; the collection's own if left out.",
    )
    include: list[Include] = Field(default=["text", "metadata"], description="What hits carry beside id and scores.")
    filter: FilterObject | None = None
    facets: list[FieldName] = Field(
        default=[],
        max_length=MAX_FACETS,
        description="Fields whose values are counted among all items that match the filter.",
    )
    group_by: FieldName | None = Field(
        default=None, description="A field of whose every value at most `group_size` items are hits."
    )
    group_size: int = Field(default=1, ge=1, le=100)
    generation: int | None = Field(
        default=None,
        ge=1,
        description="Which generation is to answer, so that pages and vectors are of one model; 409 if it does not.",
    )


class SearchBody(SearchOptions):
    """What to look for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "red dress", "limit": 10},
                {"query": [{"item": "sku-1042"}, {"text": "leather", "weight": -0.5}], "target": {"image": 1.0}},
                {"query": "red dress", "filter": {"price": {"$lt": 100}}, "facets": ["brand"], "group_by": "product"},
            ]
        }
    )

    query: Query


class UploadBody(SearchOptions):
    """The fields beside the picture of an upload."""

    query: Query = Field(default=[], description="Terms to search for together with the picture.")


class SearchQuery(Page):
    """The short form: a text."""

    q: Text = Field(examples=["red dress"])
    min_score: float | None = None
    filter: FilterText | None = None


class Hit(Schema):
    """One found item; fields that `include` does not ask for are left out."""

    id: str = Field(examples=["sku-1042"])
    score: float = Field(description="What the hits are sorted by.")
    scores: dict[Modality, float] = Field(description="Cosine per modality.", examples=[{"image": 0.31, "text": 0.72}])
    text: str | None = None
    metadata: JsonObject | None = None
    vectors: dict[Modality, list[float]] | None = None
    image_url: str | None = Field(description="Where its picture is, relative to this server.")


class Took(Schema):
    """Milliseconds."""

    embed: float
    search: float
    total: float


class FacetValue(Schema):
    """A value of a field, or an element of the lists in it, and how many items have it."""

    value: str | int | float | bool = Field(examples=["Puma"])
    count: int


class SearchResults(Schema):
    """A page of hits, best first."""

    hits: list[Hit]
    total: int = Field(description="Number of items that match the filter and could be found.")
    facets: dict[str, list[FacetValue]] | None = Field(
        default=None, description="Where asked for: the most frequent values first, at most 100 of a field."
    )
    model: str
    generation: int
    bridged: bool | None = Field(
        default=None,
        description="True where a re-embedding with `bridge` goes on, and its model embedded the texts of the query.",
    )
    truncated: bool = Field(description="A text of the query was longer than the model reads; its end was ignored.")
    took_ms: Took
