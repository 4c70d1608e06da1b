"""Requests for an ingest that must be refused before there is a job, and with which problem."""

from typing import Any

from tests.app.bad_requests import JSON_TYPE, Bad

INGEST = "/v1/collections/default/ingest"
CSV = b"id,title\na,red\n"
ROOT = "ROOT"
"""Stands for the allowed folder; `ROOT/out` is a link that leads out of it."""


def body(name: str, fields: Any, pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(name, "POST", INGEST, status, type_, pointer, body=fields)


def option(name: str, value: Any, pointer: str = "") -> Bad:
    return body(f"{name}: {value!r:.40}", {"source": f"{ROOT}/catalog.csv", name: value}, pointer or f"/{name}")


def source(value: Any, type_: str) -> Bad:
    return body(f"source: {value!r:.60}", {"source": value}, "/source", type_)


def raw(name: str, content: bytes, status: int = 400, type_: str = "invalid-json", kind: str = "") -> Bad:
    headers = {"content-type": kind} if kind else JSON_TYPE
    return Bad(f"body: {name}", "POST", INGEST, status, type_, content=content, headers=headers)


def form(name: str, data: dict[str, str], pointer: str, type_: str = "invalid-request", status: int = 422) -> Bad:
    return Bad(f"form: {name}", "POST", INGEST, status, type_, pointer, data=data, files={"file": ("a.csv", CSV)})


CASES = [
    body("no source", {}, "/source"),
    body("a list", [], ""),
    body("unknown field", {"source": f"{ROOT}/catalog.csv", "format": "csv"}, "/format"),
    source(None, "invalid-request"),
    source(7, "invalid-request"),
    source(["a.csv"], "invalid-request"),
    source("", "invalid-request"),
    source("/" + "x" * 5000, "invalid-request"),
    source("catalog.csv", "source-invalid"),
    source("../catalog.csv", "source-invalid"),
    source(f"{ROOT}/\0.csv", "source-invalid"),
    source("file:///etc/passwd", "source-invalid"),
    source("FILE:///etc/passwd", "source-invalid"),
    source("ftp://shop.example/catalog.csv", "source-invalid"),
    source("data:text/csv,id", "source-invalid"),
    source("upload:0123456789abcdef/catalog.csv", "source-invalid"),
    source("https://[shop.example/catalog.csv", "source-invalid"),
    source("/etc/passwd", "source-forbidden"),
    source("/", "source-forbidden"),
    source("/" + "x" * 4000, "source-forbidden"),
    source(f"{ROOT}/../catalog.csv", "source-forbidden"),
    source(f"{ROOT}/./a/../../secret/catalog.csv", "source-forbidden"),
    source(f"{ROOT}2/catalog.csv", "source-forbidden"),
    source(f"{ROOT}/out", "source-forbidden"),
    source(f"{ROOT}/out/catalog.csv", "source-forbidden"),
    source(f"{ROOT}/out.csv", "source-forbidden"),
    source("s3://bucket/catalog.csv", "source-forbidden"),
    source("s3://allowed/../bucket/catalog.csv", "source-forbidden"),
    source("s3://allowed/shop/../../catalog.csv", "source-forbidden"),
    source("gs://allowed/shop/catalog.csv", "source-forbidden"),
    source("http://127.0.0.1/catalog.csv", "url-forbidden"),
    source("http://2130706433/catalog.csv", "url-forbidden"),
    source("http://0x7f.1/catalog.csv", "url-forbidden"),
    source("http://0177.0.0.1/catalog.csv", "url-forbidden"),
    source("http://0.0.0.0/catalog.csv", "url-forbidden"),
    source("http://169.254.169.254/latest/meta-data", "url-forbidden"),
    source("http://10.0.0.7/catalog.csv", "url-forbidden"),
    source("HTTP://[::1]/catalog.csv", "url-forbidden"),
    source("http://[::ffff:127.0.0.1]/catalog.csv", "url-forbidden"),
    source("http://user:secret@shop.example/catalog.csv", "url-forbidden"),
    source("http:///catalog.csv", "url-forbidden"),
    source("http://shop.example:0/catalog.csv", "url-forbidden"),
    option("mode", "replace"),
    option("mode", None),
    option("on_error", "ignore"),
    option("on_error", 1),
    option("expect_deletes", -1),
    option("expect_deletes", 1.5),
    option("expect_deletes", "many"),
    option("expect_deletes", 2**53 + 1),
    option("expect_deletes", 10**300),
    option("mapping", []),
    option("mapping", "id"),
    option("mapping", {"sku": "id"}, "/mapping/sku"),
    option("mapping", {"id": 1}, "/mapping/id"),
    option("mapping", {"id": ""}, "/mapping/id"),
    option("mapping", {"text": "x" * 257}, "/mapping/text"),
    option("mapping", {"metadata": "price"}, "/mapping/metadata"),
    option("mapping", {"metadata": ["price", 1]}, "/mapping/metadata/1"),
    option("mapping", {"metadata": ["price"] * 1001}, "/mapping/metadata"),
    raw("empty", b""),
    raw("not JSON", b"source=/catalog.csv"),
    raw("too large a number", b'{"source": "/a", "expect_deletes": 1e999}'),
    raw("too long a number", b'{"source": "/a", "expect_deletes": ' + b"9" * 5000 + b"}"),
    raw("half a surrogate pair", b'{"source": "/\\ud800"}'),
    raw("bottomless nesting", b'{"source": "/a", "mapping": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    raw("null", b"null", 422, "invalid-request"),
    raw("a catalogue as it is", CSV, 415, "media-type-unsupported", "text/csv"),
    raw("a form's text", b"source=/a", 415, "media-type-unsupported", "application/x-www-form-urlencoded"),
    raw("a form without its boundary", CSV, 400, "bad-request", "multipart/form-data"),
    raw("too large", b" " * 1_000_001, 413, "body-too-large"),
    Bad("form: no file", "POST", INGEST, 422, "source-invalid", "/file", files={"mode": (None, "sync")}),
    Bad("form: file is a text", "POST", INGEST, 422, "source-invalid", "/file", files={"file": (None, "id,title")}),
    Bad("form: two files", "POST", INGEST, 400, "bad-request", files=[("file", CSV), ("file", CSV)]),  # type: ignore[arg-type]
    form("a source, too", {"source": f"{ROOT}/catalog.csv"}, "/source"),
    form("unknown field", {"format": "csv"}, "/format"),
    form("mode", {"mode": "replace"}, "/mode"),
    form("expect_deletes", {"expect_deletes": "many"}, "/expect_deletes"),
    form("mapping is not JSON", {"mapping": "{"}, "/mapping", "invalid-json", 400),
    form("mapping is a list", {"mapping": "[]"}, "/mapping"),
    form("too many fields", {f"f{number}": "" for number in range(20)}, "", "bad-request", 400),
    form("a field of a megabyte", {"mapping": "x" * 1_100_000}, "", "bad-request", 400),
]
