"""The same catalogue in every format gives the same collection: item for item, vector for vector."""

import csv
import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.parquet as pq

from app.sample.catalogue import draw_sample
from indexer.collection import Collection
from indexer.collections import Collections
from models.store import ModelStore
from tests.e2e.conftest import Server, spawn
from tests.fakes import FakeEncoder
from tests.waiting import WAIT_S

ITEMS = 40
UPLOADED = ("catalog.parquet", "catalog.tar", "shop.zip")
ON_SERVER = ("catalog.csv", "catalog.jsonl", "catalog.jsonl.gz", "catalog.jsonl.zst", *UPLOADED)


def write_formats(folder: Path) -> list[dict[str, Any]]:
    """Draw the sample catalogue and write it in all formats; gives its rows."""
    rows: list[dict[str, Any]] = []
    with draw_sample(folder, items=ITEMS).open(encoding="utf-8", newline="") as file:
        rows += ({**row, "price": float(row["price"])} for row in csv.DictReader(file))
    lines = "".join(f"{json.dumps(row)}\n" for row in rows).encode()
    (folder / "catalog.jsonl").write_bytes(lines)
    (folder / "catalog.jsonl.gz").write_bytes(gzip.compress(lines))
    (folder / "catalog.jsonl.zst").write_bytes(pa.Codec("zstd").compress(lines, asbytes=True))
    pictures = [{"bytes": (folder / row["image"]).read_bytes(), "path": row["image"]} for row in rows]
    table = [{**row, "image": picture} for row, picture in zip(rows, pictures, strict=True)]
    pq.write_table(pa.Table.from_pylist(table), folder / "catalog.parquet", row_group_size=16)
    with tarfile.open(folder / "catalog.tar", "w") as tar:
        for row in rows:
            add_sample(tar, folder, row)
    with zipfile.ZipFile(folder / "shop.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "catalog.csv", "shop/catalog.csv")
        for row in rows:
            archive.write(folder / row["image"], f"shop/{row['image']}")
    return rows


def add_sample(tar: tarfile.TarFile, folder: Path, row: dict[str, Any]) -> None:
    """A row as WebDataset has it: a picture, its text, and the rest."""
    rest = {name: value for name, value in row.items() if name not in ("title", "image")}
    parts = {
        "jpg": (folder / row["image"]).read_bytes(),
        "txt": row["title"].encode(),
        "json": json.dumps(rest).encode(),
    }
    for suffix, data in parts.items():
        member = tarfile.TarInfo(f"{row['id']}.{suffix}")
        member.size = len(data)
        tar.addfile(member, io.BytesIO(data))


def metadata(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("brand", "price", "category", "colour", "pattern")}


def take_in(client: httpx.Client, path: Path) -> dict[str, Any]:
    """Take a file into a collection of its name; the progress of the job at its end."""
    collection = f"/v1/collections/{path.name}"
    client.put(collection, json={}).raise_for_status()
    if path.name in UPLOADED:
        with path.open("rb") as file:
            answer = client.post(f"{collection}/ingest", files={"file": (path.name, file)})
    else:
        answer = client.post(f"{collection}/ingest", json={"source": str(path)})
    with client.stream("GET", f"/v1/jobs/{answer.raise_for_status().json()['id']}/events") as events:
        *_, last = (json.loads(line[6:]) for line in events.iter_lines() if line.startswith("data: "))
    assert (last["state"], last["error"]) == ("succeeded", None)
    return dict(last["progress"])


def contents(collection: Collection) -> list[tuple[Any, ...]]:
    """All that a collection holds, in the order of its coming; last the vectors of its pictures and its texts."""
    return [
        (item.id, item.text, item.metadata, (collection.original(item), item.image_type), *vectors(collection, item.id))
        for item in collection.items(1000)[0]
    ]


def vectors(collection: Collection, id_: str) -> tuple[bytes, bytes]:
    made = collection.vectors(id_)
    return made["image"].tobytes(), made["text"].tobytes()


def test_every_format_gives_the_same_collection(start: Callable[[], Server], tmp_path: Path) -> None:
    rows = write_formats(tmp_path / "shop")
    (tmp_path / "sightline.toml").write_text(f"ingest_roots = [{json.dumps(str(tmp_path / 'shop'))}]\n")
    server = start()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        for name in ON_SERVER:
            progress = take_in(client, tmp_path / "shop" / name)
            assert (progress["created"], progress["warnings"], progress["total"]) == (ITEMS, 0, ITEMS)
    sent = spawn(tmp_path / "sent.log", "ingest", tmp_path / "shop", "--collection", "sent", "--url", server.url)
    assert sent.wait(WAIT_S) == 0, (tmp_path / "sent.log").read_text()
    server.process.terminate()
    server.process.wait(WAIT_S)

    model = ModelStore(tmp_path).manifest("default")
    encoder = FakeEncoder(model.dimension, model.fingerprint)
    with Collections(tmp_path / "data", lambda _: encoder) as collections:
        first = contents(collections.get("catalog.csv"))
        assert [item[:3] for item in first] == [(row["id"], row["title"], metadata(row)) for row in rows]
        assert [item[3][0] for item in first] == [(tmp_path / "shop" / row["image"]).read_bytes() for row in rows]
        for name in ON_SERVER:
            assert contents(collections.get(name)) == first, name
            assert collections.get(name).verify() == []
        assert contents(collections.get("sent")) == first
