"""Catalogues from wherever they may lie, through jobs; nothing of them is left when a job has ended."""

import ipaddress
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.app.conftest import ITEMS, client_of
from tests.fakes import FakeEncoder
from tests.indexer.sources.catalogues import FORMATS, csv_bytes, products, write_tar
from tests.object_store import ObjectStore, configure, serve_objects
from tests.pictures import data_uri, picture
from tests.servers import Server, answer, serve

INGEST = "/v1/collections/default/ingest"
COUNT = 5


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "shop").mkdir()
    return Settings(
        data_dir=tmp_path / "data",
        ingest_roots=(str(tmp_path / "shop"), "s3://shop/public"),
        url_ranges=(ipaddress.IPv4Network("127.0.0.0/8"),),
    )


@pytest.fixture
def object_store(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    with serve_objects() as store:
        configure(monkeypatch, store.url)
        store.reset()
        yield store


@pytest.fixture
def server() -> Iterator[Server]:
    pictures = {f"/images/{product.id}.png": answer(product.image) for product in products(COUNT)}
    with serve({"/catalog.csv": answer(csv_bytes(products(COUNT))), **pictures}) as running:
        yield running


def ended(client: TestClient, job: dict[str, object]) -> dict[str, object]:
    """The job when it has ended, as its last event tells."""
    events = client.get(f"/v1/jobs/{job['id']}/events").text
    return json.loads(events.rpartition("data: ")[2].partition("\n")[0])  # type: ignore[no-any-return]


def take_in(settings: Settings, source: str | bytes, state: str = "succeeded") -> list[dict[str, object]]:
    """Run a job on a fresh server to its end; give the items, without when they came."""
    with client_of(settings, FakeEncoder()) as client:
        if isinstance(source, str):
            submitted = client.post(INGEST, json={"source": source})
        else:
            submitted = client.post(INGEST, files={"file": ("my shop.csv", source)})
        job = ended(client, submitted.json())
        assert job["state"] == state, job
        items = client.get(ITEMS).json()["items"]
    assert not list((settings.data_dir / "spool").rglob("*"))
    return [{name: value for name, value in item.items() if not name.endswith("_at")} for item in items]


def test_the_same_catalogue_is_the_same_collection_wherever_it_lies(
    settings: Settings, tmp_path: Path, server: Server, object_store: ObjectStore
) -> None:
    made = products(COUNT)
    FORMATS["csv"](tmp_path / "shop", made)
    for path in (tmp_path / "shop").rglob("*.*"):
        object_store.put(f"public/{path.relative_to(tmp_path / 'shop').as_posix()}", path.read_bytes())
    for n in range(2):
        write_tar(tmp_path / "s.tar", made[3 * n : 3 * n + 3])
        object_store.put(f"public/shards/s-{n}.tar", (tmp_path / "s.tar").read_bytes())
    with_pictures = csv_bytes(made).decode()
    for product in made:
        with_pictures = with_pictures.replace(f"images/{product.id}.png", f'"{data_uri(product.image)}"')
    sources = [
        str(tmp_path / "shop" / "catalog.csv"),
        str(tmp_path / "shop"),
        with_pictures.encode(),
        f"{server.url}/catalog.csv",
        "s3://shop/public/catalog.csv",
        "s3://shop/public/",
        "s3://shop/public/shards/",
        "s3://shop/public/shards/s-{0..1}.tar",
    ]
    found = [
        take_in(settings.model_copy(update={"data_dir": tmp_path / f"data-{number}"}), source)
        for number, source in enumerate(sources)
    ]
    assert [item["id"] for item in found[0]] == [product.id for product in made]
    assert all(item["modalities"] == ["image", "text"] for item in found[0])
    for source, items in zip(sources, found, strict=True):
        assert items == found[0], source


@pytest.mark.parametrize("source", ["upload", "url"])
def test_a_job_that_fails_leaves_nothing_either(settings: Settings, server: Server, source: str) -> None:
    server.answers["/bad.csv"] = answer(b"\x00" * 100)
    take_in(settings, f"{server.url}/bad.csv" if source == "url" else b"\x00" * 100, "failed")


def test_what_a_killed_server_left_goes_at_the_next_start(settings: Settings) -> None:
    for name in ("ended", "half"):
        (settings.data_dir / "spool" / name).mkdir(parents=True)
        (settings.data_dir / "spool" / name / ".partial").write_bytes(b"x" * 1000)
    with client_of(settings, FakeEncoder()):
        assert not list((settings.data_dir / "spool").rglob("*"))


@pytest.mark.parametrize(
    ("source", "status", "type_"),
    [
        ("/etc/passwd", 422, "source-forbidden"),
        ("s3://other/catalog.csv", 422, "source-forbidden"),
        ("upload:0/catalog.csv", 422, "source-invalid"),
        ("catalog.csv", 422, "source-invalid"),
    ],
)
def test_what_no_job_could_read_is_refused_at_once(settings: Settings, source: str, status: int, type_: str) -> None:
    with client_of(settings, FakeEncoder()) as client:
        problem = client.post(INGEST, json={"source": source}).json()
        assert (problem["status"], problem["type"]) == (status, type_)
        assert [error["pointer"] for error in problem["errors"]] == ["/source"]
        assert client.get("/v1/jobs").json()["jobs"] == []


def test_what_goes_wrong_with_an_upload_names_no_path_of_the_server(settings: Settings) -> None:
    with client_of(settings, FakeEncoder()) as client:
        for content in (b"\x00" * 100, b"", b"%PDF-1.7", picture("red")):
            job = ended(client, client.post(INGEST, files={"file": ("my shop.csv", content)}).json())
            assert job["state"] == "failed"
            assert "my_shop.csv" in str(job["error"])
            assert str(settings.data_dir) not in str(job["error"])
