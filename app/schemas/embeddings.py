"""Embeddings in OpenAI's form, and zero-shot classification."""

from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, model_validator

from app.errors import TokensUnsupported
from app.schemas.base import Body, ImageReference, ItemIdField, ModelName, Schema, Text, one_of


class EmbeddingInput(Body):
    """A text or a picture."""

    model_config = ConfigDict(json_schema_extra=one_of("text", "image"))

    text: Text | None = None
    image: ImageReference | None = None

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.text is None) == (self.image is None):
            raise ValueError("must have exactly one of text and image")
        return self


def _as_inputs(value: Any) -> Any:
    inputs = value if isinstance(value, list) else [value]
    if inputs and all(isinstance(part, int | list) for part in inputs):
        raise TokensUnsupported("token ids cannot be embedded; send the text itself", "/input")
    return [{"text": part} if isinstance(part, str) else part for part in inputs]


Inputs = Annotated[
    list[EmbeddingInput],
    BeforeValidator(_as_inputs, json_schema_input_type=Text | EmbeddingInput | list[Text | EmbeddingInput]),
    Field(min_length=1, description="A text, or a list of texts and pictures."),
]


class EmbeddingsBody(Body):
    """OpenAI's request, with pictures as well."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"input": "red dress", "model": "default"},
                {"input": [{"text": "red dress"}, {"image": "https://shop.example/1042.jpg"}], "model": "default"},
            ]
        }
    )

    input: Inputs
    model: ModelName | None = Field(default=None, description="Name of a model; the server's default when left out.")
    encoding_format: Literal["float", "base64"] = Field(
        default="float", description="`base64` is the little-endian float32 vector."
    )
    dimensions: int | None = Field(default=None, ge=1, description="The model's own dimension, if given.")
    user: str | None = Field(default=None, description="Accepted as OpenAI's clients send it, and ignored.")


class Embedding(Schema):
    """One embedding, of unit length."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str
    truncated: bool = Field(description="The text was longer than the model reads; its end was not embedded.")


class Usage(Schema):
    """Tokens read, special ones included; pictures count none."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Schema):
    """OpenAI's response; `truncated` is added."""

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage


def _has_place(template: str) -> str:
    if "{}" not in template:
        raise ValueError("must contain {}, where the label goes")
    return template


class ClassifyBody(Body):
    """A picture, and the words to choose among."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"item": "sku-1042", "labels": ["dress", "shoe", "bag"]}]}
        | one_of("image", "item")
    )

    image: ImageReference | None = None
    item: ItemIdField | None = Field(default=None, description="An item of `collection` that has a picture.")
    collection: str = Field(default="default", description="Its model is the one that judges.")
    labels: list[Annotated[str, Field(min_length=1, max_length=1000)]] = Field(min_length=1, max_length=1000)
    template: Annotated[str, Field(max_length=1000), AfterValidator(_has_place)] = "a photo of a {}"

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        if (self.image is None) == (self.item is None):
            raise ValueError("must have exactly one of image and item")
        return self


class LabelScore(Schema):
    """A label and its probability among the labels given."""

    label: str
    score: float


class Classification(Schema):
    """Labels, the most probable first."""

    labels: list[LabelScore]
    model: str
