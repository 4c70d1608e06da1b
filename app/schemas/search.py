"""Search: queries and hits."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, ConfigDict, Field, PlainValidator, field_validator, model_validator

from app.schemas.base import (
    Body,
    FieldName,
    FilterObject,
    FilterText,
    ImageReference,
    ItemIdField,
    JsonObject,
    Schema,
    SignalWeights,
    Text,
    UrlText,
    one_of,
)
from app.schemas.problem import Problem
from app.schemas.vectors import Vector
from indexer import types
from indexer.types import Fusion, Modality, Mode, Signal

MAX_TERMS = 32
MAX_FACETS = 20
MAX_DEPTH = 10_000
"""`limit + offset` may not go beyond it."""

MAX_COLLAPSED = 1_000
"""`limit + offset` with `collapse_duplicates`: each hit is compared with all that are better."""
MAX_SEARCHES = 256
MAX_PICTURES = 64
"""In one batch."""

MODE_HELP = "Ranked by vectors, by the words of the items' texts, or by both."

Include = Literal["text", "metadata", "vector", "explain"]


class Term(Body):
    """One part of a query: exactly one of text, image, item and vector."""

    model_config = ConfigDict(json_schema_extra=one_of("text", "image", "item", "vector"))

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
    BeforeValidator(_as_terms, json_schema_input_type=Text | Term | list[Text | Term]),
    Field(min_length=1, max_length=MAX_TERMS, description="A text, a term, or a list of these."),
]


AskedGeneration = Annotated[
    int,
    Field(
        ge=1,
        description="Which generation is to answer, so that pages and vectors are of one model; 409 if it does not.",
    ),
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

    model_config = ConfigDict(strict=True)

    mode: Mode = Field(default="vector", description=MODE_HELP)
    fusion: Fusion = Field(
        default="weighted", description="How modalities and words are mixed: by standardised scores or by ranks."
    )
    min_score: float | None = Field(
        default=None, description="Hits below it are left out; what it counts depends on `mode` and `fusion`."
    )
    target: SignalWeights | None = Field(
        default=None,
        description="Which vectors of the items are searched, and their weights; the collection's own if left out. "
        "In mode hybrid also what `lexical` counts.",
    )
    include: tuple[Include, ...] = Field(
        default=("text", "metadata"), strict=False, description="What hits carry beside id and scores."
    )
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="How `vectors` are given: as numbers, or as base64 of little-endian float32."
    )
    filter: FilterObject | None = None
    facets: tuple[FieldName, ...] = Field(
        default=(),
        strict=False,
        max_length=MAX_FACETS,
        description="Fields whose values are counted among all items that match the filter.",
    )
    group_by: FieldName | None = Field(
        default=None, description="A field of whose every value at most `group_size` items are hits."
    )
    group_size: int = Field(default=1, ge=1, le=100)
    collapse_duplicates: float | None = Field(
        default=None,
        ge=0.9,
        le=1,
        description="Leaves out what has nearly the picture of a better hit: from this cosine of both vectors on. "
        f"With it limit + offset may be at most {MAX_COLLAPSED}.",
        examples=[0.98],
    )
    diversity: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="0: by score alone; 1: as different from the hits before as can be (maximal marginal relevance).",
    )
    generation: AskedGeneration | None = None

    @model_validator(mode="after")
    def _collapses_few(self) -> Self:
        if self.collapse_duplicates is not None and self.limit + self.offset > MAX_COLLAPSED:
            raise ValueError(f"with collapse_duplicates limit + offset must be at most {MAX_COLLAPSED}")
        return self


class SearchBody(SearchOptions):
    """What to look for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"query": "red dress", "limit": 10},
                {"query": [{"item": "sku-1042"}, {"text": "leather", "weight": -0.5}], "target": {"image": 1.0}},
                {"query": ["dress", {"text": "red", "weight": 0.5}], "include": ["text", "explain"]},
                {"query": "red dress", "diversity": 0.3, "collapse_duplicates": 0.98},
                {"query": '"sheath dress" linnen cott*', "mode": "hybrid", "fusion": "rrf"},
                {"query": "red dress", "filter": {"price": {"$lt": 100}}, "facets": ["brand"], "group_by": "product"},
            ]
        }
    )

    query: Query


class BatchBody(Body):
    """Searches that are answered together."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"searches": [{"query": "red dress"}, {"query": {"item": "sku-1042"}}]}]}
    )

    searches: list[
        # Each is checked by itself: a bad one fails alone.
        Annotated[Any, PlainValidator(lambda search: search, json_schema_input_type=SearchBody)]
    ] = Field(
        min_length=1,
        max_length=MAX_SEARCHES,
        description=f"Bodies of search, with at most {MAX_DEPTH} hits and {MAX_PICTURES} pictures in all.",
    )


class UploadBody(SearchOptions):
    """The fields beside the picture of an upload."""

    query: Query = Field(default=[], description="Terms to search for together with the picture.")


class SearchQuery(Page):
    """The short form: a text."""

    q: UrlText = Field(examples=["red dress"])
    mode: Mode = Field(default="vector", description=MODE_HELP)
    fusion: Fusion = "weighted"
    min_score: float | None = None
    filter: FilterText | None = None
    generation: AskedGeneration | None = None


class SignalShare(Schema):
    """What the vectors of a modality, or the words, add to a score."""

    score: float = Field(description="As in `scores`.", examples=[0.31])
    share: float = Field(description="Of the item's signals; they add up to 1.", examples=[0.77])
    contribution: float = Field(examples=[0.12])
    standardised: float | None = Field(
        default=None,
        description="By how many standard deviations the item is nearer to the query than the mean of the collection; "
        "not with `fusion: rrf`.",
        examples=[3.2],
    )
    rank: int | None = Field(
        default=None, description="With `fusion: rrf`, unless it is beyond 10,000 or no word matches.", examples=[7]
    )


class TermShare(Schema):
    """What a term of the query adds to a score, in the order of the query."""

    share: float = Field(description="Of the terms; without their signs they add up to 1.", examples=[0.5])
    scores: dict[Signal, float] = Field(
        description="Cosine per modality; bm25 of a text's words.", examples=[{"image": 0.31, "text": 0.72}]
    )
    contribution: float | None = Field(default=None, description="Not with `fusion: rrf`.", examples=[0.08])


class Explanation(Schema):
    """Where a score comes from: `base` with the contributions of all signals, or `base` with those of all terms."""

    base: float = Field(description="Score of an item as near to the query as the mean of the collection; 0 of ranks.")
    signals: dict[Signal, SignalShare]
    terms: list[TermShare]

    @classmethod
    def of(cls, explanation: types.Explanation) -> Self:
        """From what the indexer tells; what it does not tell is left out."""
        signals = {name: SignalShare(**_told(share)) for name, share in explanation.signals.items()}
        terms = [TermShare(**_told(share)) for share in explanation.terms]
        return cls(base=explanation.base, signals=signals, terms=terms)


def _told(share: types.SignalShare | types.TermShare) -> dict[str, Any]:
    return {name: value for name, value in share._asdict().items() if value is not None}


class Plan(Schema):
    """How the search was done."""

    vectors: dict[Modality, int] = Field(description="Vectors that were searched.", examples=[{"image": 900}])
    matches: int | None = Field(description="Items that match the filter; null where all items were searched.")
    rounds: int = Field(description="Times that the best so many of each signal were asked for until they were enough.")
    candidates: int = Field(description="Items that were scored.", examples=[256])


class Hit(Schema):
    """One found item; fields that `include` does not ask for are left out."""

    id: str = Field(examples=["sku-1042"])
    score: float = Field(description="What the hits are sorted by.")
    scores: dict[Signal, float] = Field(
        description="Cosine per modality; in modes lexical and hybrid also bm25, of an item that has a text.",
        examples=[{"image": 0.31, "text": 0.72}],
    )
    text: str | None = None
    metadata: JsonObject | None = None
    vectors: dict[Modality, list[float] | str] | None = Field(default=None, description="As `encoding_format` says.")
    explain: Explanation | None = None
    image_url: str | None = Field(description="Where its picture is, relative to this server.")


class Took(Schema):
    """Milliseconds."""

    embed: float
    search: float
    hydrate: float = Field(description="Reading the hits.")
    total: float = Field(description="With the wait for a thread, if there was one.")


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
    plan: Plan | None = Field(default=None, description="Where `include` asks for `explain`.")
    took_ms: Took


class FailedSearch(Schema):
    """A search of a batch that was refused; the others were not."""

    problem: Problem = Field(description="As it would be answered alone: its pointers begin at the search.")


class BatchResults(Schema):
    """One result for each search, in their order; `took_ms` in each is what all took together."""

    results: list[SearchResults | FailedSearch]
