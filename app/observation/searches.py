"""What is kept of searches: how long their parts took, how they were planned, and a log of those that were slow."""

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram

from indexer.types import Mode, SearchOutcome, SearchRequest, SearchResult, Term

BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
COUNTS = (0, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
ROUNDS = (1, 2, 3, 5, 8)
PARTS = ("embed", "search", "hydrate")
"""Of the time that a search took; see `indexer.types.Took`."""
WAIT = "wait"
"""What is left of it: until a thread took the search."""

slow = logging.getLogger("sightline.slow")

ObserveSearches: TypeAlias = Callable[[str, Sequence[SearchRequest], Sequence[SearchOutcome]], None]
"""Told of searches of a collection, in the context of the request that asked for them."""


class Searches:
    """Told of searches; see `ObserveSearches`.

    Args:
        slow_ms: Those that take as long, in milliseconds, are logged.
    """

    def __init__(self, slow_ms: int) -> None:
        self.registry = CollectorRegistry()
        self._slow_ms = slow_ms
        seconds = self._histogram(
            "sightline_search_seconds",
            "Time of a search, or of those answered together.",
            BUCKETS_S,
            "part",
        )
        candidates = self._histogram("sightline_search_candidates", "Items that a search scored.", COUNTS)
        rounds = self._histogram(
            "sightline_search_rounds", "Times that a search asked for more until it had enough.", ROUNDS
        )
        matches = self._histogram("sightline_filter_matches", "Items that a search's filter left.", COUNTS)
        self._slow = Counter("sightline_slow_searches", "Searches that were logged as slow.", registry=self.registry)
        # Looked up once: a search takes a third of a millisecond.
        self._seconds = {mode: [seconds.labels(mode, part) for part in (*PARTS, WAIT)] for mode in get_args(Mode)}
        self._candidates, self._rounds, self._matches = (
            {mode: histogram.labels(mode) for mode in get_args(Mode)} for histogram in (candidates, rounds, matches)
        )

    def count(self, collection: str, requests: Sequence[SearchRequest], outcomes: Sequence[SearchOutcome]) -> None:
        """Count searches that were answered together, and their time once."""
        found = _found(requests, outcomes)
        for request, result in found:
            plan = result.plan
            self._candidates[request.mode].observe(plan.candidates)
            self._rounds[request.mode].observe(plan.rounds)
            if plan.matches is not None:
                self._matches[request.mode].observe(plan.matches)
        if found:
            request, result = found[0]
            took = result.took
            waited = max(0.0, took.total - took.embed - took.search - took.hydrate)
            for histogram, milliseconds in zip(self._seconds[request.mode], (*took[:3], waited), strict=True):
                histogram.observe(milliseconds / 1000)

    def log(self, collection: str, requests: Sequence[SearchRequest], outcomes: Sequence[SearchOutcome]) -> None:
        """Log searches that were slow, of one request."""
        found = _found(requests, outcomes)
        if not found or found[0][1].took.total < self._slow_ms:
            return
        self._slow.inc(len(found))
        for request, result in found:
            told = _describe(request, result) | {"collection": collection, "searches": len(found)}
            words = " ".join(f"{name}={value}" for name, value in told.items())
            slow.warning("slow search: %s", words, extra={"fields": told})

    def _histogram(self, name: str, about: str, buckets: Sequence[float], *labels: str) -> Histogram:
        return Histogram(name, about, ("mode", *labels), buckets=buckets, registry=self.registry)


def _found(
    requests: Sequence[SearchRequest], outcomes: Sequence[SearchOutcome]
) -> list[tuple[SearchRequest, SearchResult]]:
    pairs = zip(requests, outcomes, strict=True)
    return [(request, result) for request, result in pairs if isinstance(result, SearchResult)]


def _describe(request: SearchRequest, result: SearchResult) -> dict[str, Any]:
    """How a search was asked for, planned and done, without what was looked for."""
    options = ("facets", "group_by", "collapse_duplicates", "diversity", "explain")
    plan, took = result.plan, result.took
    return {
        "mode": request.mode,
        "fusion": request.fusion,
        "terms": "+".join(_kind(term) for term in request.terms),
        "limit": request.limit,
        "offset": request.offset,
        "with": "+".join(name for name in options if getattr(request, name)) or None,
        "generation": result.generation,
        "vectors": dict(plan.vectors),
        "matches": plan.matches,
        "rounds": plan.rounds,
        "candidates": plan.candidates,
        "hits": len(result.hits),
        **{f"{part}_ms": round(milliseconds, 3) for part, milliseconds in took._asdict().items()},
    }


def _kind(term: Term) -> str:
    return next(kind for kind in ("text", "image", "item", "vector") if getattr(term, kind) is not None)
