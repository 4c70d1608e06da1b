"""Prometheus metrics of one app, in a registry of its own."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from indexer.collections import Collections

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

    def render(self, collections: Collections) -> bytes:
        """All metrics in Prometheus' text format."""
        sizes = CollectorRegistry()
        sizes.register(_Sizes(collections))
        return generate_latest(self._registry) + generate_latest(sizes)


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
