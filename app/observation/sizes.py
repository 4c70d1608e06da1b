"""What there is now, as Prometheus metrics: read when it is asked for, from where it is kept."""

import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import get_args

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from indexer.collections import Collections
from indexer.index.kinds import Kind
from indexer.ingest.job import KIND as INGEST
from indexer.jobs.states import State
from indexer.jobs.store import COUNTS, JobStore
from indexer.reembed.job import KIND as REEMBED
from indexer.types import CollectionInfo, Modality
from models.encoder import DualEncoder
from models.lanes import Lane
from models.query_cache import Tower

KINDS = (INGEST, REEMBED)


def sizes(collections: Collections, jobs: JobStore, opened: Iterable[DualEncoder], data_dir: Path) -> CollectorRegistry:
    """The metrics of a running server.

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
        # What never was is told as 0, else the first of its kind would be no increase.
        states = Counter(dict.fromkeys(product(KINDS, get_args(State)), 0))
        outcomes = Counter(dict.fromkeys(product(KINDS, COUNTS), 0))
        for count in self._jobs.counts():
            states[count.kind, count.state] = count.jobs
            outcomes.update({(count.kind, outcome): number for outcome, number in count.rows.items()})
        for family, counts in ((jobs, states), (rows, outcomes)):
            for labels, number in counts.items():
                family.add_metric(labels, number)
            yield family


class _Queues(Collector):
    def __init__(self, opened: Iterable[DualEncoder]) -> None:
        self._opened = opened

    def collect(self) -> Iterator[Metric]:
        waiting = GaugeMetricFamily("sightline_batch_waiting", "Rows that wait for a tower.", labels=("tower", "lane"))
        towers = [{"image": encoder.images, "text": encoder.texts} for encoder in self._opened]
        for tower, lane in product(get_args(Tower), get_args(Lane)):
            waiting.add_metric((tower, lane), sum(batchers[tower][lane].waiting for batchers in towers))
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


def _kinds(info: CollectionInfo) -> Counter[tuple[Modality, Kind]]:
    """Built segments by what they are of, and what they are; none is told as none of the kind that new ones have."""
    kinds = Counter({(modality, info.index.kind): 0 for modality in info.index.segments})
    kinds.update((modality, each.kind) for modality, built in info.index.segments.items() for each in built)
    return kinds
