"""`sightline reembed` and `sightline generations`, against a real server."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.settings import Settings
from tests.app.conftest import GENERATIONS, ITEMS, SEARCH, Run
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture
from tests.servers import answer, serve

HOSTILE = '<script>alert("1")</script> [red] & {0}'
COLOURS = ("red", "green", "blue", "yellow")


@pytest.fixture(autouse=True)
def _asks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.cli.following.POLL_S", 0.02)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture
def url(server_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a server with some items, which the command line talks to."""
    items: list[dict[str, Any]] = [{"id": f"i{n}", "text": f"a {COLOURS[n % 4]} thing, {n}"} for n in range(24)]
    for number in range(0, 24, 2):
        items[number]["image"] = data_uri(picture(COLOURS[number % 4]))
    items.append({"id": HOSTILE, "text": f"red {HOSTILE}", "image": data_uri(picture("red"))})
    assert httpx.post(f"{server_url}{ITEMS}", json={"items": items}).is_success
    monkeypatch.setenv("SIGHTLINE_URL", server_url)
    return server_url


@pytest.fixture
def queries(tmp_path: Path) -> Path:
    path = tmp_path / "queries.txt"
    path.write_text(f"\ufeffred\n\n  blue thing \nred\n{HOSTILE}\n", encoding="utf-8")
    return path


class Page(HTMLParser):
    """What is in a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def generation(url: str) -> int:
    found: int = httpx.get(f"{url}{SEARCH}", params={"q": "red"}).json()["generation"]
    return found


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_a_model_is_changed_and_the_report_printed(run: Run, url: str) -> None:
    ran = run("reembed", "--model", "new")

    assert ran.code == 0
    first, heading, *rows = lines(ran.out)
    assert " ".join(first) == "25 items: 25 embedded, 0 failed"
    assert heading == ["generation", "1", "generation", "2"]
    assert rows[:4] == [
        ["model", "default", "new"],
        ["image", "vectors", "13", "13"],
        ["text", "vectors", "25", "25"],
        ["self-retrieval", "1.000", "1.000"],
    ]
    assert [row[0] for row in rows[4:]] == ["alignment", "recall@10", "modality", "overlap@10"]
    assert "25/25" in ran.err
    assert generation(url) == 2


def test_an_empty_collection_has_nothing_to_measure(run: Run, server_url: str) -> None:
    ran = run("reembed", "--model", "new", "--url", server_url)

    assert ran.code == 0
    assert ["alignment", "-", "-"] in lines(ran.out)


def test_generations_are_listed_activated_and_dropped(run: Run, url: str) -> None:
    assert run("reembed", "--model", "new", "--no-activate").code == 0
    heading, first, second = lines(run("generations", "list").out)
    assert heading == ["number", "state", "model", "image", "text", "missing", "canary", "created", "fingerprint"]
    assert first[:6] == ["1", "active", "default", "13", "25", "0"]
    assert second[:6] == ["2", "following", "new", "13", "25", "0"]
    assert generation(url) == 1

    activated = run("generations", "activate", 2)
    assert (activated.code, activated.out, generation(url)) == (0, "generation 2 answers\n", 2)
    refused = run("generations", "drop", 2)
    assert (refused.code, len(refused.err.splitlines()), "active one" in refused.err) == (1, 1, True)
    dropped = run("generations", "drop", 1)
    assert (dropped.code, dropped.out) == (0, "generation 1 is gone\n")
    assert [one["number"] for one in run("generations", "list", "--json").json] == [2]


def test_the_way_back_follows_the_job_that_fills_it(run: Run, url: str) -> None:
    run("reembed", "--model", "new")
    httpx.put(f"{url}{ITEMS}/later", json={"text": "red"})

    back = run("generations", "activate", 1)

    assert (back.code, back.out.splitlines()[-1], generation(url)) == (0, "generation 1 answers", 1)
    assert back.out.startswith("1 items: 1 embedded, 0 failed\n")
    assert run("generations", "activate", 2, "--json").json["number"] == 2


def test_what_cannot_be_embedded_is_told_and_fails_unless_expected(
    run: Run, url: str, encoder: FakeEncoder, settings: Settings
) -> None:
    bare = {"vectors": {"image": [1.0] + [0.0] * 15}, "fingerprint": encoder.fingerprint}
    assert httpx.put(f"{url}{ITEMS}/bare", json=bare).is_success

    failed = run("reembed", "--model", "new")
    as_json = run("reembed", "--model", "new", "--json")
    activated = run("generations", "activate", 2)

    assert (failed.code, generation(url)) == (1, 1)
    assert "(bare): its image vector was given by a client" in failed.err
    assert "expect_missing 1" in failed.err.splitlines()[-1]
    assert (as_json.code, as_json.json["job"]["state"], as_json.json["comparison"]) == (1, "failed", None)
    assert (activated.code, "generation 2 answers" in activated.out) == (1, False)
    assert run("reembed", "--model", "new", "--expect-missing", 1).code == 0
    assert generation(url) == 2


def test_both_generations_are_shown_side_by_side(run: Run, url: str, queries: Path, tmp_path: Path) -> None:
    page = tmp_path / f"{'long' * 30}.html"

    ran = run("reembed", "--model", "new", "--compare", queries, "--html", page, "--limit", 5)

    assert (ran.code, generation(url)) == (0, 1)
    assert [line for line in ran.out.splitlines() if "(overlap" in line and "[red]" in line]
    assert re.search(r"^red  \(overlap \d\.\d\d\)", ran.out, re.MULTILINE)
    assert re.search(r"│ 2 │ . \d\.\d{3} i\d+  a red thing, \d+ +│", ran.out)
    assert f"3 queries, mean overlap {mean_overlap(ran.out):.2f}; both galleries: {page}" in ran.out
    assert "`sightline generations activate 2 --collection" in ran.err


def mean_overlap(out: str) -> float:
    found = [float(value) for value in re.findall(r"\(overlap (\d\.\d\d)\)", out)]
    return sum(found) / len(found)


def test_the_page_stands_alone_and_nothing_in_it_runs(run: Run, url: str, queries: Path) -> None:
    assert run("reembed", "--model", "new", "--compare", queries).code == 0
    page = Page(Path("comparison.html"))

    assert not page.all("script")
    assert all(str(image["src"]).startswith("data:image/jpeg;base64,") for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    assert f"red {HOSTILE}" in [image["alt"] for image in page.all("img")]
    assert not page.all("link")
    assert {name for _, attributes in page.tags for name in attributes}.isdisjoint({"href", "onclick", "onload"})
    assert "default-src 'none'" in str(page.all("meta"))
    assert (len(page.all("section")), len(page.all("ol"))) == (3, 6)
    assert len(page.all("figure")) == 60
    for words in ("generation 1", "generation 2", "recall@10", "blue thing", HOSTILE):
        assert words in page.words


def test_a_page_shows_words_where_a_picture_is_gone(
    run: Run, url: str, queries: Path, settings: Settings, new: FakeEncoder
) -> None:
    run("reembed", "--model", "new", "--no-activate")
    for path in (settings.data_dir / "originals").rglob("*"):
        if path.is_file():
            path.unlink()

    assert run("reembed", "--model", "new", "--compare", queries).code == 0

    page = Page(Path("comparison.html"))
    assert not page.all("img")
    assert "a red thing, 0" in page.words


def test_what_only_one_of_both_found_is_marked(run: Run, tmp_path: Path) -> None:
    (tmp_path / "queries.txt").write_text("red")
    with serve(a_server(["a", "b"], ["b", "c"])) as server:
        ran = run("reembed", "--model", "new", "--compare", "queries.txt", "--url", server.url)

    rows = [re.split(r"[│┃]", line)[2:4] for line in ran.out.splitlines() if line.startswith("│")]
    assert [[cell.split() for cell in row] for row in rows] == [
        [["*", "0.500", "a", "text"], ["0.500", "b", "text"]],
        [["0.500", "b", "text"], ["*", "0.500", "c", "text"]],
    ]
    assert "red  (overlap 0.50)" in ran.out
    page = Page(Path("comparison.html"))
    assert [item.get("class") for item in page.all("li")] == ["only", None, None, "only"]
    assert page.words.count("only here") == 2


def a_server(active: list[str], candidate: list[str], bridge: Any = None) -> Any:
    """A server whose job has ended, and whose generations find these."""
    measures = {"vectors": {"image": 0, "text": 2}, "zero_vectors": 1, "self_retrieval": 1.0}
    measures |= dict.fromkeys(("alignment", "recall_at_10", "modality_gap"))
    counts = dict.fromkeys(("updated", "unchanged", "failed", "deleted", "warnings"), 0)
    report: dict[str, Any] = {"queries": 0, "overlap_at_10": None}
    report["active"] = {"generation": 1, "model": "default", **measures}
    report["candidate"] = {"generation": 2, "model": "new", **measures}
    if bridge:
        both = ("overlap_at_10_with_active", "overlap_at_10_with_candidate")
        report["bridge"] = bridge | dict(zip(both, bridge.pop("overlaps"), strict=True))
    job: dict[str, Any] = {"id": "job", "kind": "reembed", "collection": "default", "state": "succeeded", "error": None}
    job |= {"progress": counts | {"total": 2, "done": 2, "created": 2}, "report": report}

    def search(request: Any, _: Any) -> bytes:
        ids = {1: active, 2: candidate}[json.loads(request.body)["generation"]]
        hits = [{"id": id_, "score": 0.5, "text": "text", "image_url": None} for id_ in ids]
        return answer(json.dumps({"hits": hits}).encode())

    return {"/v1/collections/default/reembed": answer(json.dumps(job).encode(), 202), SEARCH: search}


def test_zero_vectors_are_told_where_there_are_any(run: Run) -> None:
    with serve(a_server([], [])) as server:
        ran = run("reembed", "--model", "new", "--url", server.url)

    assert ["zero", "vectors", "1", "1"] in lines(ran.out)


def test_what_a_bridge_was_worth_is_told(run: Run) -> None:
    with serve(a_server([], [], {"pairs": 1200, "queries": 40, "overlaps": (0.75, 0.5)})) as server:
        ran = run("reembed", "--model", "new", "--bridge", "--url", server.url)
        [asked] = [json.loads(request.body) for request in server.requests if request.target.endswith("/reembed")]

    assert asked["bridge"]
    told = "overlap@10 0.750 with the old model's hits and 0.500 with the new one's, of 40 queries"
    assert ran.out.splitlines()[-1] == f"bridge, fitted on 1,200 pairs: {told}"


def test_a_collection_too_small_for_a_bridge_is_told(run: Run, server_url: str) -> None:
    assert "too few items" in run("reembed", "--model", "new", "--bridge", "--url", server_url).out
    assert "bridge" not in run("reembed", "--model", "default", "--url", server_url).out


def test_a_comparison_for_machines(run: Run, url: str, queries: Path) -> None:
    found = run("reembed", "--model", "new", "--compare", queries, "--json", "--limit", 3).json

    assert found["job"]["report"]["candidate"]["generation"] == 2
    assert [one["query"] for one in found["comparison"]] == ["red", "blue thing", HOSTILE]
    for one in found["comparison"]:
        assert (len(one["active"]), len(one["candidate"])) == (3, 3)
        common = {hit["id"] for hit in one["active"]} & {hit["id"] for hit in one["candidate"]}
        assert one["overlap"] == len(common) / 3


def test_a_job_that_nobody_waits_for(run: Run, url: str) -> None:
    job = run("reembed", "--model", "new", "--detach").json

    assert (job["kind"], job["state"]) == ("reembed", "queued")
    assert run("jobs", "follow", job["id"]).code == 0
    shown = dict(line.split(maxsplit=1) for line in run("jobs", "show", job["id"]).out.splitlines())
    assert (shown["kind"], shown["model"]) == ("reembed", "new")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("reembed", "--model", "none"), "no model 'none'"),
        (("reembed", "--model", "default"), "those of model 'default' already"),
        (("reembed", "--model", "new", "--collection", "none"), "no collection 'none'"),
        (("reembed", "--model", "new", "--compare", "empty.txt"), "empty.txt holds no query"),
        (("reembed", "--model", "new", "--compare", "latin.txt"), "latin.txt is not UTF-8"),
        (("reembed", "--model", "new", "--compare", "good.txt", "--html", "gone/page.html"), "no folder gone"),
        (("generations", "activate", "7"), "no generation 7"),
        (("generations", "drop", "7"), "no generation 7"),
        (("generations", "drop", "1"), "generation 1 is the active one"),
    ],
)
def test_failures_are_one_line_and_begin_no_job(
    run: Run, url: str, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    for name, content in {"empty": b" \n", "latin": b"caf\xe9", "good": b"red"}.items():
        (tmp_path / f"{name}.txt").write_bytes(content)

    ran = run(*arguments)

    assert (ran.code, len(ran.err.strip().splitlines())) == (1, 1), ran.err
    assert reason in ran.err
    assert httpx.get(f"{url}/v1/jobs").json()["jobs"] == []
    assert len(httpx.get(f"{url}{GENERATIONS}").json()["generations"]) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        ("reembed",),
        ("reembed", "--model", "new", "--html", "page.html"),
        ("reembed", "--model", "new", "--compare", "gone.txt"),
        ("reembed", "--model", "new", "--compare", ".", "--html", "page.html"),
        ("reembed", "--model", "new", "--expect-missing", "-1"),
        ("reembed", "--model", "new", "--compare", __file__, "--limit", "0"),
        ("reembed", "--model", "new", "--compare", __file__, "--detach"),
        ("generations", "activate", "0"),
        ("generations", "drop", "first"),
    ],
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).code == 2
