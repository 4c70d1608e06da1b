"""Generations: a collection's vectors by one model, and the change to another."""

from datetime import datetime

from pydantic import ConfigDict, Field

from app.schemas.base import Body, ModelName, Schema
from indexer import types
from indexer.types import GenerationState, Modality

MAX_MISSING = 2**53


class Activation(Body):
    """What may be lost where another generation answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"expect_missing": 0}]})

    expect_missing: int = Field(
        default=0,
        ge=0,
        le=MAX_MISSING,
        description="Most items that may lose a vector, because their originals are gone.",
    )


class ReembedBody(Activation):
    """A change of model."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"model": "vit-b-32", "activate": False}]})

    model: ModelName = Field(description="Name of an installed model.")
    activate: bool = Field(
        default=True,
        description="Let the new generation answer as soon as it is complete; else it is filled and compared, takes in "
        "what is written, and waits to be activated.",
    )
    bridge: bool = Field(
        default=False,
        description="While the generation is filled, texts that are searched for are embedded by the new model and "
        "mapped to the old vectors, as soon as enough items have both; the job's report says how well that did.",
    )


class CanaryBody(Activation):
    """How many searches a generation answers without being active."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"share": 0.05}]})

    share: float = Field(ge=0, le=1, description="0 ends it.")


class Generation(Schema):
    """All vectors of a collection by one model."""

    number: int = Field(examples=[2])
    state: GenerationState = Field(
        description="`active` answers, `following` takes in what is written beside it, `resting` does neither."
    )
    model: str = Field(examples=["vit-b-32"])
    fingerprint: str = Field(description="SHA-256 over all that decides the model's embeddings.")
    dimension: int = Field(examples=[512])
    vectors: dict[Modality, int] = Field(examples=[{"image": 10072, "text": 10072}])
    missing: int = Field(
        description="Items of which the active generation has vectors that this one lacks.", examples=[0]
    )
    canary: float = Field(description="Share of the searches that it answers without being active.", examples=[0.05])
    created_at: datetime

    @classmethod
    def of(cls, info: types.GenerationInfo) -> "Generation":
        """From what the indexer tells."""
        return cls(**vars(info))


class GenerationList(Schema):
    """Oldest first."""

    generations: list[Generation]
