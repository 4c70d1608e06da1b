"""Jobs from the command line: `ingest --on-server` and `jobs`, against a real server."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.app.conftest import ITEMS, Run
from tests.fakes import FakeEncoder
from tests.pictures import picture
from tests.servers import answer, serve
from tests.waiting import WAIT_S

STRANGE = "x\u2028y\u0085z"


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "red.png").write_bytes(picture("red"))
    write(folder, "a,a red thing,red.png", "b,a blue thing,")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", port=0, ingest_roots=(str(tmp_path / "shop"),))


@pytest.fixture(autouse=True)
def _asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.following.POLL_S", 0.02)


def write(folder: Path, *rows: str) -> None:
    (folder / "catalog.csv").write_text("\n".join(("id,title,image", *rows)))


def start(run: Run, url: str, shop: Path, *options: object) -> Any:
    """A job that nobody waits for."""
    return run("ingest", shop / "catalog.csv", "--on-server", "--detach", "--url", url, *options).json


def test_a_job_is_followed_and_told_in_one_line(run: Run, server_url: str, shop: Path) -> None:
    ran = run("ingest", shop, "--on-server", "--url", server_url, "--collection", "mine")

    assert (ran.code, ran.out) == (0, "2 of 2 rows: 2 created, 0 updated, 0 unchanged, 0 failed\n")
    assert "Job " in ran.err
    assert "2/2" in ran.err


def test_a_local_catalogue_goes_in_with_a_bar(
    run: Run, server_url: str, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")  # fewer than the path has
    ran = run("ingest", shop / "catalog.csv", "--url", server_url)

    assert (ran.code, ran.out) == (0, "2 of 2 rows: 2 created, 0 updated, 0 unchanged, 0 failed\n")
    assert "id from id; image from image; text from title" in ran.err
    assert "Ingesting" in ran.err
    assert "2/2" in ran.err


@pytest.mark.parametrize("way", [(), ("--on-server",)])
def test_columns_are_named_and_no_others_guessed(run: Run, server_url: str, shop: Path, way: tuple[str, ...]) -> None:
    (shop / "catalog.csv").write_text("id,title,code,words,price,colour\n1,no,A7,a red thing,9.5,red\n")
    columns = ("--id", "code", "--text", "words", "--metadata", "price", "--metadata", "colour")

    ran = run("ingest", shop / "catalog.csv", "--url", server_url, *way, *columns)

    [item] = httpx.get(server_url + ITEMS).json()["items"]
    assert ran.code == 0
    assert (item["id"], item["text"], item["metadata"]) == ("A7", "a red thing", {"price": 9.5, "colour": "red"})


@pytest.mark.parametrize("way", [(), ("--on-server",)])
def test_a_column_that_is_not_there_is_told(run: Run, server_url: str, shop: Path, way: tuple[str, ...]) -> None:
    ran = run("ingest", shop / "catalog.csv", "--url", server_url, *way, "--image", "photo")

    assert (ran.code, "has no column photo; it has id, title, image" in ran.err) == (1, True)


def test_bad_rows_of_a_job_are_told_whatever_their_ids(run: Run, server_url: str, shop: Path) -> None:
    write(shop, "a,red,gone.png", f"{STRANGE},,gone.png", "b,blue,")

    ran = run("ingest", shop, "--on-server", "--url", server_url, "--json")

    assert ran.code == 1
    assert (ran.json["created"], ran.json["failed"], ran.json["warnings"], ran.json["total"]) == (2, 1, 1, 3)
    assert [(row["level"], row["row"], row["id"]) for row in ran.json["rows"]] == [
        ("warning", 1, "a"),
        ("error", 2, STRANGE),
    ]


def test_rows_stored_in_part_are_no_failure(run: Run, server_url: str, shop: Path) -> None:
    write(shop, "a,red,gone.png")

    ran = run("ingest", shop, "--on-server", "--url", server_url)

    assert (ran.code, ran.out) == (0, "1 of 1 rows: 1 created, 0 updated, 0 unchanged, 0 failed, 1 stored in part\n")
    assert "row 1 (a): " in ran.err


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_job_that_fails_exits_with_1_and_says_why(
    run: Run, server_url: str, shop: Path, options: tuple[str, ...]
) -> None:
    write(shop, "a,,gone.png", "b,blue,")

    ran = run("ingest", shop, "--on-server", "--on-error", "fail", "--url", server_url, *options)

    assert ran.code == 1
    assert "failed: row 1 (a): " in ran.err
    assert "Traceback" not in ran.err
    if options:
        assert ran.json["created"] == 0


def test_a_sync_says_how_many_it_would_delete_and_takes_the_number(run: Run, server_url: str, shop: Path) -> None:
    run("ingest", shop, "--on-server", "--url", server_url)
    write(shop, "c,green,")

    refused = run("ingest", shop, "--on-server", "--mode", "sync", "--url", server_url)
    done = run("ingest", shop, "--on-server", "--mode", "sync", "--expect-deletes", 2, "--url", server_url)

    assert (refused.code, "expect_deletes 2" in refused.err) == (1, True)
    assert (done.code, done.out) == (0, "1 of 1 rows: 0 created, 0 updated, 1 unchanged, 0 failed, 2 deleted\n")


@pytest.mark.parametrize(
    "options", [("--mode", "sync"), ("--on-error", "fail"), ("--expect-deletes", "3"), ("--detach",)]
)
def test_what_only_a_job_can_do_is_not_passed_over(run: Run, server_url: str, shop: Path, options: list[str]) -> None:
    ran = run("ingest", shop, "--url", server_url, *options)

    assert (ran.code, "--on-server" in ran.err) == (2, True)
    assert httpx.get(server_url + ITEMS).json()["items"] == []


def test_a_request_that_is_sent_again_makes_one_job(run: Run, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was too busy may have made the job all the same."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    path = "/v1/collections/default/ingest"
    with serve({"/v1/collections/default": answer(b"{}"), path: answer(status=503)}) as server:

        def accept_second(request: Any, _: Any) -> bytes:
            tries = [request for request in server.requests if request.target == path]
            return answer(b'{"id": "1"}', 202) if len(tries) == 2 else answer(status=503)

        server.answers[path] = accept_second
        ran = run("ingest", "/shop", "--on-server", "--detach", "--url", server.url)

    keys = [request.headers["idempotency-key"] for request in server.requests if request.target == path]
    assert (ran.code, ran.json, len(keys), len(set(keys))) == (0, {"id": "1"}, 2, 1)


def test_jobs_are_listed_and_shown(run: Run, server_url: str, shop: Path) -> None:
    first = start(run, server_url, shop)["id"]
    assert run("jobs", "follow", first, "--url", server_url).code == 0
    (shop / "catalog.csv").unlink()
    (shop / "catalog.csv").write_text("")
    second = start(run, server_url, shop, "--collection", "other")["id"]
    followed = run("jobs", "follow", second, "--url", server_url)
    assert (followed.code, "empty" in followed.err) == (1, True)

    def listed(*options: object) -> list[str]:
        return [job["id"] for job in run("jobs", "list", "--url", server_url, "--json", *options).json]

    assert listed() == [second, first]
    assert listed("--limit", 1) == [second]
    assert listed("--state", "succeeded") == listed("--collection", "default") == [first]
    assert listed("--state", "running") == []
    shown = run("jobs", "show", second, "--url", server_url)
    assert (shown.code, second in shown.out, "source-invalid: " in shown.out) == (0, True, True)
    assert run("jobs", "show", first, "--url", server_url, "--json").json["progress"]["created"] == 2


def test_a_listed_job_has_its_whole_id_on_one_line(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    job = a_job("83cf9351" * 4, state="failed")
    change = job | {"kind": "reembed", "source": None, "model": "[vit]"}
    with serve({"/v1/jobs?limit=20": answer(json.dumps({"jobs": [job, change]}).encode())}) as server:
        heading, line, other = run("jobs", "list", "--url", server.url).out.splitlines()

    columns = ["id", "kind", "collection", "state", "rows", "failed", "warnings", "created", "source", "or", "model"]
    assert heading.split() == columns
    assert (other.split()[1], other.split()[-1]) == ("reembed", "[vit]")
    assert line.split() == [
        job["id"],
        "ingest",
        "default",
        "failed",
        *["1", "of", "?", "0", "1", "2026-05-04", "10:00:00"],
        job["source"],
    ]


def test_a_job_is_shown_with_all_that_there_is_to_tell(run: Run) -> None:
    job = a_job("83cf9351" * 4, state="failed", error={"code": "source-invalid", "detail": "the file is empty"})
    with serve({f"/v1/jobs/{job['id']}": answer(json.dumps(job).encode())}) as server:
        shown = run("jobs", "show", job["id"], "--url", server.url).out

    assert dict(line.split(maxsplit=1) for line in shown.splitlines()) == {
        "id": job["id"],
        "kind": "ingest",
        "collection": "default",
        "state": "failed",
        "source": job["source"],
        "columns": "id from sku; text from title; metadata from price, brand",
        "rows": "1 rows: 1 created, 0 updated, 0 unchanged, 0 failed, 1 stored in part",
        "created": "2026-05-04 10:00:00",
        "started": "2026-05-04 10:00:01",
        "error": "source-invalid: the file is empty",
    }


def test_a_job_is_found_by_the_beginning_of_its_id(run: Run, server_url: str, shop: Path) -> None:
    job = start(run, server_url, shop)["id"]

    followed = run("jobs", "follow", job[:8], "--url", server_url)

    assert (followed.code, followed.out) == (0, "2 of 2 rows: 2 created, 0 updated, 0 unchanged, 0 failed\n")
    assert run("jobs", "show", job[:8], "--url", server_url, "--json").json["id"] == job
    assert run("jobs", "errors", job[:8], "--url", server_url).code == 0
    assert f"job {job} has succeeded" in run("jobs", "cancel", job[:8], "--url", server_url).err


def test_a_beginning_that_several_ids_have_is_told(run: Run) -> None:
    first = {"jobs": [a_job("ab1"), a_job("ac")], "next_cursor": "c1"}
    second = {"jobs": [a_job("ab2")], "next_cursor": None}
    pages = {"/v1/jobs?limit=500": first, "/v1/jobs?limit=500&cursor=c1": second}
    with serve({path: answer(json.dumps(page).encode()) for path, page in pages.items()}) as server:
        several = run("jobs", "show", "ab", "--url", server.url)
        one = run("jobs", "show", "ab2", "--url", server.url, "--json")

    assert (several.code, several.err) == (1, "error: 2 jobs have ids that begin with ab: give more of it\n")
    assert one.json["id"] == "ab2"


def a_job(id_: str, *, state: str = "running", error: Any = None) -> Any:
    """As the API tells it, at ten o'clock on this machine."""
    counts = dict.fromkeys(("updated", "unchanged", "failed", "deleted"), 0)
    moments = [datetime(2026, 5, 4, 10, 0, second).astimezone().isoformat() for second in range(2)]
    return {
        "id": id_,
        "kind": "ingest",
        "collection": "default",
        "state": state,
        "progress": counts | {"total": None, "done": 1, "created": 1, "warnings": 1, "per_second": None},
        "source": "/shop/[red]/" + "long/" * 30 + "catalog.csv",
        "model": None,
        "mapping": {"id": "sku", "image": None, "text": "title", "metadata": ["price", "brand"]},
        "created_at": moments[0],
        "started_at": moments[1],
        "finished_at": None,
        "error": error,
    }


def test_the_bad_rows_of_a_job_are_json_lines(run: Run, server_url: str, shop: Path) -> None:
    write(shop, f"{STRANGE},,gone.png", "b,blue,", "c,,")
    job = start(run, server_url, shop)["id"]
    assert run("jobs", "follow", job, "--url", server_url).code == 0

    ran = run("jobs", "errors", job, "--url", server_url)

    assert [json.loads(line)["id"] for line in ran.out.split("\n")[:-1]] == [STRANGE, "c"]


def test_a_job_without_bad_rows_prints_none(run: Run, server_url: str, shop: Path) -> None:
    job = start(run, server_url, shop)["id"]
    run("jobs", "follow", job, "--url", server_url)

    ran = run("jobs", "errors", job, "--url", server_url)

    assert (ran.code, ran.out) == (0, "")


@pytest.fixture
def gate(encoder: FakeEncoder, monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Set, it lets texts through to the encoder."""
    gate, encode = threading.Event(), encoder.encode_texts
    monkeypatch.setattr(encoder, "encode_texts", lambda texts: gate.wait(WAIT_S) and encode(texts))
    yield gate
    gate.set()


def test_jobs_are_cancelled(gate: threading.Event, run: Run, server_url: str, shop: Path) -> None:
    running, queued = (start(run, server_url, shop)["id"] for _ in range(2))

    second = run("jobs", "cancel", queued, "--url", server_url)
    first = run("jobs", "cancel", running, "--url", server_url)
    gate.set()
    followed = run("jobs", "follow", running, "--url", server_url)

    assert (second.code, second.out) == (0, f"job {queued} is cancelled; what it has stored stays\n")
    assert (first.code, first.out) == (0, f"job {running} will be cancelled; what it has stored stays\n")
    assert (followed.code, followed.err.strip().endswith(f"job {running} cancelled")) == (1, True)


def test_a_job_that_has_ended_is_not_cancelled(run: Run, server_url: str, shop: Path) -> None:
    job = start(run, server_url, shop)["id"]
    run("jobs", "follow", job, "--url", server_url)

    ran = run("jobs", "cancel", job, "--url", server_url)

    assert (ran.code, "has succeeded already" in ran.err) == (1, True)


@pytest.mark.parametrize("verb", ["show", "follow", "errors", "cancel"])
@pytest.mark.parametrize("job", ["none", "../collections", "a/b?c"])
def test_a_job_that_is_not_there_is_told_in_one_line(run: Run, server_url: str, verb: str, job: str) -> None:
    ran = run("jobs", verb, job, "--url", server_url)

    assert ran.code == 1
    assert len(ran.err.strip().splitlines()) == 1
    assert ran.err.startswith("error: ")


def test_a_relative_path_is_that_of_the_same_machine(
    run: Run, server_url: str, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop.parent)

    ran = run("ingest", "shop/catalog.csv", "--on-server", "--url", server_url)

    assert (ran.code, ran.out) == (0, "2 of 2 rows: 2 created, 0 updated, 0 unchanged, 0 failed\n")


@pytest.mark.parametrize(("source", "url"), [("gone.csv", "http://127.0.0.1:9"), ("shop", "http://192.0.2.1:9")])
def test_a_relative_path_that_the_server_cannot_know_is_told(run: Run, shop: Path, source: str, url: str) -> None:
    ran = run("ingest", source, "--on-server", "--url", url)

    assert (ran.code, len(ran.err.strip().splitlines())) == (1, 1)
    assert "give the absolute path that it has on the server's machine" in ran.err


@pytest.mark.parametrize("source", ["/etc/passwd", "/shop\0", "s3://bucket/a.csv"])
def test_a_place_that_the_server_may_not_read_is_told_in_one_line(run: Run, server_url: str, source: str) -> None:
    ran = run("ingest", source, "--on-server", "--url", server_url)

    assert (ran.code, len(ran.err.strip().splitlines())) == (1, 1)
    assert ran.err.startswith("error: Source ")


@pytest.mark.parametrize(
    "arguments",
    [
        ("jobs", "list"),
        ("jobs", "show", "1"),
        ("jobs", "cancel", "1"),
        ("ingest", "/shop", "--on-server"),
        ("search", "red"),
        ("reembed", "--model", "new"),
        ("generations", "list"),
        ("generations", "activate", "1"),
        ("generations", "drop", "1"),
    ],
)
@pytest.mark.parametrize("page", [answer(b"<html>Welcome</html>"), answer(b"<html>No</html>", 404)])
def test_another_server_is_told_in_one_line(run: Run, arguments: tuple[str, ...], page: bytes) -> None:
    class Everywhere(dict[str, bytes]):
        def get(self, target: str, default: object = None) -> bytes:  # type: ignore[override]
            return page

    with serve({}) as server:
        server.answers = Everywhere()  # type: ignore[assignment]
        ran = run(*arguments, "--url", server.url)

    assert (ran.code, len(ran.err.strip().splitlines())) == (1, 1)
    assert ran.err.startswith("error: ")


@pytest.mark.parametrize("verb", [("list",), ("show", "1"), ("errors", "1"), ("cancel", "1")])
def test_no_server_is_told_in_one_line(run: Run, verb: tuple[str, ...]) -> None:
    ran = run("jobs", *verb, "--url", "http://127.0.0.1:9")

    assert (ran.code, len(ran.err.strip().splitlines())) == (1, 1)
    assert "no server answers at http://127.0.0.1:9" in ran.err


@pytest.mark.parametrize("options", [("--limit", "0"), ("--limit", "501"), ("--state", "lost"), ("--order", "name")])
def test_wrong_usage_of_jobs_exits_with_2(run: Run, options: tuple[str, str]) -> None:
    assert run("jobs", "list", *options).code == 2
