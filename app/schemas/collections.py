"""Collections."""

from datetime import datetime

from pydantic import ConfigDict, Field

from app.schemas.base import ModelName, Schema, Weights
from indexer.types import DEFAULT_WEIGHTS, CollectionInfo, CollectionSettings, Modality


class CollectionBody(Schema):
    """What a collection is made with, and keeps."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"model": "default", "modality_weights": {"image": 1.0, "text": 0.3}}]}
    )

    model: ModelName | None = Field(
        default=None, description="Name of a model; when left out, the one it has, or the server's default."
    )
    modality_weights: Weights = Field(
        default=dict(DEFAULT_WEIGHTS), description="How much image and text vectors of the items count in a search."
    )
    store_originals: bool = Field(default=True, description="Keep the pictures; re-embedding needs them.")

    def settings(self, default_model: str) -> CollectionSettings:
        """As the indexer takes it."""
        return CollectionSettings(self.model or default_model, self.modality_weights, self.store_originals)


class Index(Schema):
    """State of a collection's index, in vectors and bytes."""

    kind: str = Field(examples=["flat"])
    main: int
    delta: int
    memory_bytes: int


class Collection(Schema):
    """A collection, described."""

    name: str = Field(examples=["default"])
    model: str = Field(examples=["default"])
    fingerprint: str = Field(description="SHA-256 over all that decides the model's embeddings.")
    dimension: int = Field(examples=[256])
    generation: int = Field(examples=[1])
    items: int = Field(examples=[10072])
    vectors: dict[Modality, int] = Field(examples=[{"image": 10072, "text": 10072}])
    index: Index
    modality_weights: dict[Modality, float]
    store_originals: bool
    created_at: datetime

    @classmethod
    def of(cls, info: CollectionInfo) -> "Collection":
        """From what the indexer tells."""
        return cls(
            name=info.name,
            model=info.settings.model,
            fingerprint=info.fingerprint,
            dimension=info.dimension,
            generation=info.generation,
            items=info.items,
            vectors=info.vectors,
            index=Index(
                kind=info.index.kind,
                main=info.index.main,
                delta=info.index.delta,
                memory_bytes=info.index.memory_bytes,
            ),
            modality_weights=dict(info.settings.modality_weights),
            store_originals=info.settings.store_originals,
            created_at=info.created_at,
        )


class CollectionList(Schema):
    """All collections, by name."""

    collections: list[Collection]
