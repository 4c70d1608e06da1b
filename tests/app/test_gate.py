"""What browsers are let do: hosts, origins, CORS, and the headers that they obey."""

from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from indexer.stores.keys import KeyStore, NewKey
from tests.app.conftest import ITEMS, LOCAL, client_of
from tests.fakes import FakeEncoder
from tests.pictures import picture

SHOP = "https://shop.example"
EVIL = "https://evil.example"


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8000", "", "[::2]"])
def test_a_name_that_was_made_to_lead_here_is_refused(client: TestClient, host: str) -> None:
    answer = client.get("/v1/collections", headers={"Host": host})

    assert (answer.status_code, answer.json()["type"]) == (421, "host-unknown")


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "127.1.2.3", "[::1]:80", "a.localhost"])
def test_this_machines_own_names_are_known(client: TestClient, host: str) -> None:
    assert client.get("/v1/collections", headers={"Host": host}).status_code == 200


def test_hosts_can_be_named(settings: Settings, encoder: FakeEncoder) -> None:
    beyond = settings.model_copy(update={"host": "0.0.0.0", "allowed_hosts": ("Search.example",)})
    with client_of(beyond, encoder) as client:
        statuses = {
            host: client.get("/v1/models", headers={"Host": host}).status_code
            for host in ("search.example", "search.example:443", "evil.example", "127.0.0.1")
        }

    assert statuses == {"search.example": 200, "search.example:443": 200, "evil.example": 421, "127.0.0.1": 421}


def test_beyond_loopback_and_with_keys_any_name_will_do(settings: Settings, encoder: FakeEncoder) -> None:
    with client_of(settings.model_copy(update={"host": "0.0.0.0"}), encoder) as client:
        assert client.get("/v1/models", headers={"Host": "search.example"}).status_code == 200
    with client_of(settings, encoder) as client:
        store = KeyStore(client.app_state["resources"].collections.database)  # type: ignore[attr-defined]
        headers = {"Host": "search.example", "Authorization": f"Bearer {store.create(NewKey('', ('read',)))[1]}"}
        assert client.get("/v1/models", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/jobs/x/cancel"), ("PUT", f"{ITEMS}/a"), ("DELETE", f"{ITEMS}/a"), ("POST", ITEMS)],
)
@pytest.mark.parametrize(
    "origin", [EVIL, "null", "", "http://[", "http://127.0.0.1:9999", "http://127.0.0.1.evil.example"]
)
def test_pages_of_other_sites_change_nothing_on_a_server_without_keys(
    client: TestClient, method: str, path: str, origin: str
) -> None:
    answer = client.request(method, path, headers={"Origin": origin}, files={"image": b"x"})

    assert (answer.status_code, answer.json()["type"]) == (403, "origin-forbidden")


def test_the_servers_own_page_and_clients_that_are_no_browser_may(client: TestClient) -> None:
    own = client.put(f"{ITEMS}/a", json={"text": "red"}, headers={"Origin": LOCAL})

    assert own.status_code == 201
    assert client.put(f"{ITEMS}/a", json={"text": "red"}).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_of_another_site_can_send_is_no_json(client: TestClient, content_type: str) -> None:
    answer = client.post(ITEMS, content=b'{"items": []}', headers={"Content-Type": content_type})

    assert answer.status_code == 415


def test_no_answer_sets_a_cookie(client: TestClient) -> None:
    for path in ("/", "/v1/models", "/docs", "/nowhere"):
        assert "set-cookie" not in client.get(path).headers


def test_listed_sites_may_call_and_others_may_not_read(settings: Settings, encoder: FakeEncoder) -> None:
    with client_of(settings.model_copy(update={"allowed_origins": (SHOP,)}), encoder) as client:
        asking = {"Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "authorization"}
        asked = client.options(f"{ITEMS}/a", headers=asking | {"Origin": SHOP})
        put = client.put(f"{ITEMS}/a", json={"text": "red"}, headers={"Origin": SHOP})
        wrong = client.get("/nowhere", headers={"Origin": SHOP})
        refused = client.options(f"{ITEMS}/a", headers=asking | {"Origin": EVIL})
        read = client.get("/v1/models", headers={"Origin": EVIL})

    assert (asked.status_code, asked.headers["access-control-allow-origin"]) == (200, SHOP)
    assert "access-control-allow-credentials" not in asked.headers
    assert (put.status_code, put.headers["access-control-allow-origin"]) == (201, SHOP)
    assert "RateLimit" in put.headers["access-control-expose-headers"]
    assert wrong.headers["access-control-allow-origin"] == SHOP, "a page can read what was wrong, too"
    assert refused.status_code == 400
    assert "access-control-allow-origin" not in read.headers


def test_a_question_before_a_call_needs_no_key(settings: Settings, encoder: FakeEncoder) -> None:
    locked = Settings.model_validate(
        settings.model_dump() | {"api_key": "a-key-of-some-length", "allowed_origins": (SHOP,)}
    )
    with client_of(locked, encoder) as client:
        headers = {"Origin": SHOP, "Access-Control-Request-Method": "GET"}
        assert client.options("/v1/models", headers=headers).status_code == 200
        refused = client.get("/v1/models", headers={"Origin": SHOP})

    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, SHOP)


@pytest.mark.parametrize("path", ["/", "/static/app.js", "/v1/models", "/nowhere", "/healthz", "/metrics"])
def test_no_answer_may_be_framed_guessed_or_run_scripts_of_others(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = dict(part.strip().partition(" ")[::2] for part in headers["content-security-policy"].split(";"))

    assert policy["default-src"] in ("'self'", "'none'")
    assert policy["frame-ancestors"] == "'none'"
    assert "unsafe" not in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")
    assert headers["cross-origin-resource-policy"] == "same-site"


SCRIPT = "<script>alert(1)</script>"


def test_what_is_stored_never_comes_back_as_a_page(client: TestClient) -> None:
    item = f"{ITEMS}/{quote('<img src=x onerror=alert(1)>', safe='')}"
    put = client.put(item, json={"text": SCRIPT, "metadata": {SCRIPT: SCRIPT}})
    job = client.post(
        "/v1/collections/default/ingest",
        files={"file": (f"{SCRIPT}.csv", f"id,image\n{SCRIPT},{SCRIPT}\n".encode())},
    ).json()["id"]
    paths = (item, ITEMS, f"/v1/jobs/{job}", f"/v1/jobs/{job}/errors", "/v1/jobs", f"{ITEMS}/{SCRIPT}", f"/{SCRIPT}")

    answers = [put, *(client.get(path) for path in paths)]

    assert any("script" in answer.text for answer in answers)
    for answer in answers:
        assert "html" not in answer.headers["content-type"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_a_picture_that_could_run_scripts_is_none(client: TestClient) -> None:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'

    answer = client.put(f"{ITEMS}/a", files={"image": ("a.svg", svg, "image/svg+xml")})

    assert (answer.status_code, answer.json()["type"]) == (422, "image-undecodable")


def test_a_picture_may_run_nothing_where_it_is_opened(client: TestClient) -> None:
    client.put(f"{ITEMS}/a", files={"image": ("a.html", picture("red"), "text/html")})

    headers = client.get(f"{ITEMS}/a/image").headers

    assert headers["content-type"].startswith("image/")
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
