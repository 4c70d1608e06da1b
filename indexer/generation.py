"""`Generation`: all vectors of a collection that one model made, with what is needed to write and search them."""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from indexer.absent import AbsentEncoder
from indexer.index.asked import Asked
from indexer.index.compaction import Compaction
from indexer.index.hardware import Hardware
from indexer.index.vector_index import VectorIndex
from indexer.quality.reports import QualityReports
from indexer.search.columns import Columns
from indexer.search.searcher import Searcher
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.stores.writing import Written, no_rows
from indexer.types import MODALITIES, Modality, SearchOutcome, SearchRequest
from models.encoder import Encoder
from models.imaging import ImageLimits

log = logging.getLogger(__name__)


class Generation:
    """An open generation: it takes in what is written, and can answer. Thread-safe.

    Args:
        row: The collection with this generation.
        folder: Where its segments are.
        writes: Held by each write from before its commit until the indexes have taken it over.
    """

    def __init__(
        self,
        row: CollectionRow,
        catalogue: Catalogue,
        folder: Path,
        encoder: Encoder,
        limits: ImageLimits,
        columns: Columns,
        *,
        hardware: Hardware,
        count_items: Callable[[], int],
        writes: threading.RLock,
        check_open: Callable[[], None],
    ) -> None:
        self.row, self.encoder, self.folder = row, encoder, folder
        self._is_mine = not catalogue.read_only
        self.canary = row.canary
        """Share of the searches that it answers without being active."""
        self._asked = Asked(folder, row.dimension)
        self.indexes: dict[Modality, VectorIndex] = {
            modality: VectorIndex(folder / modality, catalogue, row, modality, hardware, self._asked)
            for modality in MODALITIES
        }
        self._closed = threading.Event()
        self.compaction = Compaction(row.name, self.indexes.values(), writes, self._closed)
        self.searcher_with = partial(
            Searcher, row, catalogue, self.indexes, columns, count_items, asked=self._asked, limits=limits
        )
        """What answers, with another encoder."""
        self.searcher = self.searcher_with(encoder=encoder)
        self._bridged: Searcher | None = None
        self.quality = QualityReports(row, catalogue, self.indexes, writes, check_open)

    @property
    def bulk_searcher(self) -> Searcher:
        """What answers, where nobody waits for it."""
        return self.searcher_with(encoder=self.encoder.bulk)

    @property
    def pk(self) -> int:
        """Its primary key."""
        return self.row.generation_pk

    @property
    def number(self) -> int:
        """Its number in the collection."""
        return self.row.generation

    @property
    def last_seqs(self) -> dict[Modality, int]:
        """The last sequence number that each index has taken over."""
        return {modality: index.last_seq for modality, index in self.indexes.items()}

    @property
    def can_embed(self) -> bool:
        """Whether its model is there."""
        return not isinstance(self.encoder, AbsentEncoder)

    def bridge(self, encoder: Encoder | None) -> None:
        """From now on texts that are searched for are embedded by this one, which gives vectors of the same space."""
        self._bridged = self.searcher_with(encoder=encoder) if encoder else None

    def is_quick(self, request: SearchRequest) -> bool:
        """See `indexer.search.searcher.Searcher.is_quick`; a bridge is for texts, which are never quick."""
        return self.searcher.is_quick(request)

    def search_batch(self, requests: Sequence[SearchRequest]) -> list[SearchOutcome]:
        """See `indexer.collection.Collection.search_batch`."""
        bridged = self._bridged
        if bridged is None:
            return self.searcher.search_batch(requests)
        cross = [_may_cross(request) for request in requests]
        crossing = [request for request, crosses in zip(requests, cross, strict=True) if crosses]
        others = [request for request, crosses in zip(requests, cross, strict=True) if not crosses]
        over, here = iter(bridged.search_batch(crossing)), iter(self.searcher.search_batch(others))
        return [_as_bridged(next(over)) if crosses else next(here) for crosses in cross]

    def take_over(self, written: Written) -> None:
        """Bring a committed write into the indexes; it is acknowledged only after that."""
        added, dropped = written.added.get(self.pk, {}), written.dropped.get(self.pk, {})
        for modality, index in self.indexes.items():
            try:
                index.apply(added.get(modality, no_rows(self.row.dimension)), dropped.get(modality, []))
            except Exception:
                log.exception("the %s index of %s missed a write and is replayed", modality, self.row.name)
                index.reload()

    def close(self) -> None:
        """End what runs in the background; returns when it has come to rest. Searches may go on."""
        self._closed.set()
        self.compaction.come_to_rest()
        if self._is_mine:
            self._asked.save()


def _may_cross(request: SearchRequest) -> bool:
    """Whether a bridge changes what embeds a request, and it did not ask for a generation by name."""
    return request.generation is None and request.mode != "lexical" and any(term.text for term in request.terms)


def _as_bridged(outcome: SearchOutcome) -> SearchOutcome:
    return outcome if isinstance(outcome, Exception) else replace(outcome, bridged=True)
