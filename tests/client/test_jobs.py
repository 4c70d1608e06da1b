"""Jobs: queued, followed across restarts, their bad rows read."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.routes import jobs as routes
from app.settings import Settings
from sightline_client import ConnectionFailed, Job, JobFailed, NotFound, RequestRefused
from sightline_client.lines import Events, Lines
from tests.client.conftest import Connect
from tests.servers import Answer, Request, answer, serve

EVENTS = "/v1/jobs/j/events"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, ingest_roots=(str(tmp_path),))


@pytest.fixture(autouse=True)
def _looked_at_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(routes, "EVENT_INTERVAL_S", 0.02)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    path = tmp_path / "shop.csv"
    path.write_text("sku,title,brand\na,red,x\nb,,y\nc,blue\u2028sea,z\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("way", ["upload", "source"])
def test_a_catalogue_is_taken_in(sightline: Any, shop: Path, way: str) -> None:
    mapping: Any = {"id": "sku", "text": "title"}
    if way == "upload":
        queued = sightline.ingest_file(shop, mapping=mapping, mode="sync", expect_deletes=0)
    else:
        queued = sightline.ingest_source(str(shop), mapping=mapping)
    job = sightline.wait(queued.id)

    assert (job.state, job.progress.done, job.progress.created, job.progress.failed) == ("succeeded", 3, 2, 1)
    assert [(row.row, row.id, row.level) for row in sightline.job_errors(job.id)] == [(2, "b", "error")]
    assert [one.id for one in sightline.jobs(state="succeeded", collection="default")] == [job.id]
    assert sightline.item("a").metadata == {"brand": "x"}


def test_a_job_that_fails_is_raised_with_its_reason(sightline: Any, shop: Path) -> None:
    job = sightline.ingest_source(str(shop), mapping={"id": "sku", "text": "title"}, on_error="fail")
    with pytest.raises(JobFailed, match=f"job {job.id} failed: ") as failed:
        sightline.wait(job.id)
    assert failed.value.job.error.code
    with pytest.raises(RequestRefused) as refused:
        sightline.cancel_job(job.id)
    assert refused.value.status == 409


def test_an_unknown_job_cannot_be_followed(sightline: Any) -> None:
    with pytest.raises(NotFound):
        sightline.wait("unknown")
    with pytest.raises(NotFound):
        list(sightline.job_errors("unknown"))


def job_at(done: int, state: str = "running") -> str:
    counts = {"created": done, "updated": 0, "unchanged": 0, "failed": 0, "warnings": 0, "deleted": 0}
    progress = {"total": 3, "done": done, **counts, "per_second": None, "eta_seconds": None}
    times = {"created_at": "2026-07-01T08:00:00Z", "started_at": None, "finished_at": None}
    rest = {"source": None, "model": None, "mapping": None, "error": None}
    return json.dumps(
        {"id": "j", "kind": "ingest", "collection": "c", "state": state, "progress": progress} | times | rest
    )


def stream(*jobs: str, ended: bool = True) -> Answer:
    data = HEAD + b"".join(f": ping\r\n\r\nevent: progress\ndata: {job}\n\n".encode() for job in jobs)

    def send(request: Request, connection: socket.socket) -> None:
        connection.sendall(data if ended else data[:-1])

    return send


def test_a_job_is_followed_across_restarts(connect: Connect) -> None:
    """The stream ends, is cut within an event, is refused while the server starts; each state is told once."""
    streams = iter(
        [
            stream(job_at(0), job_at(1)),
            stream(job_at(1), job_at(2), ended=False),
            answer(status=503, retry_after="0"),
            stream(job_at(2), job_at(3, "succeeded")),
        ]
    )

    def next_stream(request: Request, connection: socket.socket) -> bytes | None:
        given = next(streams)
        return given if isinstance(given, bytes) else given(request, connection)

    with serve({EVENTS: next_stream}) as server:
        told = list(connect(server.url).follow("j"))
    assert [(job.progress.done, job.state) for job in told] == [
        (0, "running"),
        (1, "running"),
        (2, "running"),
        (3, "succeeded"),
    ]


def test_a_report_that_breaks_off_is_no_whole_one(connect: Connect) -> None:
    row = b'{"level": "error", "row": 1, "id": "a", "code": "c", "detail": "d"}\n'
    whole = answer(row + row)
    answers: dict[str, Answer] = {"/v1/jobs/j/errors": lambda _, connection: connection.sendall(whole[:-20])}
    with serve(answers) as server, pytest.raises(ConnectionFailed, match="broke off"):
        list(connect(server.url).job_errors("j"))


PIECES = st.lists(st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"])), max_size=5)


@given(PIECES, st.sampled_from(["\n", "\r\n"]), st.integers(1, 7))
def test_lines_are_cut_at_line_feeds_alone(lines: list[str], end: str, size: int) -> None:
    """Not where Unicode has breaks, and wherever the pieces of the stream are cut."""
    sent = "".join(line + end for line in lines).encode()
    cut = Lines()
    assert [line for piece in pieces(sent, size) for line in cut.add(piece)] == lines


@given(PIECES, st.integers(1, 7))
def test_events_are_their_data(data: list[str], size: int) -> None:
    sent = "".join(f": ping\n\nevent: progress\nid: 1\ndata: {one}\n\n" for one in data).encode()
    events = Events()
    assert [one for piece in pieces(sent, size) for one in events.add(piece)] == data


def pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))


def test_an_ended_job_is_one_that_will_not_change() -> None:
    states = ("queued", "running", "succeeded", "failed", "cancelled")
    ended = [Job.model_validate_json(job_at(0, state)).ended for state in states]
    assert ended == [False, False, True, True, True]
