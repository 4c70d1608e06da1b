"""Models."""

from typing import Annotated, Literal

from pydantic import Field, WithJsonSchema

from app.schemas.base import Schema
from models.manifest import Manifest

_TWO_INTEGERS = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}


class Model(Schema):
    """A model's manifest, in the form that OpenAI's client reads too."""

    id: str = Field(description="Name of the model.", examples=["default"])
    object: Literal["model"] = "model"
    created: int = Field(default=0, description="OpenAI's field; not known here.")
    owned_by: str = Field(default="sightline", description="OpenAI's field.")
    architecture: str
    pretrained: str | None
    dimension: int = Field(examples=[256])
    fingerprint: str = Field(description="SHA-256 over all that decides an embedding.")
    precision: str = Field(examples=["int8"])
    licence: str | None = Field(description="Of the weights, as their publisher states it; null when unknown.")
    context_length: int = Field(description="Most tokens of a text; longer ones are truncated, and reported so.")
    image_size: Annotated[tuple[int, int], WithJsonSchema(_TWO_INTEGERS)] = Field(
        description="Height and width that pictures are brought to."
    )
    parity: dict[str, float] = Field(description="Lowest cosine with the original, measured at export.")

    @classmethod
    def of(cls, name: str, manifest: Manifest) -> "Model":
        """From a model's manifest."""
        return cls(
            id=name,
            architecture=manifest.architecture,
            pretrained=manifest.pretrained,
            dimension=manifest.dimension,
            fingerprint=manifest.fingerprint,
            precision=manifest.precision,
            licence=manifest.licence,
            context_length=manifest.context_length,
            image_size=manifest.preprocessing.size,
            parity=manifest.parity,
        )


class ModelList(Schema):
    """All models, the embedded one first."""

    object: Literal["list"] = "list"
    data: list[Model]
