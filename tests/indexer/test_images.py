"""Pictures named by strings: data: URIs, and URLs that must lead to public addresses only."""

import contextlib
import ipaddress
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from indexer.errors import ImageFetchFailed, ItemInvalid, UrlForbidden
from indexer.fetching.addresses import is_allowed
from indexer.fetching.fetcher import Fetcher
from indexer.fetching.images import load_image
from models.errors import ImageTooLarge
from models.imaging import ImageLimits
from tests.pictures import data_uri, picture

LIMITS = ImageLimits(max_bytes=10_000)
LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path:
            case "/picture":
                self._answer(200, picture("red"))
            case "/large":
                self._answer(200, b"x" * 20_000)
            case "/inside":
                self._answer(302, b"", "http://10.0.0.1/")
            case "/file":
                self._answer(302, b"", "file:///etc/passwd")
            case "/loop":
                self._answer(302, b"", "/loop")
            case "/once":
                self._answer(302, b"", "/picture")
            case "/lower":
                self.wfile.write(b"HTTP/1.1 302 Found\r\nlocation: /picture\r\ncontent-length: 0\r\n\r\n")
            case "/r%C3%B6d%20kjol.png":
                self._answer(200, picture("red"))
            case "/drip":
                self._drip()
            case _:
                self._answer(404, b"")

    def _answer(self, status: int, body: bytes, location: str = "") -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _drip(self) -> None:
        """A header line now and then, each well within the time that one read may take."""
        with contextlib.suppress(OSError):
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            for number in range(100):
                self.wfile.write(b"x-drip: %d\r\n" % number)
                time.sleep(0.05)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


def test_a_data_uri_is_its_bytes() -> None:
    assert load_image(data_uri(picture("red")), LIMITS) == picture("red")
    assert load_image("data:image/png,%00a", LIMITS) == b"\x00a"


@pytest.mark.parametrize(
    "text", ["", "a.png", "/etc/passwd", "file:///etc/passwd", "ftp://a/b", "data:nothing", "data:;base64,%%%"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ItemInvalid):
        load_image(text, LIMITS)


def test_a_data_uri_over_the_limit_is_not_decoded() -> None:
    with pytest.raises(ImageTooLarge):
        load_image("data:;base64," + "A" * 50_000, LIMITS)


def test_a_url_within_the_allowed_networks_is_fetched(server: str) -> None:
    assert load_image(f"{server}/picture", LIMITS, LOOPBACK) == picture("red")
    assert load_image(f"{server}/once", LIMITS, LOOPBACK) == picture("red")


@pytest.mark.parametrize(
    ("path", "error"),
    [
        ("/large", ImageTooLarge),
        ("/inside", UrlForbidden),
        ("/file", UrlForbidden),
        ("/loop", ImageFetchFailed),
        ("/nothing", ImageFetchFailed),
    ],
)
def test_what_a_server_answers_is_not_trusted(server: str, path: str, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        load_image(server + path, LIMITS, LOOPBACK, "/query/image")
    assert getattr(caught.value, "pointer", "/query/image") == "/query/image"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "0",
     "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[fe80::1]",
     "[fc00::1]", "[::ffff:127.0.0.1]", "[::ffff:10.0.0.1]", "[2002:7f00:1::]", "[ff02::1]"],
)  # fmt: skip
def test_no_url_leads_to_an_address_that_is_not_public(host: str) -> None:
    with pytest.raises(UrlForbidden):
        load_image(f"http://{host}:9/picture", LIMITS)


def test_a_name_with_one_private_address_is_refused_and_the_checked_address_is_connected_to(
    monkeypatch: pytest.MonkeyPatch, server: str
) -> None:
    answers = iter([["127.0.0.1"], ["93.184.216.34", "127.0.0.1"]])
    asked: list[str] = []

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in next(answers)]

    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **options: (
            resolve(host, *rest, **options) if host == "shop.example" else real(host, *rest, **options)
        ),
    )
    port = server.rpartition(":")[2]
    assert load_image(f"http://shop.example:{port}/picture", LIMITS, LOOPBACK) == picture("red")
    assert asked == ["shop.example"]
    with pytest.raises(UrlForbidden):
        load_image(f"http://shop.example:{port}/picture", LIMITS)


def test_public_addresses_are_allowed() -> None:
    assert is_allowed(ipaddress.ip_address("93.184.216.34"), [])
    assert is_allowed(ipaddress.ip_address("2606:2800:220:1::1"), [])


def test_a_redirect_is_followed_however_its_header_is_spelt(server: str) -> None:
    assert load_image(f"{server}/lower", LIMITS, LOOPBACK) == picture("red")


def test_a_path_may_have_spaces_and_accents_as_people_write_them(server: str) -> None:
    assert load_image(f"{server}/röd kjol.png", LIMITS, LOOPBACK) == picture("red")
    assert load_image(f"{server.upper()}/r%C3%B6d%20kjol.png", LIMITS, LOOPBACK) == picture("red")


def test_a_server_that_drips_its_headers_is_left_in_time(server: str) -> None:
    started = time.monotonic()
    with Fetcher(LOOPBACK, timeout_s=0.4) as fetcher, pytest.raises(ImageFetchFailed):
        load_image(f"{server}/drip", LIMITS, fetcher=fetcher)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "url", ["http://", "http://[::1", "http://a b/", "http://a:99999999/", "http://\x00/", "https://:1/"]
)
def test_a_malformed_url_is_refused(url: str) -> None:
    with pytest.raises((UrlForbidden, ImageFetchFailed)):
        load_image(url, LIMITS)


def test_the_next_address_is_tried_when_one_does_not_answer(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = int(server.rpartition(":")[2])
    # The server listens on the second only.
    answer = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("::1", "127.0.0.1")]
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, *a, **k: answer if host == "shop.example" else real(host, *a, **k)
    )
    assert load_image(
        f"http://shop.example:{port}/picture", LIMITS, [*LOOPBACK, ipaddress.ip_network("::1")]
    ) == picture("red")
