"""Embeddings got by OpenAI's client rank as search does: one model, two ways to it."""

import base64
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from openai import OpenAI

from app.sample import draw_sample
from indexer.sources import Row, read_source
from tests.e2e.conftest import Server
from tests.pictures import data_uri


def test_the_cosine_of_a_title_and_a_picture_ranks_as_search_does(start: Callable[[], Server], tmp_path: Path) -> None:
    rows = [row for row in read_source(draw_sample(tmp_path / "sample", items=25)) if isinstance(row, Row)]
    pictures = {row.id: data_uri(Path(str(row.image)).read_bytes(), "image/jpeg") for row in rows}
    server = start()
    body = {"items": [{"id": id_, "image": image} for id_, image in pictures.items()]}
    httpx.post(f"{server.url}/v1/collections/default/items", json=body, timeout=60).raise_for_status()

    with OpenAI(base_url=f"{server.url}/v1", api_key="unused", max_retries=0) as client:
        images = client.embeddings.create(model="default", input=[{"image": image} for image in pictures.values()])  # type: ignore[misc]
        for title in (rows[4].text, rows[9].text, "sunglasses"):
            assert title
            [text] = client.embeddings.create(model="default", input=title).data
            cosines = np.array([part.embedding for part in images.data]) @ np.array(text.embedding)
            search = {"query": title, "target": {"image": 1.0}, "limit": len(rows)}
            hits = httpx.post(f"{server.url}/v1/collections/default/search", json=search, timeout=60).json()["hits"]
            found = dict(zip(pictures, cosines.tolist(), strict=True))
            assert [hit["score"] for hit in hits] == pytest.approx([found[hit["id"]] for hit in hits], abs=2e-3)
            assert hits[0]["id"] == max(found, key=found.__getitem__)
            assert [found[hit["id"]] for hit in hits] == pytest.approx(sorted(found.values(), reverse=True), abs=2e-3)


def test_embeddings_in_base64_are_the_same_numbers(start: Callable[[], Server]) -> None:
    server = start()
    ask = {"model": "default", "input": "red dress"}
    numbers = httpx.post(f"{server.url}/v1/embeddings", json=ask, timeout=60).json()["data"][0]["embedding"]
    coded = httpx.post(f"{server.url}/v1/embeddings", json=ask | {"encoding_format": "base64"}, timeout=60).json()

    raw = base64.b64decode(coded["data"][0]["embedding"])
    assert np.frombuffer(raw, dtype="<f4").tolist() == pytest.approx(numbers, abs=1e-7)
    assert np.linalg.norm(numbers) == pytest.approx(1, abs=1e-4)
