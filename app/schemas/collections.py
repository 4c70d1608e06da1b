"""Collections."""

from dataclasses import asdict
from datetime import datetime

from pydantic import ConfigDict, Field

from app.schemas.base import Body, ModelName, Schema, Weights
from indexer.index.kinds import IndexSetting, Kind
from indexer.index.tuning import Queries
from indexer.types import DEFAULT_WEIGHTS, CollectionInfo, CollectionSettings, Modality


class CollectionBody(Body):
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
    index: IndexSetting = Field(
        default="auto",
        description="How built segments are searched: `flat` exactly, `hnsw` fast, `ivf` in little memory; `auto` by "
        "their size. Small ones are flat in any case.",
    )

    def settings(self, default_model: str) -> CollectionSettings:
        """As the indexer takes it."""
        return CollectionSettings(self.model or default_model, self.modality_weights, self.store_originals, self.index)


class Tuning(Schema):
    """How wide searches of a segment are, and what was measured when that was set."""

    target: float = Field(examples=[0.98], description="Recall@10 that was asked for.")
    recall: dict[Queries, float] = Field(
        examples=[{"stored": 0.996, "other": 0.986, "asked": 0.984}],
        description="Recall@10 against exact search: of `stored` vectors as queries, of the `other` modality's, and of "
        "texts and pictures that were `asked` for lately, once there are enough.",
    )
    nprobe: int = Field(examples=[64], description="Inverted lists that are read; more under a filter.")
    candidates: int = Field(examples=[200], description="Vectors that are compared exactly, beside two for each hit.")
    ef_search: int | None = Field(examples=[190], description="Width of the beam in the graph.")


class Segment(Schema):
    """A built segment of the index."""

    kind: Kind
    vectors: int = Field(examples=[131072])
    memory_bytes: int
    tuning: Tuning | None = Field(description="null of a flat one, which is searched exactly.")


class Index(Schema):
    """State of a collection's index, in vectors and bytes."""

    setting: IndexSetting = Field(description="What the collection was made with.")
    kind: Kind = Field(description="Of the largest segment.", examples=["flat"])
    main: int = Field(description="Vectors in built segments.")
    delta: int = Field(description="Vectors that were written since, which are searched exactly.")
    memory_bytes: int
    segments: dict[Modality, list[Segment]]


class Collection(Schema):
    """A collection, described."""

    name: str = Field(examples=["default"])
    model: str = Field(examples=["default"])
    fingerprint: str = Field(description="SHA-256 over all that decides the model's embeddings.")
    dimension: int = Field(examples=[256])
    model_present: bool = Field(
        description="Whether that model is there. If not, texts and pictures cannot be searched for or stored until it "
        "is back or `POST .../reembed` has changed the model; items, vectors and words can."
    )
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
            model_present=info.model_present,
            generation=info.generation,
            items=info.items,
            vectors=info.vectors,
            index=Index.model_validate({"setting": info.settings.index, **asdict(info.index)}),
            modality_weights=dict(info.settings.modality_weights),
            store_originals=info.settings.store_originals,
            created_at=info.created_at,
        )


class CollectionList(Schema):
    """All collections, by name."""

    collections: list[Collection]
