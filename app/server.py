"""`create_app`: the rooms composed into one ASGI app."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.concurrency import contextmanager_in_threadpool
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from app import middleware
from app.access.gate import Gate
from app.access.kept import InFile, Kept
from app.departures import NoticeDepartures
from app.encoders import OpenEncoder
from app.errors import (
    FieldFault,
    RequestError,
    answer_departure,
    answer_error,
    answer_http_exception,
    answer_validation_error,
)
from app.observation.metrics import Metrics
from app.openapi import SightlineAPI
from app.routes import (
    clip_retrieval,
    collections,
    embeddings,
    explain,
    generations,
    health,
    items,
    jobs,
    models,
    page,
    pictures,
    quality,
    rules,
    search,
    search_batch,
    selection,
)
from app.settings import Settings
from app.state import Resources, State, open_resources
from app.version import read_version
from indexer.errors import IndexerError
from models.errors import ModelError

DESCRIPTION = "Search a catalogue of pictures and texts by meaning. Errors are RFC 9457 problem documents."

_CORS: dict[str, Any] = {
    "allow_methods": ("GET", "PUT", "POST", "DELETE"),
    "allow_headers": ("Authorization", "Content-Type", "Idempotency-Key", "If-None-Match", "X-Request-ID"),
    "expose_headers": ("ETag", "RateLimit", "RateLimit-Policy", "Retry-After", "X-Request-ID"),
    "max_age": 3600,
}
"""What listed sites may send and read; no cookies, as there are none."""


def create_app(settings: Settings, open_encoder: OpenEncoder | None = None) -> FastAPI:
    """Build the app; the model is loaded and the data folder opened when its lifespan begins.

    Args:
        open_encoder: Gives the encoder of a model by name; by default each model of the store is opened once.
    """
    return compose_app(settings, lambda: open_resources(settings, open_encoder))


def compose_app(
    settings: Settings, opening: Callable[[], AbstractContextManager[Resources]], folder: Path | None = None
) -> FastAPI:
    """Build the app over resources that its lifespan enters and leaves.

    Args:
        folder: What several processes share of which each serves such an app.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        async with contextmanager_in_threadpool(opening()) as resources:
            yield {"resources": resources}

    app = SightlineAPI(title="Sightline", version=read_version(), description=DESCRIPTION, lifespan=lifespan)
    _add_routes(app, settings)
    _add_error_handlers(app)
    _add_middleware(app, settings, InFile(folder / "quotas") if folder else None)
    return app


def _add_routes(app: FastAPI, settings: Settings) -> None:
    # Pictures and what explains them go before items: an item's id may hold slashes, and would swallow the rest.
    before_items = (health, collections, generations, quality, pictures, explain)
    # Search goes before all: routes are tried one by one, and it is asked for most.
    first = (search, search_batch)
    modules = (*first, *before_items, items, rules, selection, jobs, embeddings, models, page)
    # The routes themselves: `include_router` makes each anew, for the first request to wait for.
    for module in (*modules, clip_retrieval) if settings.clip_retrieval else modules:
        app.router.routes.extend(module.router.routes)
    app.mount("/static", page.PageFiles(directory=page.FOLDER, check_dir=False), name="static")


def _add_error_handlers(app: FastAPI) -> None:
    for kind in (IndexerError, ModelError, RequestError, FieldFault):
        app.add_exception_handler(kind, answer_error)
    app.add_exception_handler(RequestValidationError, answer_validation_error)
    app.add_exception_handler(HTTPException, answer_http_exception)
    app.add_exception_handler(ClientDisconnect, answer_departure)


def _add_middleware(app: FastAPI, settings: Settings, kept: Kept | None) -> None:
    app.state.metrics = Metrics()
    app.add_middleware(NoticeDepartures)  # the last one added is the outermost
    app.add_middleware(middleware.KeepEncodedPaths)
    app.add_middleware(
        middleware.LimitBody,
        max_bytes=settings.max_body_bytes,
        max_catalogue_bytes=settings.max_catalogue_bytes,
        timeout_s=settings.body_timeout_s,
    )
    app.add_middleware(Gate, settings=settings, kept=kept)
    if settings.allowed_origins:
        app.add_middleware(CORSMiddleware, allow_origins=settings.allowed_origins, **_CORS)
    if settings.otlp_endpoint:
        from app.observation.tracing import TraceRequests  # of packages that only those have who want them

        app.add_middleware(TraceRequests)
    app.add_middleware(middleware.SecureHeaders, embeddable=bool(settings.allowed_origins))
    app.add_middleware(middleware.MeasureRequests, metrics=app.state.metrics, log_queries=settings.log_queries)
    app.add_middleware(middleware.RequestId)
