"""Requests that must be refused, and with which problem."""

import json
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any

import httpx
from fastapi.testclient import TestClient

from tests.app.conftest import FLAGS, GENERATIONS, ITEMS, QUALITY, REEMBED, RULES, SEARCH, SEARCH_BATCH, SELECT
from tests.pictures import data_uri, picture

JSON_TYPE = {"content-type": "application/json"}
PUT = f"{ITEMS}/new"


@dataclass
class Bad:
    """A request, and the problem it must meet."""

    name: str
    method: str
    path: str
    status: int
    type: str
    pointer: str | None = None
    body: Any = None
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    files: dict[str, Any] | None = None
    data: dict[str, str] | None = None

    def is_refused(self, client: TestClient) -> httpx.Response:
        """Send it; the answer, which is the problem that it must meet."""
        content = self.content if self.body is None else json.dumps(self.body).encode()
        headers = self.headers if self.body is None else JSON_TYPE
        answer = client.request(
            self.method, self.path, content=content, headers=headers, files=self.files, data=self.data
        )
        problem = answer.json()
        assert (answer.status_code, problem["type"]) == (self.status, self.type), answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert (problem["status"], bool(problem["title"]), bool(problem["detail"])) == (self.status, True, True)
        if self.pointer is not None and self.type != "bad-request":
            assert self.pointer in [error["pointer"] for error in problem["errors"]]
        return answer


def bomb() -> bytes:
    """A PNG that declares 30,000 x 30,000 pixels in a few bytes."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def nested(depth: int) -> bytes:
    return b'{"text": "red", "metadata": {"a": ' + b"[" * depth + b"]" * depth + b"}}"


def search(name: str, query: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"query: {name}", "POST", SEARCH, status, type_, pointer, body={"query": query})


def put(name: str, body: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"item: {name}", "PUT", PUT, status, type_, pointer, body=body)


def raw(name: str, content: bytes, status: int = 400, type_: str = "invalid-json") -> Bad:
    return Bad(f"body: {name}", "PUT", PUT, status, type_, content=content, headers=JSON_TYPE)


def embeddings(name: str, body: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"embeddings: {name}", "POST", "/v1/embeddings", status, type_, pointer, body=body)


def classify(name: str, body: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"classify: {name}", "POST", "/v1/classify", status, type_, pointer, body=body)


def batch(name: str, body: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"batch: {name}", "POST", ITEMS, status, type_, pointer, body=body)


def delete(name: str, body: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"delete: {name}", "POST", f"{ITEMS}/delete", status, type_, pointer, body=body)


def rule(name: str, changes: Any, pointer: str | None, type_: str = "invalid-request", status: int = 422) -> Bad:
    body = {"query": "red", "threshold": 0.5, "action": "flag"} | changes
    return Bad(f"rule: {name}", "PUT", f"{RULES}/new", status, type_, pointer, body=body)


def explain(name: str, query: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    path = f"{ITEMS}/before/explain"
    return Bad(f"explain: {name}", "POST", path, status, type_, pointer, body={"query": query})


def select(name: str, body: Any, pointer: str) -> Bad:
    return Bad(f"select: {name}", "POST", SELECT, 422, "invalid-request", pointer, body=body)


def searches(name: str, body: Any, pointer: str, type_: str = "invalid-request") -> Bad:
    return Bad(f"search batch: {name}", "POST", SEARCH_BATCH, 422, type_, pointer, body=body)


def reembed(name: str, body: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"reembed: {name}", "POST", REEMBED, status, type_, pointer, body=body)


def generation(name: str, change: str, body: Any, pointer: str) -> Bad:
    path = f"{GENERATIONS}/1/{change}"
    return Bad(f"generation: {name}", "POST", path, 422, "invalid-request", pointer, body=body)


NESTED_NOT: dict[str, Any] = {"a": 1}
for _ in range(300):
    NESTED_NOT = {"$not": NESTED_NOT}

CASES = [
    select("none", {"k": 0}, "/k"),
    select("too many", {"k": 1001}, "/k"),
    select("no number", {}, "/k"),
    select("unknown method", {"k": 1, "method": "random"}, "/method"),
    select("unknown field", {"k": 1, "n": 1}, "/n"),
    select("a filter that is a list", {"k": 1, "filter": []}, "/filter"),
    Bad(
        "select: an unknown operator",
        "POST",
        SELECT,
        422,
        "filter-invalid",
        "/filter/a/$x",
        body={"k": 1, "filter": {"a": {"$x": 1}}},
    ),
    Bad("select: unknown collection", "POST", "/v1/collections/no/select", 404, "collection-not-found", body={"k": 1}),
    reembed("nothing", {}, "/model"),
    reembed("unknown model", {"model": "none"}, "/model", "model-not-found", 404),
    reembed("a path", {"model": "../../etc"}, "/model", "model-not-found", 404),
    reembed("empty model", {"model": ""}, "/model"),
    reembed("endless model", {"model": "x" * 101}, "/model"),
    reembed("model is null", {"model": None}, "/model"),
    reembed("the model in use", {"model": "default"}, "/model", "generation-conflict", 409),
    reembed("activate is no boolean", {"model": "default", "activate": "later"}, "/activate"),
    reembed("negative number", {"model": "default", "expect_missing": -1}, "/expect_missing"),
    reembed("half a number", {"model": "default", "expect_missing": 0.5}, "/expect_missing"),
    reembed("huge number", {"model": "default", "expect_missing": 10**400}, "/expect_missing"),
    reembed("unknown field", {"model": "default", "force": True}, "/force"),
    reembed("the body is a list", ["default"], ""),
    Bad("reembed: not JSON", "POST", REEMBED, 400, "invalid-json", content=b"{", headers=JSON_TYPE),
    Bad("reembed: a form", "POST", REEMBED, 415, "media-type-unsupported", data={"model": "default"}),
    Bad(
        "reembed: unknown collection",
        "POST",
        "/v1/collections/none/reembed",
        404,
        "collection-not-found",
        body={"model": "default"},
    ),
    generation("canary of no share", "canary", {}, "/share"),
    generation("canary of more than all", "canary", {"share": 1.01}, "/share"),
    generation("canary of less than nothing", "canary", {"share": -0.01}, "/share"),
    generation("canary of words", "canary", {"share": "some"}, "/share"),
    generation("canary of an unknown field", "canary", {"share": 0.5, "users": 1}, "/users"),
    Bad(
        "generation: canary of NaN",
        "POST",
        f"{GENERATIONS}/1/canary",
        400,
        "invalid-json",
        content=b'{"share": NaN}',
        headers=JSON_TYPE,
    ),
    Bad(
        "generation: canary is active", "POST", f"{GENERATIONS}/1/canary", 409, "generation-conflict", body={"share": 1}
    ),
    Bad(
        "generation: canary of none", "POST", f"{GENERATIONS}/2/canary", 404, "generation-not-found", body={"share": 1}
    ),
    generation("activate with a negative number", "activate", {"expect_missing": -1}, "/expect_missing"),
    generation("activate with an unknown field", "activate", {"model": "default"}, "/model"),
    Bad("generation: activate none", "POST", f"{GENERATIONS}/2/activate", 404, "generation-not-found"),
    Bad("generation: drop the active one", "DELETE", f"{GENERATIONS}/1", 409, "generation-conflict"),
    *(
        Bad(f"generation: drop {number:.20}", "DELETE", f"{GENERATIONS}/{number}", status, type_)
        for number, status, type_ in [
            ("2", 404, "generation-not-found"),
            ("9" * 30, 404, "generation-not-found"),
            ("9" * 5000, 422, "invalid-request"),
            ("0", 422, "invalid-request"),
            ("-1", 422, "invalid-request"),
            ("first", 422, "invalid-request"),
            ("1.5", 422, "invalid-request"),
            ("%00", 422, "invalid-request"),
        ]
    ),
    Bad("generations: unknown collection", "GET", "/v1/collections/none/generations", 404, "collection-not-found"),
    Bad("generations: wrong method", "PUT", GENERATIONS, 405, "method-not-allowed"),
    Bad(
        "search: unknown collection, whatever the body",
        "POST",
        "/v1/collections/none/search",
        404,
        "collection-not-found",
        body={"limit": 0},
    ),
    Bad(
        "search: no such generation",
        "POST",
        SEARCH,
        409,
        "generation-conflict",
        "/generation",
        body={"query": "red", "generation": 2},
    ),
    explain("no term", [], "/query"),
    explain("blank text", " ", "/query"),
    explain("unknown item", {"item": "nobody"}, "/query/item", "item-not-found", 404),
    explain("broken picture", {"image": data_uri(b"x")}, "/query/image", "image-undecodable"),
    explain("vector of wrong dimension", {"vector": [1.0]}, "/query/vector", "vector-invalid"),
    put("undecodable picture", {"image": data_uri(b"GIF89a?")}, "/image", "image-undecodable"),
    put("truncated picture", {"image": data_uri(picture("red")[:-30])}, "/image", "image-undecodable"),
    put("decompression bomb", {"image": data_uri(bomb())}, "/image", "image-too-large", 413),
    put("too many bytes", {"image": data_uri(b"\0" * 300_000)}, "/image", "image-too-large", 413),
    put("an SVG is no picture", {"image": "data:image/svg+xml,<svg/>"}, "/image", "image-undecodable"),
    put("no base64", {"image": "data:image/png;base64,%%%"}, "/image", "item-invalid"),
    put("a local path", {"image": "/etc/passwd"}, "/image", "item-invalid"),
    put("a file URL", {"image": "file:///etc/passwd"}, "/image", "item-invalid"),
    put("an address of this machine", {"image": "http://127.0.0.1:1/x.png"}, "/image", "url-forbidden"),
    put("cloud metadata", {"image": "http://169.254.169.254/latest/meta-data"}, "/image", "url-forbidden"),
    put("empty image string", {"image": ""}, "/image"),
    put("nothing in it", {}, "", "item-invalid"),
    put("blank text", {"text": " "}, "", "item-invalid"),
    put("unknown field", {"text": "red", "colour": 1}, "/colour"),
    put("text is a number", {"text": 5}, "/text"),
    put("metadata is a list", {"text": "red", "metadata": []}, "/metadata"),
    put("endless text", {"text": "red " * 50_000}, "/text"),
    put("the body is a list", [], ""),
    Bad("item: the body is null", "PUT", PUT, 422, "invalid-request", "", content=b"null", headers=JSON_TYPE),
    put("unknown modality", {"vectors": {"sound": [1.0]}, "fingerprint": "f"}, "/vectors/sound"),
    put(
        "vector of wrong dimension",
        {"vectors": {"image": [1.0]}, "fingerprint": "f" * 64},
        "/vectors/image",
        "vector-invalid",
    ),
    put("vectors without fingerprint", {"vectors": {"image": [1.0] * 16}}, "/fingerprint", "fingerprint-mismatch", 409),
    Bad("item: id too long", "PUT", f"{ITEMS}/{'x' * 257}", 422, "invalid-request", "/item_id", body={"text": "red"}),
    Bad("item: empty id", "PUT", f"{ITEMS}/", 422, "invalid-request", "/item_id", body={"text": "red"}),
    Bad("item: id is not UTF-8", "PUT", f"{ITEMS}/%ff", 422, "invalid-request", "/item_id", body={"text": "red"}),
    raw("empty", b""),
    raw("not JSON", b'{"text": '),
    raw("two values", b'{"text": "red"} {}'),
    raw("NaN", b'{"text": "red", "metadata": {"price": NaN}}'),
    raw("infinity", b'{"text": "red", "metadata": {"price": -Infinity}}'),
    raw("too large a number", b'{"text": "red", "metadata": {"price": 1e999}}'),
    raw("too long a number", b'{"text": "red", "metadata": {"price": ' + b"9" * 5000 + b"}}"),
    raw("not UTF-8", b'{"text": "\xff"}'),
    raw("half a surrogate pair", b'{"text": "red", "metadata": {"a": "\\ud800"}}'),
    raw("bottomless nesting", nested(100_000)),
    raw("deep nesting", nested(600), 422, "invalid-request"),
    Bad(
        "body: a form's text",
        "PUT",
        PUT,
        415,
        "media-type-unsupported",
        content=b"text=red",
        headers={"content-type": "application/x-www-form-urlencoded"},
    ),
    Bad("items: a form", "POST", ITEMS, 415, "media-type-unsupported", files={"image": b"x"}),
    Bad("search: a form", "POST", SEARCH, 415, "media-type-unsupported", files={"image": b"x"}),
    *(
        Bad(
            f"{route}: {type_}",
            "POST",
            path,
            415,
            "media-type-unsupported",
            content=b"{}",
            headers={"Content-Type": type_},
        )
        for route, path in (("items", ITEMS), ("search", SEARCH))
        for type_ in ("text/x+json", "+json", "application/a/b+json", "application/jsonp")
    ),
    Bad("body: no type", "PUT", PUT, 415, "media-type-unsupported", content=b'{"text": "red"}'),
    Bad("body: too large", "PUT", PUT, 413, "body-too-large", content=b" " * 1_000_001, headers=JSON_TYPE),
    Bad("form: broken picture", "PUT", PUT, 422, "image-undecodable", "/image", files={"image": b"x"}),
    Bad(
        "form: metadata is not JSON",
        "PUT",
        PUT,
        400,
        "invalid-json",
        "/metadata",
        files={"image": picture("red")},
        data={"metadata": "{"},
    ),
    Bad(
        "form: metadata is NaN",
        "PUT",
        PUT,
        400,
        "invalid-json",
        "/metadata",
        files={"image": picture("red")},
        data={"metadata": '{"a": NaN}'},
    ),
    Bad(
        "form: unknown field",
        "PUT",
        PUT,
        422,
        "invalid-request",
        "/colour",
        files={"image": picture("red")},
        data={"colour": "1"},
    ),
    Bad(
        "form: not a form",
        "PUT",
        PUT,
        400,
        "bad-request",
        content=b"x",
        headers={"content-type": "multipart/form-data"},
    ),
    batch("no items", {"items": []}, "/items"),
    batch("no id", {"items": [{"id": "a", "text": "b"}, {"text": "b"}]}, "/items/1/id"),
    batch("unknown field", {"items": [{"id": "a", "x/y": "b"}]}, "/items/0/x~1y"),
    batch("too many", {"items": [{"id": "a", "text": "b"}] * 513}, "/items", "batch-too-large", 422),
    Bad("delete: no ids", "POST", f"{ITEMS}/delete", 422, "invalid-request", "/ids", body={"ids": []}),
    delete("nothing", {}, ""),
    delete("ids and a filter", {"ids": ["a"], "filter": {"a": 1}}, ""),
    delete("an empty filter", {"filter": {}}, "/filter"),
    delete("a filter that is none", {"filter": {"a": {"$lt": None}}}, "/filter/a/$lt", "filter-invalid"),
    Bad("list: limit out of range", "GET", f"{ITEMS}?limit=0", 422, "invalid-request", "/limit"),
    Bad("list: unknown parameter", "GET", f"{ITEMS}?where=x", 422, "invalid-request", "/where"),
    Bad("list: a filter that is not JSON", "GET", f"{ITEMS}?filter=x", 400, "invalid-json", "/filter"),
    Bad("list: a filter that is no object", "GET", f"{ITEMS}?filter=[]", 422, "filter-invalid", "/filter"),
    Bad("list: an unknown operator", "GET", ITEMS + '?filter={"a":{"$x":1}}', 422, "filter-invalid", "/filter/a/$x"),
    Bad("list: a cursor of one's own", "GET", f"{ITEMS}?cursor=x", 400, "cursor-invalid", "/cursor"),
    Bad("unknown item", "GET", f"{ITEMS}/nobody", 404, "item-not-found"),
    Bad("unknown item's picture", "GET", f"{ITEMS}/nobody/image", 404, "item-not-found"),
    Bad("thumbnail of no width", "GET", f"{ITEMS}/before/image?width=0", 422, "invalid-request", "/width"),
    Bad("thumbnail of a huge width", "GET", f"{ITEMS}/before/image?width=100000", 422, "invalid-request", "/width"),
    Bad("unknown collection", "GET", "/v1/collections/none", 404, "collection-not-found"),
    Bad(
        "unknown collection's items",
        "PUT",
        "/v1/collections/none/items/a",
        404,
        "collection-not-found",
        body={"text": "red"},
    ),
    Bad("bad collection name", "PUT", "/v1/collections/a%20b", 422, "collection-name-invalid", body={}),
    Bad("collection with unknown model", "PUT", "/v1/collections/c", 404, "model-not-found", body={"model": "none"}),
    Bad(
        "collection without weights",
        "PUT",
        "/v1/collections/c",
        422,
        "invalid-request",
        "/modality_weights",
        body={"modality_weights": {"image": 0}},
    ),
    Bad(
        "unknown kind of index",
        "PUT",
        "/v1/collections/c",
        422,
        "invalid-request",
        "/index",
        body={"index": "annoy"},
    ),
    search("empty text", "", "/query"),
    search("blank text", {"text": " \n"}, "/query/text"),
    search("empty list", [], "/query"),
    search("null", None, "/query"),
    search("a number", 7, "/query"),
    search("empty term", {}, "/query"),
    search("two in one term", {"text": "red", "item": "before"}, "/query"),
    search("unknown field", {"txt": "red"}, "/query/txt"),
    search("a list in a list", [["red"]], "/query/0"),
    search("a bad term among good ones", ["red", {"text": 1}], "/query/1/text"),
    search("weight of nothing", {"text": "red", "weight": 0}, "/query/weight"),
    search("too many terms", ["red"] * 33, "/query"),
    search("vector of wrong dimension", {"vector": [1.0, 2.0]}, "/query/vector", "vector-invalid"),
    search("vector of zeros", {"vector": [0.0] * 16}, "/query/vector", "vector-invalid"),
    search("vector of texts", {"vector": ["a"]}, "/query/vector/0"),
    search("vector of huge numbers", {"vector": [1e308] * 16}, "/query/vector/0"),
    search("unknown item", {"item": "nobody"}, "/query/item", "item-not-found", 404),
    search("broken picture", {"image": "data:,x"}, "/query/image", "image-undecodable"),
    search("broken picture among others", ["red", {"image": "data:,x"}], "/query/1/image", "image-undecodable"),
    search("forbidden URL", {"image": "http://[::1]/x"}, "/query/image", "url-forbidden"),
    Bad("search: no query", "POST", SEARCH, 422, "invalid-request", "/query", body={}),
    *(
        Bad(
            f"search: {name}={value}",
            "POST",
            SEARCH,
            422,
            "invalid-request",
            pointer,
            body={"query": "red", name: value},
        )
        for name, value, pointer in [
            ("limit", 0, "/limit"),
            ("limit", -1, "/limit"),
            ("limit", 10_001, "/limit"),
            ("limit", 1.5, "/limit"),
            ("limit", 10**400, "/limit"),
            ("offset", -1, "/offset"),
            ("offset", 9_999, ""),
            ("min_score", "high", "/min_score"),
            ("target", {}, "/target"),
            ("target", {"image": -1}, "/target/image"),
            ("target", {"sound": 1}, "/target/sound"),
            ("include", ["everything"], "/include/0"),
            ("filter", [], "/filter"),
            ("group_by", "", "/group_by"),
            ("group_by", ["brand"], "/group_by"),
            ("group_size", 0, "/group_size"),
            ("facets", "brand", "/facets"),
            ("facets", [""], "/facets/0"),
            ("facets", ["x"] * 21, "/facets"),
            ("fusion", "max", "/fusion"),
            ("mode", "fuzzy", "/mode"),
            ("diversity", 1.1, "/diversity"),
            ("diversity", -0.1, "/diversity"),
            ("diversity", None, "/diversity"),
            ("collapse_duplicates", 0.5, "/collapse_duplicates"),
            ("collapse_duplicates", 1.1, "/collapse_duplicates"),
            ("collapse_duplicates", [], "/collapse_duplicates"),
            ("generation", 0, "/generation"),
            ("generation", 1.5, "/generation"),
            ("generation", "new", "/generation"),
            ("limit", "5", "/limit"),
            ("limit", True, "/limit"),
            ("diversity", False, "/diversity"),
            ("min_score", "0.5", "/min_score"),
            ("target", {"image": True}, "/target/image"),
            ("query", {"vector": [1.0, True]}, "/query/vector/1"),
            ("query", {"vector": [1.0, "0.5"]}, "/query/vector/1"),
            ("query", {"text": "red", "weight": "1"}, "/query/weight"),
        ]
    ),
    Bad(
        "search: many collapsed",
        "POST",
        SEARCH,
        422,
        "invalid-request",
        "",
        body={"query": "red", "limit": 1001, "collapse_duplicates": 0.98},
    ),
    Bad("search: NaN", "POST", SEARCH, 400, "invalid-json", content=b'{"query": {"vector": [NaN]}}', headers=JSON_TYPE),
    *(
        Bad(f"search: {name}", "POST", SEARCH, 422, "query-invalid", pointer, body={"query": "red"} | body)
        for name, pointer, body in [
            ("words as a target of vectors", "/target/lexical", {"target": {"lexical": 1}}),
            ("lexical without a text", "/mode", {"mode": "lexical", "query": {"item": "red"}}),
            ("lexical with a picture", "/mode", {"mode": "lexical", "query": ["x", {"vector": [1]}]}),
            ("only unwanted words", "/mode", {"mode": "lexical", "query": {"text": "a", "weight": -1}}),
        ]
    ),
    Bad("short search: unknown mode", "GET", f"{SEARCH}?q=red&mode=fuzzy", 422, "invalid-request", "/mode"),
    Bad("short search: no text", "GET", SEARCH, 422, "invalid-request", "/q"),
    Bad("short search: empty text", "GET", f"{SEARCH}?q=", 422, "invalid-request", "/q"),
    Bad("short search: NaN", "GET", f"{SEARCH}?q=red&min_score=nan", 422, "invalid-request", "/min_score"),
    Bad("short search: unknown parameter", "GET", f"{SEARCH}?q=red&where=x", 422, "invalid-request", "/where"),
    Bad("short search: a filter that is not JSON", "GET", f"{SEARCH}?q=red&filter=x", 400, "invalid-json", "/filter"),
    Bad("short search: NaN in a filter", "GET", SEARCH + '?q=red&filter={"a":NaN}', 400, "invalid-json", "/filter"),
    *(
        Bad(f"filter: {name}", "POST", SEARCH, 422, "filter-invalid", pointer, body={"query": "red", "filter": filter_})
        for name, filter_, pointer in [
            ("wrong operand", {"price": {"$lt": True}}, "/filter/price/$lt"),
            ("unknown operator", {"price": {"$near": 1}}, "/filter/price/$near"),
            ("no list", {"$or": [{"a": 1}, {"b": {"$in": 5}}]}, "/filter/$or/1/b/$in"),
            ("nested object", {"size": {"eu": 42}}, "/filter/size/eu"),
            ("too deep", {"$not": {"$not": NESTED_NOT}}, None),
        ]
    ),
    Bad(
        "upload: no picture", "POST", f"{SEARCH}/upload", 422, "query-invalid", "/image", files={"query": (None, "red")}
    ),
    Bad(
        "upload: broken picture", "POST", f"{SEARCH}/upload", 422, "image-undecodable", "/image", files={"image": b"x"}
    ),
    Bad(
        "upload: an unknown operator",
        "POST",
        f"{SEARCH}/upload",
        422,
        "filter-invalid",
        "/filter/a/$x",
        files={"image": picture("red")},
        data={"filter": '{"a": {"$x": 1}}'},
    ),
    Bad(
        "upload: limit is no number",
        "POST",
        f"{SEARCH}/upload",
        400,
        "invalid-json",
        "/limit",
        files={"image": picture("red")},
        data={"limit": "many"},
    ),
    Bad(
        "upload: limit out of range",
        "POST",
        f"{SEARCH}/upload",
        422,
        "invalid-request",
        "/limit",
        files={"image": picture("red")},
        data={"limit": "0"},
    ),
    searches("nothing", {}, "/searches"),
    searches("no list", {"searches": {"query": "red"}}, "/searches"),
    searches("no search", {"searches": []}, "/searches"),
    searches("too many", {"searches": [{"query": "red"}] * 257}, "/searches"),
    searches("too many hits", {"searches": [{"query": "red", "limit": 5_000}] * 3}, "/searches", "batch-too-large"),
    searches(
        "too many pictures", {"searches": [{"query": [{"image": "data:,"}] * 13}] * 5}, "/searches", "batch-too-large"
    ),
    searches("unknown field", {"searches": [{"query": "red"}], "limit": 3}, "/limit"),
    searches("the body is a list", [{"query": "red"}], ""),
    Bad("upload: not a form", "POST", f"{SEARCH}/upload", 415, "media-type-unsupported", body={"query": "red"}),
    rule("empty query", {"query": ""}, "/query"),
    rule("no terms", {"query": []}, "/query"),
    rule("two in one term", {"query": {"text": "red", "item": "before"}}, "/query"),
    rule("terms that cancel out", {"query": ["red", {"text": "red", "weight": -1}]}, "/query", "rule-invalid"),
    rule("unknown item", {"query": {"item": "nobody"}}, "/query/item", "item-not-found", 404),
    rule("vector of wrong dimension", {"query": ["red", {"vector": [1]}]}, "/query/1/vector", "vector-invalid"),
    rule("broken picture", {"query": {"image": "data:,x"}}, "/query/image", "image-undecodable"),
    rule("forbidden picture", {"query": {"image": "http://127.0.0.1/x"}}, "/query/image", "url-forbidden"),
    rule("threshold of nothing", {"threshold": {}}, "/threshold"),
    rule("threshold beyond cosines", {"threshold": 1.5}, "/threshold"),
    rule("threshold of a modality beyond cosines", {"threshold": {"image": 27}}, "/threshold/image"),
    rule("threshold of an unknown modality", {"threshold": {"sound": 0.5}}, "/threshold/sound"),
    rule("threshold is null", {"threshold": None}, "/threshold"),
    rule("threshold is a list", {"threshold": [0.5]}, "/threshold"),
    rule("unknown action", {"action": "burn"}, "/action"),
    rule("a secret of one's own", {"secret": "whsec_x"}, "/secret"),
    rule("webhook is no URL", {"webhook": "shop"}, "/webhook", "rule-invalid"),
    rule("webhook to a file", {"webhook": "file:///etc/passwd"}, "/webhook", "rule-invalid"),
    rule("webhook with a password", {"webhook": "https://me:pw@shop.example"}, "/webhook", "rule-invalid"),
    rule("webhook with a line break", {"webhook": "https://shop.example/\r\nX: y"}, "/webhook", "rule-invalid"),
    rule("webhook of no host", {"webhook": "https:///hook"}, "/webhook", "rule-invalid"),
    rule("webhook to no port", {"webhook": "https://shop.example:70000"}, "/webhook", "rule-invalid"),
    rule("endless webhook", {"webhook": f"https://shop.example/{'x' * 3000}"}, "/webhook"),
    rule("empty webhook", {"webhook": ""}, "/webhook"),
    Bad("rule: nothing", "PUT", f"{RULES}/new", 422, "invalid-request", "/threshold", body={}),
    Bad("rule: the body is a list", "PUT", f"{RULES}/new", 422, "invalid-request", "", body=[]),
    *(
        Bad(
            f"rule: named {name}",
            "PUT",
            f"{RULES}/{name}",
            422,
            "rule-invalid",
            body={"query": "red", "threshold": 0.5, "action": "flag"},
        )
        for name in ["a%20b", "a%2Fb", "..%2f", "-", "%00", "x" * 101]
    ),
    Bad("unknown rule", "GET", f"{RULES}/nobody", 404, "rule-not-found"),
    Bad("deleting an unknown rule", "DELETE", f"{RULES}/nobody", 404, "rule-not-found"),
    Bad("rules of an unknown collection", "GET", "/v1/collections/none/rules", 404, "collection-not-found"),
    Bad("flags: of an unknown rule", "GET", f"{FLAGS}?rule=nobody", 404, "rule-not-found"),
    Bad("flags: limit out of range", "GET", f"{FLAGS}?limit=0", 422, "invalid-request", "/limit"),
    Bad("flags: a cursor of one's own", "GET", f"{FLAGS}?cursor=x", 400, "cursor-invalid", "/cursor"),
    Bad("flags: unknown parameter", "GET", f"{FLAGS}?item=a", 422, "invalid-request", "/item"),
    embeddings("nothing", {}, "/input"),
    embeddings("empty text", {"input": ""}, "/input"),
    embeddings("empty list", {"input": []}, "/input"),
    embeddings("tokens", {"input": [1, 2]}, "/input", "tokens-unsupported", 400),
    embeddings("token lists", {"input": [[1], [2]]}, "/input", "tokens-unsupported", 400),
    embeddings("dimensions", {"input": "a", "dimensions": 8}, "/dimensions", "dimensions-unsupported", 400),
    embeddings("unknown model", {"input": "a", "model": "ada"}, "/model", "model-not-found", 404),
    embeddings("broken picture", {"input": ["a", {"image": "data:,x"}]}, "/input/1/image", "image-undecodable", 422),
    embeddings("too many", {"input": ["a"] * 2049}, "/input", "batch-too-large", 422),
    classify("no labels", {"item": "before", "labels": []}, "/labels"),
    classify("no picture", {"labels": ["a"]}, ""),
    classify("template without a place", {"item": "before", "labels": ["a"], "template": "photo"}, "/template"),
    classify("unknown item", {"item": "nobody", "labels": ["a"]}, "/item", "item-not-found", 404),
    classify("broken picture", {"image": "data:,x", "labels": ["a"]}, "/image", "image-undecodable", 422),
    *(
        Bad(f"quality: {query}", "GET", f"{QUALITY}?{query}", 422, "invalid-request", pointer)
        for query, pointer in [
            ("limit=0", "/limit"),
            ("limit=101", "/limit"),
            ("offset=-1", "/offset"),
            ("offset=901", "/offset"),
            ("duplicate_threshold=0.5", "/duplicate_threshold"),
            ("duplicate_threshold=1.1", "/duplicate_threshold"),
            ("duplicate_threshold=nan", "/duplicate_threshold"),
            ("threshold=0.98", "/threshold"),
        ]
    ),
    Bad("quality: unknown collection", "GET", "/v1/collections/none/quality", 404, "collection-not-found"),
    Bad("quality: wrong method", "POST", QUALITY, 405, "method-not-allowed"),
    *(
        Bad(f"type: {path} {body}", method, path, 422, "invalid-request", pointer, body=body)
        for method, path, body, pointer in [
            ("PUT", "/v1/collections/new", {"store_originals": "yes"}, "/store_originals"),
            ("PUT", "/v1/collections/new", {"modality_weights": {"image": "1"}}, "/modality_weights/image"),
            ("POST", ITEMS, {"items": [{"id": 5, "text": "red"}]}, "/items/0/id"),
            ("POST", "/v1/embeddings", {"input": "red", "dimensions": "16"}, "/dimensions"),
            ("POST", SELECT, {"k": True}, "/k"),
            ("POST", REEMBED, {"model": "new", "activate": 1}, "/activate"),
            ("POST", f"{GENERATIONS}/1/activate", {"expect_missing": False}, "/expect_missing"),
            ("POST", f"{GENERATIONS}/1/canary", {"share": "0.5"}, "/share"),
            ("PUT", f"{RULES}/r", {"query": "red", "threshold": False, "action": "flag"}, "/threshold"),
        ]
    ),
    Bad("unknown model", "GET", "/v1/models/none", 404, "model-not-found"),
    Bad("unknown path", "GET", "/v2", 404, "not-found"),
    Bad("wrong method", "PATCH", SEARCH, 405, "method-not-allowed"),
]
