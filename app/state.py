"""What a running server holds."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypedDict

from anyio import CapacityLimiter

from app.access.audit import AuditLog
from app.encoders import Encoders, OpenEncoder
from app.memory import return_freed_memory
from app.observation.metrics import Batches
from app.observation.searches import ObserveSearches, Searches
from app.search_batcher import SearchBatcher
from app.settings import Settings
from app.thumbnails import Thumbnails
from indexer.collections import Collections
from indexer.disk import Disk
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.objects import ObjectStores
from indexer.index.hardware import Hardware
from indexer.ingest.job import KIND as INGEST
from indexer.ingest.job import IngestJob
from indexer.ingest.loading import PictureLoader
from indexer.ingest.locations import Locations
from indexer.jobs.runner import Jobs
from indexer.reembed.job import KIND as REEMBED
from indexer.reembed.job import ReembedJob
from indexer.rules.webhooks import Webhooks
from indexer.stores.keys import KeyRing
from indexer.stores.url_versions import UrlVersions
from models.lanes import Lanes
from models.sessions import usable_cores
from models.store import ModelStore

if TYPE_CHECKING:
    from app.observation.tracing import Tracing

REPORTS = 4
"""Reports on quality that are made or waited for at a time; further requests wait without a thread."""

HEAT_MAPS = 2
"""Heat maps that are computed at a time: each embeds some two hundred pictures."""

SELECTIONS = 1
"""Selections that are made at a time: each holds some 100 MB of vectors."""


@dataclass(frozen=True, kw_only=True)
class Resources:
    """Everything that routes work with."""

    settings: Settings
    store: ModelStore
    batches: Batches
    searches: Searches
    search_batcher: SearchBatcher
    encoders: Encoders
    open_encoder: OpenEncoder
    collections: Collections
    fetcher: Fetcher
    jobs: Jobs
    locations: Locations
    load_picture: PictureLoader
    keys: KeyRing
    audit: AuditLog
    tracing: "Tracing | None"
    thumbnails: Thumbnails
    reporting: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(REPORTS))
    explaining: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(HEAT_MAPS))
    selecting: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(SELECTIONS))


class State(TypedDict):
    """What the lifespan yields; it is in `request.state`."""

    resources: Resources


@contextmanager
def open_resources(
    settings: Settings, open_encoder: OpenEncoder | None = None, *, read_only: bool = False
) -> Iterator[Resources]:
    """Load the model, open the data folder, go on with its jobs and webhook calls; end all that at the end.

    Args:
        read_only: Jobs, webhook calls and all else that writes are those of another process.

    Raises:
        ModelError: The model cannot be used.
        IndexerError: The data folder cannot be used.
    """
    return_freed_memory()
    store, batches = ModelStore(settings.models_dir), Batches()
    searches, disk = Searches(settings.slow_search_ms), Disk(settings.data_dir, settings.min_free_bytes)
    # All readers together embed on the cores that one process would.
    cores = max(1, usable_cores() // max(1, settings.workers)) if read_only else usable_cores()
    lanes = Lanes(cores)
    encoders = Encoders(settings, store, lanes, batches.observe, batches.observe_lookup, cores=cores)
    encoder_of = open_encoder or encoders
    encoder_of(settings.model)  # a server that cannot embed does not start
    hardware = Hardware.of(settings.index_memory_bytes, settings.device)
    objects, fetcher = ObjectStores(settings.ingest_roots), Fetcher(settings.url_ranges)
    spool = settings.data_dir / "spool"
    locations = Locations(spool, settings.ingest_roots, fetcher, objects, settings.max_catalogue_bytes, disk)
    with (
        _open_tracing(settings) as tracing,
        Collections(
            settings.data_dir,
            encoder_of,
            settings.image_limits,
            settings.model,
            hardware,
            lanes,
            disk,
            read_only=read_only,
        ) as collections,
    ):
        versions = UrlVersions(collections.database)
        pictures = PictureLoader(fetcher, objects, collections.originals, versions, settings.image_limits)
        ingest = IngestJob(locations, pictures, pictures.remember)
        reembed = ReembedJob(collections, encoder_of, pictures)
        clean_up = {INGEST: ingest.clean_up, REEMBED: reembed.clean_up}
        jobs = Jobs(
            collections,
            {INGEST: ingest, REEMBED: reembed},
            settings.running_jobs,
            lambda job: clean_up[job.kind](job),
        )
        if not read_only:
            reembed.sweep(jobs.store.begun(REEMBED))
            locations.sweep((job.request["source"], job.id) for job in jobs.store.unfinished() if job.kind == INGEST)
        tell = _both(searches.log, tracing.observe) if tracing else searches.log
        with (
            KeyRing(collections.database) as keys,
            nullcontext() if read_only else Webhooks(collections.database, fetcher.post),
            nullcontext() if read_only else jobs,
            fetcher,
            closing(SearchBatcher(searches.count, tell, cores)) as search_batcher,
        ):
            try:
                yield Resources(
                    settings=settings,
                    store=store,
                    batches=batches,
                    searches=searches,
                    search_batcher=search_batcher,
                    encoders=encoders,
                    open_encoder=encoder_of,
                    collections=collections,
                    fetcher=fetcher,
                    jobs=jobs,
                    locations=locations,
                    load_picture=pictures,
                    keys=keys,
                    audit=AuditLog(settings.data_dir),
                    tracing=tracing,
                    thumbnails=Thumbnails(settings.thumbnail_cache_bytes, settings.image_limits),
                )
            finally:
                jobs.stop()  # before the fetcher ends what they wait for, which is no fault of their rows


def _open_tracing(settings: Settings) -> AbstractContextManager["Tracing | None"]:
    if settings.otlp_endpoint is None:
        return nullcontext()
    from app.observation.tracing import open_tracing

    return open_tracing(settings.otlp_endpoint)


def _both(one: ObserveSearches, other: ObserveSearches) -> ObserveSearches:
    def observe(*told: Any) -> None:
        one(*told)
        other(*told)

    return observe
