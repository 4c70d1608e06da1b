"""Prometheus metrics of one app, in a registry of its own."""

import os
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from app.errors import STATUS_AND_TYPE
from models.lanes import Lane
from models.query_cache import Tower

SHARED = "PROMETHEUS_MULTIPROC_DIR"
"""Set before prometheus_client is imported, it has each process count in a file of its own in this folder."""
BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64)
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counts requests, their time by route, and their problems."""

    def __init__(self) -> None:
        self._registry, self._process = CollectorRegistry(), CollectorRegistry()
        ProcessCollector(registry=self._process)
        self._requests = Counter(
            "sightline_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._problems = Counter(
            "sightline_problems", "Requests answered with a problem document.", ("type",), registry=self._registry
        )
        for _, kind in STATUS_AND_TYPE.values():  # from 0, else the first of its kind would be no increase
            self._problems.labels(kind)
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

    def count_problem(self, kind: str) -> None:
        """Count a request that was answered with a problem of this type."""
        self._problems.labels(kind).inc()

    def render(self, counted: Sequence[CollectorRegistry], now: CollectorRegistry) -> bytes:
        """All metrics in Prometheus' text format; with readers, what all processes of the server have counted together.

        Args:
            counted: What else this process counts.
            now: What there is now.
        """
        counts = [_of_all_processes()] if SHARED in os.environ else [self._registry, *counted]
        return b"".join(map(generate_latest, (*counts, self._process, now)))


def _of_all_processes() -> CollectorRegistry:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry


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
        """See `models.encoder.ObserveTower`."""
        self._rows.labels(tower, lane).observe(rows)
        for seconds in waits:
            self._waits.labels(tower, lane).observe(seconds)
