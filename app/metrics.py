"""Prometheus metrics of one app, in a registry of its own."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from indexer.collections import Collections
from models.encoder import DualEncoder
from models.lanes import Lane
from models.query_cache import Tower

BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64)
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counts requests and their time by route; reads the catalogue's size when asked."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "sightline_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "sightline_request_seconds",
            "Time from the request to the end of its response.",
            ("method", "route"),
            buckets=BUCKETS_S,
            registry=self._registry,
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request; `route` is the path with its parameters' names, so that labels stay few."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def render(self, collections: Collections, batches: "Batches", opened: Iterable[DualEncoder]) -> bytes:
        """All metrics in Prometheus' text format.

        Args:
            opened: The models in memory.
        """
        sizes = CollectorRegistry()
        sizes.register(_Sizes(collections))
        sizes.register(_Queues(opened))
        return generate_latest(self._registry) + generate_latest(batches.registry) + generate_latest(sizes)


class Batches:
    """What goes through the towers of all models together, and what need not."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        labels = ("tower", "lane")
        self._rows = Histogram(
            "sightline_batch_rows", "Rows of a batch.", labels, buckets=BATCH_ROWS, registry=self.registry
        )
        self._waits = Histogram(
            "sightline_batch_wait_seconds",
            "Time that a request waited for a batch with rows of it.",
            labels,
            buckets=BUCKETS_S,
            registry=self.registry,
        )

        self._lookups = Counter(
            "sightline_query_cache_lookups",
            "Texts and pictures searched for that were looked up in the cache of embeddings.",
            ("tower", "result"),
            registry=self.registry,
        )

    def observe_lookup(self, tower: Tower, hit: bool) -> None:
        """See `models.query_cache.ObserveLookup`."""
        self._lookups.labels(tower, "hit" if hit else "miss").inc()

    def observe(self, tower: Tower, lane: Lane, rows: int, waits: Sequence[float]) -> None:
        """See `models.batching.Observe`."""
        self._rows.labels(tower, lane).observe(rows)
        for seconds in waits:
            self._waits.labels(tower, lane).observe(seconds)


class _Queues(Collector):
    def __init__(self, opened: Iterable[DualEncoder]) -> None:
        self._opened = opened

    def collect(self) -> Iterator[GaugeMetricFamily]:
        waiting = GaugeMetricFamily("sightline_batch_waiting", "Rows that wait for a tower.", labels=("tower", "lane"))
        towers = [{"image": encoder.images, "text": encoder.texts} for encoder in self._opened]
        for tower, lane in product(get_args(Tower), get_args(Lane)):
            waiting.add_metric((tower, lane), sum(batchers[tower].waiting(lane) for batchers in towers))
        yield waiting


class _Sizes(Collector):
    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def collect(self) -> Iterator[GaugeMetricFamily]:
        items = GaugeMetricFamily("sightline_items", "Items stored.", labels=("collection",))
        vectors = GaugeMetricFamily("sightline_vectors", "Vectors searched.", labels=("collection", "modality"))
        memory = GaugeMetricFamily("sightline_index_bytes", "Memory of the index.", labels=("collection",))
        for info in self._collections.infos():
            items.add_metric((info.name,), info.items)
            memory.add_metric((info.name,), info.index.memory_bytes)
            for modality, count in info.vectors.items():
                vectors.add_metric((info.name, modality), count)
        yield from (items, vectors, memory)
