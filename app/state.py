"""What a running server holds."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypedDict

from app.encoders import Encoders, OpenEncoder
from app.settings import Settings
from indexer.collections import Collections
from indexer.database import Database
from indexer.webhooks import Post, Webhooks
from models.store import ModelStore


@dataclass(frozen=True)
class Resources:
    """Everything that routes work with."""

    settings: Settings
    store: ModelStore
    open_encoder: OpenEncoder
    collections: Collections


class State(TypedDict):
    """What the lifespan yields; it is in `request.state`."""

    resources: Resources


@contextmanager
def open_resources(
    settings: Settings, open_encoder: OpenEncoder | None = None, post: Post | None = None
) -> Iterator[Resources]:
    """Load the model, open the data folder and deliver its webhook calls; end all that at the end.

    Raises:
        ModelError: The model cannot be used.
        IndexerError: The data folder cannot be used.
    """
    store = ModelStore(settings.models_dir)
    encoder_of = open_encoder or Encoders(settings, store)
    encoder_of(settings.model)  # a server that cannot embed does not start
    with (
        Collections(settings.data_dir, encoder_of, settings.image_limits, settings.model) as collections,
        _delivery(collections.database, post),
    ):
        yield Resources(settings, store, encoder_of, collections)


def _delivery(database: Database, post: Post | None) -> AbstractContextManager[object]:
    return nullcontext() if post is None else Webhooks(database, post)
