"""The strictness that all schemas share, and the types that several use."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, JsonValue
from pydantic.config import JsonDict

from indexer.search.filters import MAX_PATH_LENGTH
from indexer.types import Modality, Signal

MAX_TEXT_LENGTH = 100_000
"""Characters; far beyond what any encoder reads, and little enough that tokenising never becomes an attack."""

MAX_ID_LENGTH = 256
MAX_URL_TEXT_LENGTH, MAX_URL_FILTER_LENGTH = 5_000, 15_000
"""Together, each character as `%XX`, they fit in an address, of which a server takes 65,535 bytes."""


class Schema(BaseModel):
    """Base of every request and response: unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)


class Body(Schema):
    """Base of JSON bodies: what is of another type (a number in quotes, true for 1) is refused, too."""

    model_config = ConfigDict(strict=True)


_VISIBLE: JsonDict = {"pattern": r"\S"}


def _not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError("must not be empty or blank")
    return text


def _some_positive(weights: dict[Any, float]) -> dict[Any, float]:
    if not any(weights.values()):
        raise ValueError("at least one weight must be above 0")
    return weights


def one_of(*names: str) -> dict[str, Any]:
    """Of a model with exactly one of these fields: what its schema says of it."""
    return {"oneOf": [{"required": [name], "properties": {name: {"not": {"type": "null"}}}} for name in names]}


ItemIdField = Annotated[str, Field(min_length=1, max_length=MAX_ID_LENGTH, examples=["sku-1042"])]
Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH, json_schema_extra=_VISIBLE), AfterValidator(_not_blank)]
UrlText = Annotated[str, Field(max_length=MAX_URL_TEXT_LENGTH, json_schema_extra=_VISIBLE), AfterValidator(_not_blank)]
ImageReference = Annotated[
    str,
    Field(
        min_length=1,
        description="An `http(s)` URL or a `data:` URI. What it is, its bytes decide, not its declared type.",
        examples=["https://shop.example/pictures/1042.jpg"],
    ),
]
ModelName = Annotated[str, Field(min_length=1, max_length=100, examples=["default"])]
Weight = Annotated[float, Field(ge=0, le=1e6)]
Weights = Annotated[dict[Modality, Weight], AfterValidator(_some_positive)]
SignalWeights = Annotated[dict[Signal, Weight], AfterValidator(_some_positive)]
Metadata = Annotated[
    dict[str, JsonValue],
    Field(description="Any JSON object; it is stored and given back.", examples=[{"brand": "Puma", "price": 49.9}]),
]
JsonObject = dict[str, Any]
FieldName = Annotated[
    str, Field(min_length=1, max_length=MAX_PATH_LENGTH, description="A field of the metadata.", examples=["brand"])
]
FILTER_HELP = "Only items whose metadata matches; `docs/search.md` tells how to write one."
FilterObject = Annotated[
    JsonObject,
    Field(description=FILTER_HELP, examples=[{"price": {"$lt": 100}, "brand": {"$in": ["Puma", "Nike"]}}]),
]
FilterText = Annotated[
    str,
    Field(
        max_length=MAX_URL_FILTER_LENGTH,
        description=f"{FILTER_HELP} As JSON text.",
        examples=['{"price": {"$lt": 100}}'],
    ),
]
