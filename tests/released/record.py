"""Records a data folder of an older version, with what that version answered: `catalogue.db.gz`, the pictures and
`answers.json`.

    git worktree add /tmp/first d63a6a8
    cd /tmp/first && PYTHONPATH=. python $OLDPWD/tests/released/record.py $OLDPWD/tests/released/first

Run once for each version; what it wrote is committed, and never written again.
"""

import base64
import gzip
import io
import json
import shutil
import sqlite3
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from PIL import Image

from app.server import create_app
from app.settings import Settings

DEFAULT, SHELF = "/v1/collections/default", "/v1/collections/shelf"
COLOURS = ("red", "blue", "green", "black", "white", "pink")
TEXTS = ("a red dress", "something blue")


def record(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        data = Path(temporary) / "data"
        with TestClient(create_app(Settings(data_dir=data)), base_url="http://127.0.0.1") as client:
            answers = _fill_and_ask(client)
        (folder / "answers.json").write_text(json.dumps(answers, ensure_ascii=False, indent=1) + "\n")
        _copy(data / "catalogue.db", folder / "catalogue.db.gz")
        shutil.copytree(data / "originals", folder / "originals")


def _fill_and_ask(client: TestClient) -> dict[str, Any]:
    embedded = _send(client, "POST", "/v1/embeddings", {"model": "default", "input": TEXTS})["data"]
    vectors = [[round(value, 6) for value in one["embedding"]] for one in embedded]
    fingerprint = client.get("/readyz").json()["fingerprint"]
    _fill_default(client)
    _fill_shelf(client, vectors, fingerprint)
    queries = {
        DEFAULT: [{"item": "red-square"}, {"text": TEXTS[0]}],
        SHELF: [{"item": "own-1"}, {"text": TEXTS[0]}],
    }
    mixed = [{"vector": 0}, {"vector": 1, "weight": -0.5}]
    searches = [
        _ask(client, collection, query, target, vectors)
        for collection, own in queries.items()
        for query in ([{"vector": 0}], [{"vector": 1}], mixed, *([one] for one in own))
        for target in (None, {"image": 1}, {"text": 1})
    ]
    paths = [f"{DEFAULT}/items/{colour}-square" for colour in COLOURS]
    paths += [f"{DEFAULT}/items/text%20only", f"{DEFAULT}/items/picture-only", f"{SHELF}/items/a%2Fb", DEFAULT, SHELF]
    reads = {path: _send(client, "GET", path) for path in paths}
    return {"fingerprint": fingerprint, "vectors": vectors, "searches": searches, "reads": reads}


def _fill_default(client: TestClient) -> None:
    for number, colour in enumerate(COLOURS):
        metadata = {"color": colour, "price": number * 1.5, "tags": ["square", colour]}
        body = {"image": _picture(colour), "text": f"a {colour} square", "metadata": metadata}
        _send(client, "PUT", f"{DEFAULT}/items/{colour}-square", body)
    _send(client, "PUT", f"{DEFAULT}/items/text only", {"text": "running shoes", "metadata": {"note": "Größe 42 👟"}})
    _send(client, "PUT", f"{DEFAULT}/items/picture-only", {"image": _picture("orange")})
    _send(client, "PUT", f"{DEFAULT}/items/gone", {"text": "deleted again"})
    _send(client, "DELETE", f"{DEFAULT}/items/gone")
    changed = {"image": _picture("navy"), "text": "a navy square", "metadata": {"color": "navy"}}
    _send(client, "PUT", f"{DEFAULT}/items/blue-square", changed)


def _fill_shelf(client: TestClient, vectors: list[list[float]], fingerprint: str) -> None:
    """With vectors of its own, other weights, and without originals."""
    _send(client, "PUT", SHELF, {"modality_weights": {"image": 0.2, "text": 1.0}, "store_originals": False})
    for number, vector in enumerate(vectors, 1):
        body = {"text": f"given {number}", "vectors": {"text": vector}, "fingerprint": fingerprint}
        _send(client, "PUT", f"{SHELF}/items/own-{number}", body)
    yellow = {"image": _picture("yellow"), "text": "a yellow square", "metadata": {"price": 3}}
    _send(client, "PUT", f"{SHELF}/items/a%2Fb", yellow)


def _ask(client: TestClient, collection: str, query: Any, target: Any, vectors: list[list[float]]) -> dict[str, Any]:
    """A search and what it found; a vector of its query is recorded by its number."""
    terms = [term | {"vector": vectors[term["vector"]]} if "vector" in term else term for term in query]
    options = {"limit": 20} | ({"target": target} if target else {})
    path = f"{collection}/search"
    answer = _send(client, "POST", path, {"query": terms, **options})
    hits = [{"id": hit["id"], "score": round(hit["score"], 6), "scores": hit["scores"]} for hit in answer["hits"]]
    return {"path": path, "query": query, "options": options, "total": answer["total"], "hits": hits}


def _send(client: TestClient, method: str, path: str, body: Any = None) -> Any:
    answer = client.request(method, path, json=body).raise_for_status()
    return answer.json() if answer.content else None


def _picture(colour: str) -> str:
    image = Image.new("RGB", (32, 32), "white")
    image.paste(colour, (6, 6, 26, 26))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _copy(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    to.write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    record(Path(sys.argv[1]))
