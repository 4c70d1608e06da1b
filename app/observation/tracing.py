"""Traces by OpenTelemetry; imported only where an endpoint is set, so that they cost nothing elsewhere."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.observation.logs import request_id
from app.observation.searches import PARTS
from app.version import read_version
from indexer.types import SearchOutcome, SearchRequest, SearchResult

_NS_PER_MS = 1_000_000
TIMEOUT_S = 2
"""What a collector gets to take some spans; a server that stops waits for it."""


@contextmanager
def open_tracing(endpoint: str) -> Iterator["Tracing"]:
    """Traces for an OTLP collector, by HTTP; what was not sent yet is sent at the end."""
    with tracing_to(OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=TIMEOUT_S)) as tracing:
        yield tracing


@contextmanager
def tracing_to(exporter: SpanExporter) -> Iterator["Tracing"]:
    """Traces that go to an exporter in the background; the variables `OTEL_...` say which, and from what service."""
    resource = Resource.create({"service.name": "sightline", "service.version": read_version()})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    try:
        yield Tracing(provider.get_tracer("sightline"))
    finally:
        provider.shutdown()


class Tracing:
    """A span for each request, and in it one for each part of its searches; none tells what was looked for."""

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._propagator = TraceContextTextMapPropagator()

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Span]:
        """The span of a request, in the trace that its `traceparent` names."""
        context = self._propagator.extract(dict(Headers(scope=scope)))
        attributes = {
            "http.request.method": scope["method"],
            "url.path": scope["path"],
            "sightline.request_id": request_id.get(),
        }
        with self._tracer.start_as_current_span(scope["method"], context, SpanKind.SERVER, attributes) as span:
            yield span

    def observe(self, collection: str, requests: Sequence[SearchRequest], outcomes: Sequence[SearchOutcome]) -> None:
        """Spans of searches that have just been answered together; see `app.observation.searches.ObserveSearches`."""
        result = next((outcome for outcome in outcomes if isinstance(outcome, SearchResult)), None)
        if result is None or not trace.get_current_span().is_recording():
            return
        plan, took = result.plan, result.took
        attributes: dict[str, str | int] = {
            "sightline.collection": collection,
            "sightline.searches": len(requests),
            "sightline.mode": requests[0].mode,
            "sightline.candidates": plan.candidates,
            "sightline.rounds": plan.rounds,
        }
        if plan.matches is not None:
            attributes["sightline.matches"] = plan.matches
        at = time.time_ns() - int(took.total * _NS_PER_MS)
        for part in PARTS:
            span = self._tracer.start_span(part, attributes=attributes, start_time=at)
            at += int(getattr(took, part) * _NS_PER_MS)
            span.end(at)


class TraceRequests:
    """Puts each request to the API into a span, as plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        with scope["state"]["resources"].tracing.request(scope) as span:

            async def send_and_look(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            try:
                await self._app(scope, receive, send_and_look)
            finally:
                if route := getattr(scope.get("route"), "path_format", None):
                    span.update_name(f"{scope['method']} {route}")
                    span.set_attribute("http.route", route)
