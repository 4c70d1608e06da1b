"""Prometheus metrics of one app, in a registry of its own."""

import shutil
from collections import Counter as Counts
from collections.abc import Iterable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from indexer.collections import Collections
from indexer.index.kinds import Kind
from indexer.jobs.store import JobStore
from indexer.types import CollectionInfo, Modality
from models.encoder import DualEncoder, Tower
from models.lanes import Lane

BATCH_ROWS = (1, 2, 4, 8, 16, 32, 64)
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Metrics:
    """Counts requests, their time by route, and their problems."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._requests = Counter(
            "sightline_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self._problems = Counter(
            "sightline_problems", "Requests answered with a problem document.", ("type",), registry=self._registry
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

    def count_problem(self, kind: str) -> None:
        """Count a request that was answered with a problem of this type."""
        self._problems.labels(kind).inc()

    def render(self, *others: CollectorRegistry) -> bytes:
        """All metrics in Prometheus' text format, with those of other registries."""
        return b"".join(map(generate_latest, (self._registry, *others)))


class Batches:
    """What goes through the towers of all models together."""

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

    def observe(self, tower: Tower, lane: Lane, rows: int, waits: Sequence[float]) -> None:
        """See `models.batching.Observe`."""
        self._rows.labels(tower, lane).observe(rows)
        for seconds in waits:
            self._waits.labels(tower, lane).observe(seconds)


def sizes(collections: Collections, jobs: JobStore, opened: Iterable[DualEncoder], data_dir: Path) -> CollectorRegistry:
    """What there is now: read when it is asked for.

    Args:
        opened: The models in memory.
    """
    registry = CollectorRegistry()
    for collector in (_Sizes(collections), _Jobs(jobs), _Queues(opened), _Disk(data_dir)):
        registry.register(collector)
    return registry


class _Disk(Collector):
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        free = shutil.disk_usage(self._folder).free
        yield GaugeMetricFamily("sightline_disk_free_bytes", "Free on the data folder's disk.", free)


class _Jobs(Collector):
    def __init__(self, jobs: JobStore) -> None:
        self._jobs = jobs

    def collect(self) -> Iterator[Metric]:
        jobs = GaugeMetricFamily("sightline_jobs", "Jobs there are.", labels=("kind", "state"))
        rows = CounterMetricFamily("sightline_job_rows", "What became of jobs' rows.", labels=("kind", "outcome"))
        outcomes: Counts[tuple[str, str]] = Counts()
        for count in self._jobs.counts():
            jobs.add_metric((count.kind, count.state), count.jobs)
            outcomes.update({(count.kind, outcome): number for outcome, number in count.rows.items()})
        for labels, number in outcomes.items():
            rows.add_metric(labels, number)
        yield from (jobs, rows)


class _Queues(Collector):
    def __init__(self, opened: Iterable[DualEncoder]) -> None:
        self._opened = opened

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("sightline_batch_waiting", "Rows that wait for a tower.", labels=("tower", "lane"))
        towers = [{"image": encoder.images, "text": encoder.texts} for encoder in self._opened]
        for tower, lane in product(get_args(Tower), get_args(Lane)):
            waiting.add_metric((tower, lane), sum(batchers[tower].waiting(lane) for batchers in towers))
        yield waiting


class _Sizes(Collector):
    def __init__(self, collections: Collections) -> None:
        self._collections = collections

    def collect(self) -> Iterator[Metric]:
        items = GaugeMetricFamily("sightline_items", "Items stored.", labels=("collection",))
        vectors = GaugeMetricFamily("sightline_vectors", "Vectors searched.", labels=("collection", "modality"))
        memory = GaugeMetricFamily("sightline_index_bytes", "Memory of the index.", labels=("collection",))
        delta = GaugeMetricFamily(
            "sightline_index_delta_vectors", "Vectors not yet in a built segment.", labels=("collection",)
        )
        segments = GaugeMetricFamily(
            "sightline_index_segments", "Built segments.", labels=("collection", "modality", "kind")
        )
        models = GaugeMetricFamily(
            "sightline_model_present", "Whether the collection's model is there.", labels=("collection",)
        )
        for info in self._collections.infos():
            items.add_metric((info.name,), info.items)
            memory.add_metric((info.name,), info.index.memory_bytes)
            delta.add_metric((info.name,), info.index.delta)
            models.add_metric((info.name,), info.model_present)
            for (modality, kind), number in _kinds(info).items():
                segments.add_metric((info.name, modality, kind), number)
            for modality, count in info.vectors.items():
                vectors.add_metric((info.name, modality), count)
        yield from (items, vectors, memory, delta, segments, models)


def _kinds(info: CollectionInfo) -> Counts[tuple[Modality, Kind]]:
    """Built segments by what they are of, and what they are; none is told as none of the kind that new ones have."""
    kinds = Counts({(modality, info.index.kind): 0 for modality in info.index.segments})
    kinds.update((modality, each.kind) for modality, built in info.index.segments.items() for each in built)
    return kinds
