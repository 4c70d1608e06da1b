"""What a running server holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypedDict

from anyio import CapacityLimiter

from app.encoders import Encoders, OpenEncoder
from app.settings import Settings
from indexer.collections import Collections
from models.store import ModelStore

REPORTS = 4
"""Reports on quality that are made or waited for at a time; further requests wait without a thread."""


@dataclass(frozen=True)
class Resources:
    """Everything that routes work with."""

    settings: Settings
    store: ModelStore
    open_encoder: OpenEncoder
    collections: Collections
    reporting: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(REPORTS))


class State(TypedDict):
    """What the lifespan yields; it is in `request.state`."""

    resources: Resources


@contextmanager
def open_resources(settings: Settings, open_encoder: OpenEncoder | None = None) -> Iterator[Resources]:
    """Load the model and open the data folder; close it at the end.

    Raises:
        ModelError: The model cannot be used.
        IndexerError: The data folder cannot be used.
    """
    store = ModelStore(settings.models_dir)
    encoder_of = open_encoder or Encoders(settings, store)
    encoder_of(settings.model)  # a server that cannot embed does not start
    with Collections(settings.data_dir, encoder_of, settings.image_limits, settings.model) as collections:
        yield Resources(settings, store, encoder_of, collections)
