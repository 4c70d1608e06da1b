"""The command line, against a real server where it talks to one."""

import csv
import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx
import pytest

from app.cli.serve import listen
from app.settings import Settings
from tests.app.conftest import ITEMS, Run
from tests.pictures import picture


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    rows = [("red", "a red thing"), ("blue", "a blue thing"), ("green", "")]
    for colour, _ in rows:
        (folder / f"{colour}.png").write_bytes(picture(colour))
    with (folder / "catalog.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "image", "price"])
        writer.writerows([colour, text, f"{colour}.png", 9.5] for colour, text in rows)
    return folder


def add_row(catalogue: Path, *cells: str) -> None:
    with (catalogue / "catalog.csv").open("a", newline="") as file:
        csv.writer(file).writerow(cells)


def test_a_catalogue_is_ingested_and_found(run: Run, server_url: str, catalogue: Path) -> None:
    ingested = run("ingest", catalogue / "catalog.csv", "--url", server_url)
    found = run("search", "red", "--url", server_url, "--json").json

    assert (ingested.code, ingested.out) == (0, "3 of 3 rows: 3 created, 0 updated, 0 unchanged, 0 failed\n")
    assert found["hits"][0]["id"] == "red"
    assert found["hits"][0]["metadata"] == {"price": 9.5}


def test_a_filter_narrows_a_search(run: Run, server_url: str, catalogue: Path) -> None:
    add_row(catalogue, "dear", "a red thing", "", "900")
    run("ingest", catalogue / "catalog.csv", "--url", server_url)

    found = run("search", "red", "--filter", '{"price": {"$gt": 100}}', "--url", server_url, "--json").json
    wrong = run("search", "red", "--filter", '{"price": {"$near": 100}}', "--url", server_url)
    broken = run("search", "red", "--filter", "price < 100", "--url", server_url)

    assert [hit["id"] for hit in found["hits"]] == ["dear"]
    assert (wrong.code, "$near" in wrong.err) == (1, True)
    assert (broken.code, "is not JSON" in broken.err) == (2, True)


def test_diversity_changes_the_order(run: Run, server_url: str, catalogue: Path) -> None:
    """Red, another red, blue and green: after the first one the other red is the least different."""
    add_row(catalogue, "crimson", "a red thing, too", "red.png", "9.5")
    run("ingest", catalogue / "catalog.csv", "--url", server_url)

    def ids(*options: str) -> list[str]:
        return [hit["id"] for hit in run("search", "red", "--url", server_url, "--json", *options).json["hits"]]

    assert set(ids()[:2]) == {"red", "crimson"}
    assert {ids("--diversity", "1")[0], ids("--diversity", "1")[-1]} == {"red", "crimson"}


def test_what_did_not_change_costs_nothing(run: Run, server_url: str, catalogue: Path) -> None:
    run("ingest", catalogue, "--url", server_url)

    again = run("ingest", catalogue, "--url", server_url, "--json").json

    assert (again["created"], again["unchanged"], again["done"], again["total"]) == (0, 3, 3, 3)


def test_bad_rows_are_reported_and_stop_nothing(run: Run, server_url: str, catalogue: Path) -> None:
    (catalogue / "broken.png").write_bytes(b"no picture")
    add_row(catalogue, "broken", "", "broken.png", "1")
    add_row(catalogue, "missing", "", "missing.png", "1")
    add_row(catalogue, "outside", "", "../../etc/passwd", "1")
    add_row(catalogue, "endless", "red " * 30_000, "", "1")
    add_row(catalogue, "last", "a red thing", "", "1")

    report = run("ingest", catalogue, "--url", server_url, "--json")

    assert report.code == 1
    assert (report.json["created"], report.json["failed"], report.json["done"], report.json["total"]) == (4, 4, 8, 8)
    assert {error["id"]: error["row"] for error in report.json["rows"]} == {
        "broken": 4,
        "missing": 5,
        "outside": 6,
        "endless": 7,
    }


def test_a_good_text_is_stored_without_its_bad_picture(run: Run, server_url: str, catalogue: Path) -> None:
    (catalogue / "broken.png").write_bytes(b"no picture")
    add_row(catalogue, "broken", "a red thing", "broken.png", "1")
    add_row(catalogue, "", "no id", "", "1")
    add_row(catalogue, "missing", "a blue thing", "missing.png", "1")
    add_row(catalogue, "nothing", "", "broken.png", "1")

    told = run("ingest", catalogue, "--url", server_url)
    report = run("ingest", catalogue, "--url", server_url, "--json").json

    assert (told.code, told.out) == (
        1,
        "7 of 7 rows: 5 created, 0 updated, 0 unchanged, 2 failed, 2 stored in part\n",
    )
    assert "2 failed 2 stored in part" in told.err
    assert [(row["level"], row["row"], row["code"]) for row in report["rows"]] == [
        ("warning", 4, "image-undecodable"),
        ("error", 5, "row-invalid"),
        ("warning", 6, "row-invalid"),
        ("error", 7, "image-undecodable"),
    ]
    assert (report["unchanged"], report["failed"], report["warnings"]) == (5, 2, 2)


@pytest.mark.parametrize("cells", [("red", "a crimson thing", "gone.png", "9.5"), ("red", "", "broken.png", "7")])
def test_an_item_keeps_its_picture_when_the_new_one_is_bad(
    run: Run, server_url: str, catalogue: Path, cells: tuple[str, ...]
) -> None:
    (catalogue / "broken.png").write_bytes(b"no picture")
    run("ingest", catalogue, "--url", server_url)
    before = httpx.get(f"{server_url}{ITEMS}/red/image").content
    add_row(catalogue, *cells)

    report = run("ingest", catalogue, "--url", server_url, "--json").json

    item = httpx.get(f"{server_url}{ITEMS}/red").json()
    assert (report["updated"], report["unchanged"], report["warnings"], report["failed"]) == (1, 3, 1, 0)
    assert (item["text"] or "", item["metadata"]) == (cells[1], {"price": float(cells[3])})
    assert httpx.get(f"{server_url}{ITEMS}/red/image").content == before


@pytest.mark.parametrize("id_", ["..", ".", "a/../b", "50%2F", "ü ?#"])
def test_any_id_keeps_its_half(run: Run, server_url: str, catalogue: Path, id_: str) -> None:
    add_row(catalogue, id_, "a red thing", "gone.png", "1")

    report = run("ingest", catalogue, "--url", server_url, "--json").json

    assert (report["created"], report["warnings"], report["failed"]) == (4, 1, 0)


def test_of_rows_with_the_same_id_the_last_wins(run: Run, server_url: str, catalogue: Path) -> None:
    add_row(catalogue, "red", "first", "gone.png", "1")
    add_row(catalogue, "red", "last", "red.png", "2")

    report = run("ingest", catalogue, "--url", server_url, "--json").json

    assert (report["created"], report["updated"], report["warnings"]) == (3, 2, 1)
    assert httpx.get(f"{server_url}{ITEMS}/red").json()["text"] == "last"


def test_a_folder_of_pictures_is_a_catalogue(run: Run, server_url: str, catalogue: Path) -> None:
    (catalogue / "catalog.csv").unlink()

    run("ingest", catalogue, "--url", server_url, "--collection", "mine")
    hits = run("search", "blue", "--url", server_url, "--collection", "mine", "--json").json["hits"]

    assert [hit["id"] for hit in hits[:1]] == ["blue.png"]


def test_batches_are_cut_by_items_and_by_bytes(
    run: Run, server_url: str, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.cli.sending.BATCH_BYTES", 200)
    for number in range(70):
        add_row(catalogue, str(number), "red", "", "")

    assert run("ingest", catalogue, "--url", server_url, "--json").json["created"] == 73


def test_ingest_waits_for_a_server_that_restarts(
    run: Run, settings: Settings, catalogue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The port answers 503 first, as a server does that is not ready."""
    monkeypatch.setattr("time.sleep", lambda _: None)
    with listen(settings) as listener:
        answers = threading.Thread(target=refuse_twice_then_answer, args=(listener,))
        answers.start()
        ran = run("ingest", catalogue, "--url", f"http://127.0.0.1:{listener.getsockname()[1]}", "--json")
        answers.join()

    assert (ran.code, ran.json["created"]) == (0, 3)


def refuse_twice_then_answer(listener: socket.socket) -> None:
    """A server of five answers: the collection, twice 503, the batch; each on its own connection."""
    created = json.dumps({"results": [{"id": name, "status": "created"} for name in ("red", "blue", "green")]})
    for status, body in [("503 Busy", "{}"), ("200 OK", "{}"), ("503 Busy", "{}"), ("200 OK", created)]:
        connection, _ = listener.accept()
        with connection:
            read_request(connection)
            head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
            connection.sendall((head + body).encode())


def read_request(connection: socket.socket) -> None:
    received = connection.recv(65_536)
    head, _, body = received.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += connection.recv(65_536)


def test_a_picture_is_searched_for(run: Run, server_url: str, catalogue: Path) -> None:
    run("ingest", catalogue, "--url", server_url)

    ran = run("search", "--image", catalogue / "green.png", "--url", server_url, "--limit", 1)

    assert "green" in ran.out
    assert "red" not in ran.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("search",),
        ("search", "red", "--limit", "0"),
        ("serve", "--port", "99999"),
        ("serve", "--device", "abacus"),
        ("ingest",),
        ("model", "add", "ViT-B-32", "--pretrained", "x", "--precision", "fp7"),
        ("dance",),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    ran = run(*arguments)

    assert ran.code == 2
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("search", "red", "--url", "http://127.0.0.1:9"), "no server answers at http://127.0.0.1:9"),
        (("search", "red", "--url", "nowhere"), "no server answers at nowhere"),
        (("ingest", "nothing.csv"), "nothing.csv"),
        (("serve", "--host", "0.0.0.0"), "SIGHTLINE_API_KEY"),
        (("serve", "--model", "none"), "no model 'none'"),
        (("model", "verify", "none"), "no model 'none'"),
    ],
)
def test_failures_are_one_line_and_exit_with_1(run: Run, arguments: tuple[str, ...], reason: str) -> None:
    ran = run(*arguments)

    said = (ran.err + ran.out).strip().splitlines()
    assert ran.code == 1
    assert len(said) == 1
    assert reason in said[0]


def test_a_taken_port_is_told_before_the_model_is_loaded(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ran = run("serve", "--port", port, "--model", "none")

    assert ran.code == 1
    assert ran.err == (
        f"error: cannot listen on 127.0.0.1, port {port}: Address already in use; "
        "choose another with --port (make demo PORT=...)\n"
    )


def test_the_version_is_that_of_the_api(run: Run, server_url: str) -> None:
    ran = run("--version")

    assert (ran.code, ran.out) == (
        0,
        f"sightline {httpx.get(f'{server_url}/openapi.json').json()['info']['version']}\n",
    )


def test_a_problem_of_the_server_is_told(run: Run, server_url: str) -> None:
    ran = run("search", "red", "--url", server_url, "--collection", "none")

    assert (ran.code, "no collection 'none'" in ran.err) == (1, True)


def test_a_wrong_setting_in_the_environment_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_THREADS", "many")

    ran = run("serve")

    assert (ran.code, "SIGHTLINE_THREADS" in ran.err) == (2, True)


def test_the_doctor_finds_what_is_missing(run: Run) -> None:
    ran = run("doctor", "--model", "none", "--json")

    found = {check["name"]: check["ok"] for check in ran.json["checks"]}
    assert (ran.code, ran.json["ok"]) == (1, False)
    assert (found["model files"], found["data folder"], found["versions"]) == (False, True, True)


def test_the_sample_is_drawn(run: Run, tmp_path: Path) -> None:
    ran = run("sample", tmp_path / "sample", "--items", 3)

    assert ran.code == 0
    assert len((tmp_path / "sample" / "catalog.csv").read_text().splitlines()) == 4


SERVER_PACKAGES = "faiss fastapi numpy onnxruntime PIL pyarrow sqlalchemy"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("jobs", "list"),
        ("search", "red"),
        ("ingest", "/x", "--on-server"),
        ("reembed", "--model", "new"),
        ("generations", "list"),
    ],
)
def test_a_client_loads_nothing_that_only_a_server_needs(server_url: str, arguments: tuple[str, ...]) -> None:
    code = f"""
import sys
from app.cli import main
try:
    main()
finally:
    print("loaded:", *[name for name in {SERVER_PACKAGES.split()} if name in sys.modules])
"""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "SIGHTLINE_URL": server_url}
    ran = subprocess.run([sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True)

    assert "Traceback" not in ran.stderr
    assert ran.stdout.splitlines()[-1] == "loaded:"


def test_a_model_is_timed(run: Run) -> None:
    assert "SIGHTLINE_THREADS=" in run("model", "bench", "--seconds", "0", "--device", "cpu").out
    timings = json.loads(run("model", "bench", "--seconds", "0", "--json").out)
    assert {timing["tower"] for timing in timings} == {"image", "text"}
