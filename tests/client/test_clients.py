"""What both clients do with a real server."""

import asyncio
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sightline_client import (
    AnswerInvalid,
    AsyncClient,
    Client,
    ConnectionFailed,
    FailedSearch,
    NewItem,
    NotFound,
    PutItem,
    RefusedItem,
    RequestRefused,
    Retry,
    Search,
    SearchResults,
    Term,
)
from tests.client.conftest import Connect
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture
from tests.servers import answer, serve


def ids(results: SearchResults) -> Sequence[str]:
    return [hit.id for hit in results.hits]


def fill(sightline: Any) -> None:
    for colour in ("red", "green", "blue"):
        sightline.put_item(
            NewItem(colour, image=picture(colour), text=f"a {colour} thing", metadata={"n": len(colour)})
        )


def test_an_item_is_stored_found_read_and_deleted(sightline: Any) -> None:
    stored = sightline.put_item(NewItem("a/1", image=picture("red"), text="red", metadata={"brand": "Puma"}))
    assert (stored.id, stored.status, stored.modalities) == ("a/1", "created", ["image", "text"])

    [hit] = sightline.search("red").hits
    assert (hit.id, hit.text, hit.metadata, hit.vectors) == ("a/1", "red", {"brand": "Puma"}, None)
    assert sightline.item("a/1").metadata == {"brand": "Puma"}
    assert sightline.image("a/1") == picture("red")
    assert sightline.image("a/1", width=16).startswith(b"\xff\xd8")

    assert sightline.delete_item("a/1") is None
    with pytest.raises(NotFound) as missing:
        sightline.item("a/1")
    assert missing.value.problem.type == "item-not-found"
    assert missing.value.request_id


def test_pictures_are_bytes_files_and_uris(sightline: Any, tmp_path: Path) -> None:
    file = tmp_path / "red.png"
    file.write_bytes(picture("red"))
    uri = data_uri(picture("blue"))

    assert sightline.put_item(NewItem("file", image=file)).status == "created"
    assert sightline.put_item(NewItem("file", image=picture("red"))).status == "unchanged"
    assert sightline.put_item(NewItem("uri", image=uri)).status == "created"


def test_a_picture_that_cannot_be_had_is_named_before_anything_is_sent(sightline: Any, tmp_path: Path) -> None:
    missing = tmp_path / "missing.png"

    with pytest.raises(ValueError, match=r"'.*missing.png' is no .* URL.*; a file is given as a pathlib.Path"):
        sightline.search(Term(image=str(missing)))
    with pytest.raises(FileNotFoundError) as raised:
        sightline.put_item(NewItem("a", image=missing))

    assert raised.value.filename == str(missing)


@pytest.mark.parametrize("item_id", [".", "..", "a/../b", "a b?c#d", "%2F", "\u2028é"])
def test_an_id_may_hold_anything(sightline: Any, item_id: str) -> None:
    sightline.put_item(NewItem(item_id, text="red"))
    assert sightline.item(item_id).id == item_id
    assert [item.id for item in sightline.items()] == [item_id]


def test_queries_are_texts_terms_and_lists(sightline: Any, encoder: FakeEncoder) -> None:
    fill(sightline)
    blue = encoder.encode_texts(["blue"]).vectors[0]

    assert ids(sightline.search("red", limit=1)) == ["red"]
    assert ids(sightline.search(Term(image=picture("green")), limit=1)) == ["green"]
    assert ids(sightline.search(Term(vector=blue), limit=1)) == ["blue"]
    assert ids(sightline.search(["red", Term("blue"), Term(item="red", weight=-2.0)], limit=1)) == ["blue"]
    assert ids(sightline.search("red", filter={"n": 4})) == ["blue"]


def test_vectors_of_hits_are_arrays(sightline: Any, encoder: FakeEncoder) -> None:
    fill(sightline)
    [hit] = sightline.search("red", limit=1, include=["vector", "explain"]).hits

    assert hit.vectors["text"].dtype == np.float32
    assert np.allclose(hit.vectors["text"], encoder.encode_texts(["a red thing"]).vectors[0], atol=1e-3)
    assert hit.text is None
    assert set(hit.explain.signals) == {"image", "text"}


def test_a_batch_of_searches_answers_each(sightline: Any) -> None:
    fill(sightline)
    found, failed = sightline.search_batch([Search(query="red", limit=1), Search(query=Term(item="missing"))])

    assert ids(found) == ["red"]
    assert isinstance(failed, FailedSearch)
    assert failed.problem.type == "item-not-found"


def test_a_batch_of_items_answers_each(sightline: Any) -> None:
    stored, refused = sightline.put_items(
        [NewItem("a", image=picture("red")), NewItem("b", image=b"no picture")], duplicates=True
    )
    assert isinstance(stored, PutItem)
    assert isinstance(refused, RefusedItem)
    assert refused.error.type == "image-undecodable"


def test_ready_vectors_and_metadata_of_other_types_are_taken(sightline: Any, encoder: FakeEncoder) -> None:
    vector = encoder.encode_texts(["red"]).vectors[0]
    metadata = {"price": np.float64(4.5), "stock": np.int64(3), "since": date(2026, 7, 1)}
    sightline.put_item(NewItem("a", vectors={"text": vector}, fingerprint="f" * 64, metadata=metadata))

    assert sightline.item("a").metadata == {"price": 4.5, "stock": 3, "since": "2026-07-01"}
    with pytest.raises(RequestRefused) as refused:
        sightline.put_item(NewItem("b", vectors={"text": vector}, fingerprint="other"))
    assert refused.value.problem.type == "fingerprint-mismatch"


def test_embeddings_are_one_array(sightline: Any, encoder: FakeEncoder) -> None:
    embedded = sightline.embed(["red", Term(image=picture("blue"))])

    assert embedded.vectors.shape == (2, 16)
    assert embedded.vectors.dtype == np.float32
    assert np.allclose(embedded.vectors[0], encoder.encode_texts(["red"]).vectors[0])
    assert (embedded.model, embedded.usage.prompt_tokens) == ("default", 1)


def test_a_picture_is_classified_and_explained(sightline: Any) -> None:
    fill(sightline)
    by_item = sightline.classify(["red", "blue"], item="blue")
    by_picture = sightline.classify(["red", "blue"], image=picture("red"), template="{}")

    assert [answer.labels[0].label for answer in (by_item, by_picture)] == ["blue", "red"]
    assert sightline.explain("red", "red").rows > 0


def test_lists_go_on_over_their_pages(sightline: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sightline_client.calls.items.PAGE_ITEMS", 2)
    sightline.put_items([NewItem(str(number), text="red", metadata={"n": number}) for number in range(5)])

    assert [item.id for item in sightline.items()] == ["0", "1", "2", "3", "4"]
    assert [item.id for item in sightline.items(filter={"n": {"$gt": 2}})] == ["3", "4"]
    assert sightline.delete_items(filter={"n": {"$gt": 2}}) == 2
    assert sightline.delete_items(["0", "missing"]) == 1
    assert [item.id for item in sightline.select(1)]


def test_collections_and_their_generations(sightline: Any) -> None:
    made = sightline.put_collection("shop", modality_weights={"image": 1.0})
    assert (made.name, made.model, made.items) == ("shop", "default", 0)
    assert [one.name for one in sightline.collections()] == ["default", "shop"]

    sightline.put_item(NewItem("a", text="red"), collection="shop")
    job = sightline.wait(sightline.reembed("new", collection="shop", activate=False).id)
    assert job.progress.done == 1
    assert [one.number for one in sightline.generations(collection="shop")] == [1, 2]
    assert sightline.set_canary(2, 0.5, collection="shop").canary == 0.5
    assert sightline.activate_generation(2, collection="shop").state == "active"
    sightline.drop_generation(1, collection="shop")
    assert sightline.collection("shop").model == "new"
    assert sightline.search("red", collection="shop").model == "new"

    sightline.delete_collection("shop")
    with pytest.raises(NotFound):
        sightline.collection("shop")


def test_watch_rules_and_their_flags(sightline: Any) -> None:
    rule = sightline.put_rule("reds", "red", threshold={"text": 0.9})
    assert (rule.threshold, rule.action, rule.secret) == ({"text": 0.9}, "flag", None)
    assert sightline.rule("reds") == rule
    assert [one.name for one in sightline.rules()] == ["reds"]

    [flag] = sightline.put_item(NewItem("a", text="red")).flags
    assert flag.rule == "reds"
    assert [(one.item, one.rule) for one in sightline.flags(rule="reds")] == [("a", "reds")]
    sightline.delete_rule("reds")
    assert list(sightline.flags()) == []


def test_the_server_and_its_models(sightline: Any) -> None:
    assert sightline.ready().model == "default"
    models = sightline.models()
    assert [model.id for model in models] == ["default"]
    assert sightline.model("default") == models[0]


def test_a_problem_names_the_field(sightline: Any) -> None:
    with pytest.raises(RequestRefused) as refused:
        sightline.search("red", filter={"$what": 1})
    assert refused.value.status == 422
    assert refused.value.problem.errors[0].pointer.startswith("/filter")


def test_what_is_no_sightline_server_is_told(connect: Connect) -> None:
    with serve({"/readyz": answer(b"{}"), "/v1/models": answer(b"<html>Bad", status=403)}) as other:
        with pytest.raises(AnswerInvalid):
            connect(other.url).ready()
        with pytest.raises(RequestRefused, match="Status 403: <html>Bad"):
            connect(other.url).models()


def test_the_key_and_the_address_come_from_the_environment(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({"/readyz": answer(status=401)}) as server:
        monkeypatch.setenv("SIGHTLINE_URL", server.url)
        monkeypatch.setenv("SIGHTLINE_API_KEY", "from-environment")
        for options, key in (({}, "from-environment"), ({"api_key": "given"}, "given")):
            with pytest.raises(RequestRefused):
                connect(None, **options).ready()
            assert server.requests[-1].headers["authorization"] == f"Bearer {key}"


def test_no_redirect_takes_the_key_elsewhere(connect: Connect) -> None:
    with serve({}) as thief, serve({"/readyz": answer(status=307, location=f"{thief.url}/readyz")}) as server:
        with pytest.raises(RequestRefused):
            connect(server.url, api_key="secret").ready()
        assert thief.requests == []


def test_a_path_before_the_api_is_kept(connect: Connect) -> None:
    with serve({"/shop/readyz": answer(status=401)}) as server, pytest.raises(RequestRefused, match="401"):
        connect(f"{server.url}/shop/").ready()


def test_closed_clients_have_let_go() -> None:
    with Client("http://127.0.0.1:9") as client:
        pass
    with pytest.raises(RuntimeError, match="closed"):
        client.ready()

    async def use() -> AsyncClient:
        async with AsyncClient("http://127.0.0.1:9", retry=Retry(attempts=1)) as sightline:
            with pytest.raises(ConnectionFailed):
                await sightline.ready()
        return sightline

    with pytest.raises(RuntimeError, match="closed"):
        asyncio.run(asyncio.run(use()).ready())
