"""Keys on every route: missing, wrong, expired, revoked, without the scope, for other collections."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from hmac import compare_digest
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient

from app.access import scopes
from app.access.audit import AuditLog, Entry
from app.access.gate import NOBODY, find_key
from app.access.scopes import EVERYWHERE, OPEN, SCOPES, GuardedRoute
from app.errors import Unauthorized
from app.server import create_app
from app.settings import Settings
from indexer.stores.database import Database
from indexer.stores.keys import SCOPES as ALL
from indexer.stores.keys import Key, KeyStore, NewKey
from tests.app.conftest import ITEMS, SEARCH, client_of
from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

GUARDED = sorted(operation for operation, scope in SCOPES.items() if scope is not OPEN)
OF_COLLECTIONS = [operation for operation in GUARDED if "{name}" in operation]

Make = Callable[..., str]


def routes_of(app: FastAPI) -> Iterator[APIRoute]:
    for included in app.routes:
        for route in getattr(getattr(included, "original_router", None), "routes", [included]):
            if isinstance(route, APIRoute):
                yield route


def ask(
    client: TestClient, operation: str, key: str | bytes | None = None, name: str = "default", **options: Any
) -> Any:
    method, path = operation.split(" ")
    path = path.format(name=name, item_id="a", rule="r", number=1, job_id="j", model="default")
    given = key.encode() if isinstance(key, str) else key
    headers = {} if given is None else {b"Authorization": b"Bearer " + given}
    return client.request(method, path, headers=headers, **options)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of a server with every route that there is."""
    return Settings(data_dir=tmp_path / "data", port=0, clip_retrieval=True)


@pytest.fixture
def keys(settings: Settings, client: TestClient) -> Iterator[KeyStore]:
    """The keys of the running server's data folder, as another process has them."""
    database = Database(settings.data_dir / "catalogue.db")
    yield KeyStore(database)
    database.close()


@pytest.fixture
def make(keys: KeyStore) -> Make:
    def make(*scopes: str, patterns: tuple[str, ...] = ("*",), expires_at: datetime | None = None) -> str:
        return keys.create(NewKey("", scopes, patterns, expires_at))[1]

    return make


def test_every_route_has_a_scope_and_looks_at_it(settings: Settings) -> None:
    routes = list(routes_of(create_app(settings)))

    assert [route.path_format for route in routes if not isinstance(route, GuardedRoute)] == []
    assert {f"{method} {route.path_format}" for route in routes for method in route.methods} == set(SCOPES)


def test_what_is_open_without_a_key_holds_no_data() -> None:
    assert {operation for operation, scope in SCOPES.items() if scope is OPEN} == {
        "GET /",
        "GET /healthz",
        "GET /readyz",
    }


@pytest.fixture
def bad_keys(keys: KeyStore, make: Make) -> dict[str, str | bytes | None]:
    good = make(*ALL)
    revoked = keys.create(NewKey("", ALL))
    keys.revoke(revoked[0].id)
    return {
        "missing": None,
        "empty": "",
        "wrong": good[:-4] + "AAAA",
        "of another id": good.replace(good.split("_")[1], "0" * 12),
        "expired": make(*ALL, expires_at=datetime.now(UTC) - timedelta(seconds=1)),
        "revoked": revoked[1],
        "no key of ours": "x" * 43,
        "of no letters": b"k\xe9\x80",
    }


def test_who_may_write_only_is_told_what_creating_a_collection_needs(client: TestClient, make: Make) -> None:
    key = make("read", "write", patterns=("shop*",))

    missing = ask(client, "POST /v1/collections/{name}/ingest", key, "shop", json={"source": "/a.csv"}).json()
    refused = ask(client, "PUT /v1/collections/{name}", key, "shop", json={}).json()

    assert missing["type"] == "collection-not-found"
    assert "the scope admin" in missing["detail"]
    assert "default" not in missing["detail"], "a collection that the key is not for"
    assert refused["detail"] == "'Create a collection' needs a key with the scope admin; yours has read, write"


def test_every_route_refuses_who_has_no_good_key(client: TestClient, bad_keys: dict[str, str | bytes | None]) -> None:
    cases = [(operation, kind) for operation in GUARDED for kind in bad_keys]
    answers = {(operation, kind): ask(client, operation, bad_keys[kind]) for operation, kind in cases}

    assert {case: answer.status_code for case, answer in answers.items() if answer.status_code != 401} == {}
    assert {answer.json()["type"] for answer in answers.values()} == {"unauthorized"}
    assert {answer.headers["www-authenticate"] for answer in answers.values()} == {"Bearer"}


def test_every_route_refuses_keys_without_its_scope_and_takes_those_with_it(client: TestClient, make: Make) -> None:
    lacking = {needed: make(*(scope for scope in ALL if scope != needed)) for needed in ALL}
    sufficient = {needed: make(needed) for needed in ALL}

    refused = {name: ask(client, name, lacking[SCOPES[name] or "read"], json={"no": "body"}) for name in GUARDED}
    taken = {name: ask(client, name, sufficient[SCOPES[name] or "read"], json={"no": "body"}) for name in GUARDED}

    assert {name: answer.status_code for name, answer in refused.items()} == dict.fromkeys(GUARDED, 403)
    assert {answer.json()["type"] for answer in refused.values()} == {"forbidden"}
    assert {name: answer.status_code for name, answer in taken.items() if answer.status_code in (401, 403)} == {}


@pytest.mark.parametrize("name", ["default", "%64efault", "shopping", "x%2Fshop-1", "SHOP-1", "%ff"])
def test_every_route_refuses_keys_for_other_collections(client: TestClient, make: Make, name: str) -> None:
    key = make(*ALL, patterns=("shop-*", "o?her"))

    statuses = {operation: ask(client, operation, key, name, json={}).status_code for operation in OF_COLLECTIONS}

    assert statuses == dict.fromkeys(OF_COLLECTIONS, 403)


@pytest.mark.parametrize("name", ["shop-1", "sho%70-1", "other"])
def test_a_key_for_some_collections_reaches_them(client: TestClient, make: Make, name: str) -> None:
    key = make(*ALL, patterns=("shop-*", "o?her"))

    statuses = {operation: ask(client, operation, key, name, json={}).status_code for operation in OF_COLLECTIONS}

    assert {operation for operation, status in statuses.items() if status == 403} == set()


@pytest.mark.parametrize("operation", sorted(EVERYWHERE))
def test_what_tells_of_all_collections_needs_a_key_for_all(client: TestClient, make: Make, operation: str) -> None:
    assert ask(client, operation, make(*ALL, patterns=("d*",))).status_code == 403
    assert ask(client, operation, make(*ALL)).status_code == 200


def test_a_key_sees_its_own_collections_and_jobs_only(client: TestClient, make: Make) -> None:
    upload = {"file": ("a.csv", b"id,text\n1,red\n")}
    client.put("/v1/collections/shop-1", json={})
    own, foreign = (
        client.post(f"/v1/collections/{name}/ingest", files=upload).json()["id"] for name in ("shop-1", "default")
    )
    client.headers["Authorization"] = f"Bearer {make(*ALL, patterns=('shop-*',))}"

    names = [one["name"] for one in client.get("/v1/collections").json()["collections"]]
    jobs = [job["id"] for job in client.get("/v1/jobs").json()["jobs"]]
    asked = {
        f"{method} {path}": client.request(method, f"/v1/jobs/{foreign}{path}").status_code
        for method, path in (("GET", ""), ("GET", "/events"), ("GET", "/errors"), ("POST", "/cancel"))
    }
    classified = client.post("/v1/classify", json={"item": "a", "labels": ["x", "y"], "collection": "default"})

    assert (names, jobs) == (["shop-1"], [own])
    assert set(asked.values()) == {404}
    assert client.get(f"/v1/jobs/{own}").status_code == 200
    assert classified.json()["type"] == "forbidden"


def test_a_new_route_is_for_admins_until_the_table_says_otherwise(
    client: TestClient, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scopes, "SCOPES", {name: need for name, need in SCOPES.items() if name != "GET /v1/models"})

    assert ask(client, "GET /v1/models", make("read", "write")).status_code == 403
    assert ask(client, "GET /v1/models", make("admin")).status_code == 200


def test_a_key_is_asked_for_from_the_first_one_on_and_ends_at_once(client: TestClient, keys: KeyStore) -> None:
    assert client.get("/v1/models").status_code == 200
    key, secret = keys.create(NewKey("", ("read",)))
    assert client.get("/v1/models").status_code == 401
    assert ask(client, "GET /v1/models", secret).status_code == 200
    keys.revoke(key.id)
    assert ask(client, "GET /v1/models", secret).json()["detail"] == f"the key {key.id} is revoked"
    assert client.get("/v1/models").status_code == 401, "a server whose last key is revoked is not open to all"


def test_a_collection_that_the_body_names_is_looked_at(client: TestClient, make: Make) -> None:
    headers = {"Authorization": f"Bearer {make('read', patterns=('shop*',))}"}

    assert client.get("/indices-list", headers=headers).json() == []
    for path, asked in (("/knn-service", {"text": "red"}), ("/metadata", {"ids": ["a"]})):
        body = {**asked, "indice_name": "default"}
        assert client.post(path, json=body, headers=headers).status_code == 403
        assert client.post(path, json=body | {"indice_name": "shop"}, headers=headers).status_code == 404


def test_health_the_page_and_the_documentation_need_no_key(client: TestClient, make: Make) -> None:
    make("read")

    paths = ("/healthz", "/readyz", "/", "/static/main.js", "/docs", "/openapi.json")

    assert {path: client.get(path).status_code for path in paths} == dict.fromkeys(paths, 200)


@pytest.mark.parametrize(
    "path", ["/static/../v1/models", "/static/%2e%2e/v1/models", "/static//v1/models", "/healthz/"]
)
def test_no_open_path_leads_to_a_closed_one(client: TestClient, make: Make, path: str) -> None:
    make("read")

    assert client.get(path, follow_redirects=False).status_code in (401, 404)


def test_a_key_is_stored_as_its_hash_only(settings: Settings, client: TestClient, make: Make) -> None:
    secret = make("read").split("_", 2)[2]

    stored = b"".join(path.read_bytes() for path in settings.data_dir.glob("catalogue.db*"))

    assert secret.encode() not in stored


def test_each_refusal_compares_the_whole_of_two_hashes(keys: KeyStore, monkeypatch: pytest.MonkeyPatch) -> None:
    key, good = keys.create(NewKey("", ("read",)))
    compared: list[tuple[int, int]] = []

    def compare(a: bytes, b: bytes) -> bool:
        compared.append((len(a), len(b)))
        return compare_digest(a, b)

    monkeypatch.setattr("app.access.gate.hmac.compare_digest", compare)
    for given in (good[:-1], "sightline_000000000000_x", "x"):
        with pytest.raises(Unauthorized):
            find_key(f"Bearer {given}", {key.id: key}, NOBODY)

    assert compared == [(32, 32)] * 3


def test_the_document_names_the_scope_of_each_operation(client: TestClient) -> None:
    document = client.get("/openapi.json").json()["paths"]

    found = {
        f"{method.upper()} {path}": one["security"] for path, ops in document.items() for method, one in ops.items()
    }

    assert found == {
        operation: [] if scope is OPEN else [{"key": [scope]}, {}]
        for operation, scope in SCOPES.items()
        if operation != "GET /"
    }


def test_a_line_of_the_audit_log_that_a_full_disk_cut_off_spoils_no_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = AuditLog(tmp_path)
    for action in ("first", "second"):
        log.write(Entry(action, "ops"))
    with (tmp_path / "audit.jsonl").open("r+b") as file:
        file.truncate(file.seek(0, 2) - 9)
    log.write(Entry("third", "ops"))

    assert [entry["action"] for entry in log.read(10)] == ["first", "third"]
    assert "was cut off" in caplog.text


def test_admin_actions_are_in_the_audit_log(settings: Settings, client: TestClient, keys: KeyStore) -> None:
    admin, secret = keys.create(NewKey("ops", ("admin",)))
    reader, weak = keys.create(NewKey("shop", ("read",)))
    ask(client, "PUT /v1/collections/{name}", secret, "shop", json={})
    ask(client, "DELETE /v1/collections/{name}", weak, "shop")
    ask(client, "GET /v1/collections/{name}/items", weak, "shop")

    log = client.app_state["resources"].audit  # type: ignore[attr-defined]
    put, refused = log.read(10)

    assert (put["actor"], put["action"], put["target"], put["status"]) == (
        admin.id,
        "PUT /v1/collections/{name}",
        "/v1/collections/shop",
        201,
    )
    assert (refused["actor"], refused["action"], refused["status"]) == (reader.id, "DELETE /v1/collections/{name}", 403)
    assert put["request_id"]
    assert secret not in (settings.data_dir / "audit.jsonl").read_text()


def test_a_full_disk_stops_no_admin(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = client.app_state["resources"].audit  # type: ignore[attr-defined]

    def fail(_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(log, "write", fail)

    assert client.put("/v1/collections/shop", json={}).status_code == 201
    assert "not in the audit log" in caplog.text


@pytest.mark.parametrize(
    ("unit", "request_"),
    [
        ("requests", ("GET", SEARCH, {"params": {"q": "red"}})),
        ("rows", ("POST", ITEMS, {"json": {"items": [{"id": "a", "text": "a"}, {"id": "b", "text": "b"}]}})),
        ("rows", ("POST", "/v1/embeddings", {"json": {"input": ["a", "b"], "model": "default"}})),
        ("rows", ("POST", f"{SEARCH}/batch", {"json": {"searches": [{"query": "a"}, {"query": "b"}]}})),
        ("pictures", ("POST", SEARCH, {"json": {"query": {"image": data_uri(picture("red"))}}})),
        ("pictures", ("POST", f"{SEARCH}/upload", {"files": {"image": picture("red")}})),
        ("pictures", ("PUT", f"{ITEMS}/a", {"files": {"image": picture("red")}})),
    ],
)
def test_a_quota_is_used_up_and_tells_when_to_come_again(
    settings: Settings, encoder: FakeEncoder, unit: str, request_: tuple[str, str, dict[str, Any]]
) -> None:
    method, path, options = request_
    with client_of(settings.model_copy(update={f"{unit}_per_minute": 1}), encoder) as client:
        first = client.request(method, path, **options)
        second = client.request(method, path, **options)

    assert first.status_code in (200, 201)
    assert first.headers["ratelimit-policy"] == f'"{unit}";q=1;w=60'
    assert first.headers["ratelimit"].startswith(f'"{unit}";r=0;t=')
    assert (second.status_code, second.json()["type"]) == (429, "rate-limited")
    assert 1 <= int(second.headers["retry-after"]) <= 120


def test_each_key_has_its_own_quota(settings: Settings, encoder: FakeEncoder) -> None:
    with client_of(settings.model_copy(update={"requests_per_minute": 2}), encoder) as client:
        store = KeyStore(client.app_state["resources"].collections.database)  # type: ignore[attr-defined]
        made = [store.create(NewKey(name, ("read",)))[1] for name in "ab"]
        statuses = [ask(client, "GET /v1/models", key).status_code for key in (*made, *made, *made)]
        guesses = [ask(client, "GET /v1/models", "wrong").status_code for _ in range(3)]
        last = ask(client, "GET /v1/models", made[0])

    assert statuses == [200, 200, 200, 200, 429, 429]
    assert guesses == [401, 401, 429], "who tries keys is slowed down, too"
    assert last.headers["ratelimit"].startswith('"requests";r=0;')


def test_without_limits_no_header_tells_of_any(client: TestClient) -> None:
    assert "ratelimit" not in client.get("/v1/models").headers


def test_a_key_of_another_data_folder_is_of_no_use(client: TestClient, make: Make, tmp_path: Any) -> None:
    make("read")
    database = Database(tmp_path / "other.db")
    key: Key
    key, secret = KeyStore(database).create(NewKey("", ALL))
    database.close()

    assert key.scopes == frozenset(ALL)
    assert ask(client, "GET /v1/models", secret).status_code == 401
