"""Every call of the client, held against the OpenAPI document."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

from app.server import create_app
from app.settings import Settings
from sightline_client import NewItem, Search, Term, calls, results
from sightline_client.call import Call
from sightline_client.results import RowReport

JPEG = b"\xff\xd8\xff"
ITEM = NewItem("a/b", image=JPEG, text="red", metadata={"n": 1}, vectors={"text": [0.5]}, fingerprint="f")
TERMS = ["red", Term("blue", weight=-0.5), Term(image=JPEG), Term(item="a"), Term(vector=[1.0, 0.0])]
OPTIONS: Any = {
    "limit": 3,
    "offset": 1,
    "filter": {"price": {"$lt": 5}},
    "min_score": 0.1,
    "mode": "hybrid",
    "fusion": "rrf",
    "target": {"image": 1.0, "lexical": 0.5},
    "include": ["text", "vector"],
    "facets": ["brand"],
    "group_by": "brand",
    "group_size": 2,
    "collapse_duplicates": 0.95,
    "diversity": 0.5,
    "generation": 1,
}
MAPPING: Any = {"id": "sku", "metadata": ["brand"]}

CALLS: dict[str, Call[Any]] = {
    "activate_generation": calls.activate_generation(2, expect_missing=1),
    "cancel_job": calls.cancel_job("j"),
    "classify": calls.classify(["dress"], image=JPEG, template="a {}", collection="shop"),
    "collection": calls.collection("shop"),
    "collections": calls.collections(),
    "delete_collection": calls.delete_collection("shop"),
    "delete_item": calls.delete_item(".."),
    "delete_rule": calls.delete_rule("weapons"),
    "delete_items": calls.delete_items(filter={"season": "2019"}),
    "drop_generation": calls.drop_generation(1),
    "embed": calls.embed(["red", Term(image=JPEG)], model="default"),
    "explain": calls.explain("a", TERMS),
    "flag_page": calls.flag_page("default", "weapons", "next"),
    "generations": calls.generations(),
    "image": calls.image("a", width=64),
    "ingest_file": calls.ingest_file(Path("shop.csv"), mapping=MAPPING, mode="sync", expect_deletes=3),
    "ingest_source": calls.ingest_source("s3://bucket/shop.csv", mapping=MAPPING, on_error="fail"),
    "item": calls.item("a"),
    "item_page": calls.item_page("default", {"price": 5}, "next"),
    "job": calls.job("j"),
    "job_errors": calls.job_errors("j"),
    "job_events": calls.job_events("j"),
    "job_page": calls.job_page("next", "failed", "default"),
    "model": calls.model("default"),
    "models": calls.models(),
    "put_collection": calls.put_collection(
        "shop", model="default", modality_weights={"image": 1.0}, store_originals=False, index="hnsw"
    ),
    "put_item": calls.put_item(ITEM),
    "put_items": calls.put_items([ITEM], duplicates=True),
    "put_rule": calls.put_rule(
        "weapons", TERMS, threshold={"image": 0.27}, action="reject", webhook="https://shop.example/hook"
    ),
    "ready": calls.ready(),
    "rule": calls.rule("weapons"),
    "rules": calls.rules(collection="shop"),
    "reembed": calls.reembed("new", activate=False, bridge=True, expect_missing=2),
    "search": calls.search(TERMS, **OPTIONS),
    "search_batch": calls.search_batch([Search(query="red"), Search(query=TERMS, **OPTIONS)]),
    "select": calls.select(5, method="representative", filter={"price": 5}),
    "set_canary": calls.set_canary(2, 0.1, expect_missing=1),
}
"""Each with all that it can say."""

NOT_CALLED = {
    "GET /healthz",
    "GET /metrics",
    "POST /v1/mapping",
    "GET /v1/collections/{name}/search",
    "POST /v1/collections/{name}/search/upload",
    "GET /v1/collections/{name}/quality",
}

LEFT_OUT = {
    *("Embedding.object", "Embeddings.object", "Model.object", "Model.created", "Model.owned_by"),  # OpenAI's
    *("Index.segments", "Index.setting"),
}


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return create_app(Settings(data_dir=tmp_path_factory.mktemp("data"))).openapi()


@pytest.fixture(params=CALLS)
def call(request: pytest.FixtureRequest) -> Call[Any]:
    return CALLS[request.param]


def operation_of(call: Call[Any], document: Any) -> tuple[str, Any]:
    for template, operations in document["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), call.path) and call.method.lower() in operations:
            return f"{call.method} {template}", operations[call.method.lower()]
    raise AssertionError(f"the document has no {call.method} {call.path}")


def check(value: Any, schema: Any, document: Any) -> None:
    Draft202012Validator({**schema, "components": document["components"]}).validate(value)


def test_all_calls_are_held_against_the_document(document: Any) -> None:
    assert set(CALLS) == set(calls.__all__)
    documented = {f"{method.upper()} {path}" for path, methods in document["paths"].items() for method in methods}
    assert {operation_of(call, document)[0] for call in CALLS.values()} == documented - NOT_CALLED


def test_what_a_call_sends_fits_the_document(call: Call[Any], document: Any) -> None:
    _, operation = operation_of(call, document)
    declared = {(part["in"], part["name"].lower()): part["schema"] for part in operation.get("parameters", ())}

    for name, value in call.query.items():
        schema = declared["query", name]
        check(value if "string" in str(schema) else json.loads(value), schema, document)
    assert {("header", name.lower()) for name in call.headers} <= set(declared)
    bodies = operation.get("requestBody", {"content": {}})["content"]
    if call.body is not None:
        check(json.loads(call.body), bodies["application/json"]["schema"], document)
    if call.upload:
        form = bodies["multipart/form-data"]
        for name, value in call.upload.fields.items():
            is_json = name in form["encoding"] or "integer" in str(form["schema"]["properties"][name])
            check(json.loads(value) if is_json else value, form["schema"]["properties"][name], document)


def test_what_a_call_reads_is_what_the_document_promises(call: Call[Any], document: Any) -> None:
    _, operation = operation_of(call, document)
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    promised = [
        answer["content"]["application/json"]["schema"] for answer in answers if call.answer not in (None, bytes)
    ]
    if call.answer is None:
        assert not any("content" in answer for answer in answers)
    elif call.answer is not bytes:
        read = TypeAdapter(call.answer).json_schema()
        assert list(mismatches(read, {"anyOf": promised}, (read, document))) == []


def test_the_client_leaves_out_only_what_is_named_here(document: Any) -> None:
    schemas = document["components"]["schemas"]
    read = {name: getattr(results, name) for name in results.__all__ if name in schemas}
    promised = {f"{name}.{field}" for name in read for field in schemas[name]["properties"]}
    left_out = promised - {f"{name}.{field}" for name, kind in read.items() for field in kind.model_fields}
    assert left_out == LEFT_OUT


def test_rows_of_reports_are_what_the_document_promises(document: Any) -> None:
    read = RowReport.model_json_schema()
    promised = document["components"]["schemas"]["RowReport"]
    assert list(mismatches(read, promised, (read, document))) == []


def test_a_difference_would_be_found(document: Any) -> None:
    promised = {"type": "object", "properties": {"a": {"type": "string"}}, "required": []}
    for read, fault in (
        ({"type": "object", "properties": {"b": {"type": "string"}}}, "b is not promised"),
        ({"type": "object", "properties": {"a": {"type": "integer"}}}, "a: string"),
        ({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}, "a is not always there"),
    ):
        assert any(fault in found for found in mismatches(read, promised, (read, document)))


def mismatches(read: Any, promised: Any, roots: tuple[Any, Any], where: str = "") -> Iterator[str]:
    """Why something that is promised could not be read; the client may leave out fields, and no more."""
    read, promised = resolve(read, roots[0]), resolve(promised, roots[1])
    if "anyOf" in promised:
        for option in promised["anyOf"]:
            yield from mismatches(read, option, roots, where)
    elif "anyOf" in read:
        found = [list(mismatches(option, promised, roots, where)) for option in read["anyOf"]]
        yield from min(found, key=len)
    elif read.get("type") != promised.get("type"):
        yield f"{where}: {promised.get('type')} is read as {read.get('type')}"
    elif "properties" in read:
        yield from property_mismatches(read, promised, roots, where)
    else:
        if "enum" in read and not set(promised.get("enum", [promised.get("const")])) <= set(read["enum"]):
            yield f"{where}: {promised} is not among {read['enum']}"
        for part in ("items", "additionalProperties", "propertyNames"):
            if isinstance(read.get(part), dict):
                yield from mismatches(read[part], promised.get(part, {}), roots, f"{where}/{part}")


def property_mismatches(read: Any, promised: Any, roots: tuple[Any, Any], where: str) -> Iterator[str]:
    for name, schema in read["properties"].items():
        if name not in promised.get("properties", {}):
            yield f"{where}/{name} is not promised"
        else:
            yield from mismatches(schema, promised["properties"][name], roots, f"{where}/{name}")
    for name in set(read.get("required", ())) - set(promised.get("required", ())):
        yield f"{where}/{name} is not always there"


def resolve(schema: Any, root: Any) -> Any:
    while "$ref" in schema:
        target = root
        for part in schema["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        schema = target
    return schema
