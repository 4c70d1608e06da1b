"""Traces: a request, and the parts of its searches in it."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import app
from app.observation import tracing
from app.settings import Settings
from tests.app.conftest import ITEMS, SEARCH, client_of
from tests.fakes import FakeEncoder

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01", "X-Request-ID": "mine"}


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """Takes what would go to a collector."""
    exporter = InMemorySpanExporter()

    @contextmanager
    def open_tracing(endpoint: str) -> Iterator[tracing.Tracing]:
        with tracing.tracing_to(exporter) as opened:
            yield opened

    monkeypatch.setattr(tracing, "open_tracing", open_tracing)
    return exporter


def test_a_request_is_a_span_of_its_callers_trace_with_the_parts_of_its_search(
    settings: Settings, encoder: FakeEncoder, exporter: InMemorySpanExporter
) -> None:
    with client_of(settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:1"}), encoder) as client:
        client.put(f"{ITEMS}/a", json={"text": "red", "metadata": {"size": 1}})
        client.post(SEARCH, json={"query": "a secret wish", "filter": {"size": 1}}, headers=PARENT)
        client.get("/healthz", headers=PARENT)

    spans = [
        span for span in exporter.get_finished_spans() if span.context and f"{span.context.trace_id:032x}" == TRACE
    ]
    *parts, request = sorted(spans, key=lambda span: span.end_time or 0)
    assert [span.name for span in parts] == ["embed", "search", "hydrate"]
    assert request.name == "POST /v1/collections/{name}/search"
    assert request.context
    assert {span.parent.span_id for span in parts if span.parent} == {request.context.span_id}
    assert request.start_time is not None
    times = [moment for span in parts for moment in (span.start_time, span.end_time)]
    assert times == sorted(times, key=lambda moment: moment or 0)
    told = dict(request.attributes or {})
    assert (told["http.response.status_code"], told["sightline.request_id"]) == (200, "mine")
    assert dict(parts[1].attributes or {})["sightline.matches"] == 1
    assert not [span for span in exporter.get_finished_spans() if "secret" in span.to_json()]


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    check = (
        "import sys; from app.server import create_app; from app.settings import Settings; create_app(Settings());"
        "print(*[name for name in sys.modules if name.startswith(('opentelemetry.sdk', 'app.observation.tracing'))])"
    )
    folder = Path(app.__file__).parent.parent
    ran = subprocess.run([sys.executable, "-c", check], cwd=folder, capture_output=True, check=True, text=True)
    assert ran.stdout.strip() == ""
