"""URLs made to reach what they must not: each is refused before a byte is sent, and no answer gets around that."""

import contextlib
import gzip
import ipaddress
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from httpcore._backends.sync import SyncStream

from indexer.errors import ContentTooLarge, FetchFailed, UrlForbidden
from indexer.fetching.addresses import is_allowed
from indexer.fetching.fetcher import Fetcher
from tests.servers import Answer, Request, Server, answer, flood, redirect, serve

LOOPBACK = [ipaddress.ip_network("127.0.0.0/8")]

FORBIDDEN = {
    "loopback": "http://127.0.0.1/",
    "loopback, with a port": "http://127.0.0.1:8000/v1/models",
    "loopback over TLS": "https://127.0.0.1/",
    "the end of loopback": "http://127.255.255.254/",
    "localhost": "http://localhost/",
    "localhost in capitals": "http://LOCALHOST/",
    "this host": "http://0.0.0.0/",
    "this host's network": "http://0.1.2.3/",
    "zero": "http://0/",
    "loopback, decimal": "http://2130706433/",
    "loopback, hexadecimal": "http://0x7f000001/",
    "loopback, octal": "http://017700000001/",
    "loopback, octal parts": "http://0177.0.0.01/",
    "loopback, hexadecimal parts": "http://0x7f.0x0.0x0.0x1/",
    "loopback, two parts": "http://127.1/",
    "loopback, three parts": "http://127.0.1/",
    "loopback, mixed": "http://0x7f.1/",
    "loopback in full-width digits": "http://\uff11\uff12\uff17.0.0.1/",
    "loopback in circled digits": "http://①②⑦.⓪.⓪.①/",
    "loopback with an ideographic stop": "http://127。0。0。1/",
    "loopback, percent-encoded": "http://%31%32%37.0.0.1/",
    "loopback, a dot percent-encoded": "http://127%2e0.0.1/",
    "localhost, percent-encoded": "http://%6c%6f%63%61lhost/",
    "loopback, percent-encoded twice": "http://%2531%32%37.0.0.1/",
    "a slash in the host, percent-encoded": "http://93.184.216.34%2f.example/",
    "loopback with full-width stops": "http://127．0．0．1/",
    "loopback with half-width stops": "http://127｡0｡0｡1/",
    "loopback in bold digits": "http://𝟏𝟐𝟕.𝟎.𝟎.𝟏/",
    "localhost in full-width letters": "http://ｌｏｃａｌｈｏｓｔ/",
    "localhost with a soft hyphen": "http://local\u00adhost/",
    "loopback with a space of no width": "http://127.0\u200b.0.1/",
    "loopback, octal parts with many zeros": "http://0000177.0.0.1/",
    "private, two parts": "http://10.1/",
    "private, octal parts": "http://0300.0250.0.1/",
    "private, hexadecimal parts": "http://0xC0.0xA8.0x00.0x01/",
    "link-local, decimal": "http://2852039166/",
    "cloud metadata": "http://169.254.169.254/latest/meta-data/",
    "cloud metadata, hexadecimal": "http://0xa9fea9fe/",
    "cloud metadata of a container": "http://169.254.170.2/v2/credentials",
    "cloud metadata of Oracle": "http://192.0.0.192/opc/v2/",
    "cloud metadata of Alibaba": "http://100.100.100.200/",
    "cloud metadata of Azure": "http://168.63.129.16/machine?comp=goalstate",
    "private 10": "http://10.0.0.1/",
    "private 172.16": "http://172.16.0.1/",
    "private 172.31": "http://172.31.255.255/",
    "private 192.168": "http://192.168.0.1/admin",
    "private, decimal": "http://167772161/",
    "carrier-grade NAT": "http://100.64.0.1/",
    "the end of carrier-grade NAT": "http://100.127.255.255/",
    "protocol assignments": "http://192.0.0.1/",
    "documentation 1": "http://192.0.2.1/",
    "documentation 2": "http://198.51.100.1/",
    "documentation 3": "http://203.0.113.1/",
    "relays to 6to4": "http://192.88.99.1/",
    "benchmarks": "http://198.18.0.1/",
    "the end of benchmarks": "http://198.19.255.255/",
    "multicast": "http://224.0.0.1/",
    "multicast, scoped": "http://239.255.255.250:1900/",
    "reserved": "http://240.0.0.1/",
    "broadcast": "http://255.255.255.255/",
    "IPv6 loopback": "http://[::1]/",
    "IPv6 loopback, written out": "http://[0:0:0:0:0:0:0:1]:9200/",
    "IPv6 unspecified": "http://[::]/",
    "IPv6 loopback without brackets": "http://::1/",
    "IPv6 loopback with a zone": "http://[::1%25lo]/",
    "IPv6 loopback in full-width": "http://[：：１]/",
    "IPv4 in brackets": "http://[127.0.0.1]/",
    "IPv4-mapped loopback": "http://[::ffff:127.0.0.1]/",
    "IPv4-mapped private, hexadecimal": "http://[::ffff:a00:1]/",
    "IPv4-mapped public": "http://[::ffff:93.184.216.34]/",
    "IPv4-mapped loopback with a zone": "http://[::ffff:127.0.0.1%251]/",
    "IPv4-compatible loopback": "http://[::127.0.0.1]/",
    "IPv4-compatible public": "http://[::93.184.216.34]/",
    "IPv4-translated": "http://[::ffff:0:127.0.0.1]/",
    "NAT64 to loopback": "http://[64:ff9b::7f00:1]/",
    "NAT64 to a private address": "http://[64:ff9b::10.0.0.1]/",
    "NAT64 to metadata": "http://[64:ff9b::169.254.169.254]/",
    "local NAT64": "http://[64:ff9b:1::7f00:1]/",
    "6to4 to loopback": "http://[2002:7f00:1::]/",
    "6to4 to metadata": "http://[2002:a9fe:a9fe::1]/",
    "6to4 to a public address": "http://[2002:5db8:d822::1]/",
    "Teredo": "http://[2001:0:4136:e378:8000:63bf:3fff:fdd2]/",
    "ORCHID": "http://[2001:20::1]/",
    "IPv6 documentation": "http://[2001:db8::1]/",
    "IPv6 documentation, the later range": "http://[3fff::1]/",
    "IPv6 benchmarks": "http://[2001:2::1]/",
    "IPv6 discard": "http://[100::1]/",
    "unique-local": "http://[fc00::1]/",
    "unique-local, assigned": "http://[fd00:ec2::254]/",
    "cloud metadata of Google over IPv6": "http://[fd20:ce::254]/",
    "IPv6 link-local": "http://[fe80::1]/",
    "IPv6 link-local with a zone": "http://[fe80::1%25lo]/",
    "site-local": "http://[fec0::1]/",
    "IPv6 multicast": "http://[ff02::1]/",
    "IPv6 multicast, global": "http://[ff0e::1]/",
    "segment routing": "http://[5f00::1]/",
    "outside of what is assigned": "http://[4000::1]/",
    "a user": "http://user@93.184.216.34/",
    "a user and a password": "https://user:pass@93.184.216.34/",
    "a host as the user": "http://93.184.216.34@127.0.0.1/",
    "a host as the user, with a fragment": "http://127.0.0.1#@93.184.216.34/",
    "a host behind a backslash": "http://127.0.0.1\\@93.184.216.34/",
    "a password that is none": "http://:@127.0.0.1/",
    "an encoded at-sign": "http://93.184.216.34%40127.0.0.1/",
    "port zero": "http://93.184.216.34:0/",
    "port 65536": "http://93.184.216.34:65536/",
    "a negative port": "http://93.184.216.34:-1/",
    "a port by its name": "http://93.184.216.34:http/",
    "two ports": "http://93.184.216.34:80:81/",
    "no host": "http:///picture.png",
    "no host but a port": "http://:80/",
    "no slashes": "http:127.0.0.1/",
    "one slash": "http:/127.0.0.1/",
    "four slashes": "http:////127.0.0.1/",
    "backslashes": "http:\\\\127.0.0.1\\",
    "a name on a Windows network": "\\\\93.184.216.34\\share",
    "two hosts": "http://93.184.216.34,127.0.0.1/",
    "a host after a space": "http://93.184.216.34 127.0.0.1/",
    "a file": "file:///etc/passwd",
    "a file with a host": "file://localhost/etc/passwd",
    "FTP": "ftp://93.184.216.34/picture.png",
    "gopher": "gopher://127.0.0.1:6379/_SET%20a%20b",
    "dict": "dict://127.0.0.1:11211/stats",
    "LDAP": "ldap://127.0.0.1/",
    "jar": "jar:http://127.0.0.1!/",
    "javascript": "javascript:alert(1)",
    "data": "data:image/png;base64,AA==",
    "a web socket": "ws://93.184.216.34/",
    "SFTP": "sftp://93.184.216.34/",
    "SMB": "smb://93.184.216.34/share",
    "a filter of PHP": "php://filter/resource=/etc/passwd",
    "a socket of Docker": "http+unix://%2fvar%2frun%2fdocker.sock/info",
    "a URL within a URL": "view-source:http://127.0.0.1/",
    "a tab in the scheme": "ht\ttp://127.0.0.1/",
    "no scheme": "//93.184.216.34/",
    "a path": "/etc/passwd",
    "nothing": "",
    "a line break": "http://93.184.216.34/\r\nHost: 127.0.0.1",
    "a line break in the host": "http://127.0.\n0.1/",
    "a tab in the host": "http://127.0.\t0.1/",
    "a tab after the host": "http://93.184.216.34\t/",
    "a space before": " http://127.0.0.1/",
    "a null byte": "http://93.184.216.34/\x00",
    "a port out of range": "http://93.184.216.34:99999/",
    "half an IPv6 address": "http://[::1/",
    "an address without end": "http://93.184.216.34/" + "x" * 70_000,
}


def test_there_are_many_cases() -> None:
    assert len(FORBIDDEN) >= 140
    assert len(set(FORBIDDEN.values())) == len(FORBIDDEN)


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetcher]:
    """A fetcher without exceptions, in a process where nothing can be connected to."""

    def connect(*_: object, **__: object) -> None:
        pytest.fail("a connection was attempted")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket, "create_connection", connect)
    with Fetcher() as fetcher:
        yield fetcher


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_url_is_refused_before_anything_is_sent(strict: Fetcher, name: str) -> None:
    with pytest.raises(UrlForbidden):
        strict.fetch(FORBIDDEN[name], max_bytes=9)
    with pytest.raises(UrlForbidden):
        strict.post(FORBIDDEN[name], b"{}", {})


@pytest.mark.parametrize("address", ["93.184.216.34", "1.1.1.1", "172.32.0.1", "2606:2800:220:1::1", "2a00:1450::1"])
def test_public_addresses_are_allowed(address: str) -> None:
    assert is_allowed(ipaddress.ip_address(address))


def test_an_allowed_network_lets_through_itself_only() -> None:
    allowed = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00:1::/32")]
    for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00:1::5"):
        assert is_allowed(ipaddress.ip_address(address), allowed)
    for address in ("10.2.0.1", "::10.1.2.3", "64:ff9b::10.1.2.3", "fd00:2::5", "127.0.0.1"):
        assert not is_allowed(ipaddress.ip_address(address), allowed)


# Names


Resolve = Callable[[dict[str, list[list[str]]]], list[str]]


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Resolve:
    """Make names resolve to one list of addresses after the other; gives the names that are asked for."""
    real = socket.getaddrinfo

    def use(names: dict[str, list[list[str]]]) -> list[str]:
        asked: list[str] = []

        def getaddrinfo(host: str, port: int, *rest: object, **options: object) -> object:
            if host not in names:
                return real(host, port, *rest, **options)  # type: ignore[arg-type]
            asked.append(host)
            answers = names[host]
            addresses = answers.pop(0) if len(answers) > 1 else answers[0]
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        return asked

    return use


class Connects:
    """Stands for the network: notes where connections would go, and leads them all to one server on loopback."""

    def __init__(self, port: int) -> None:
        self.addresses: list[tuple[str, int]] = []
        self._port, self._real = port, socket.create_connection

    def __call__(self, address: tuple[str, int], *rest: object, **options: object) -> socket.socket:
        self.addresses.append(address)
        return self._real(("127.0.0.1", self._port), *rest, **options)  # type: ignore[arg-type]


def test_the_address_that_was_checked_is_connected_to_however_the_name_resolves_later(
    resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"/": lambda *_: answer(b"x", connection="close")}) as server, Fetcher() as fetcher:
        connects = Connects(server.port)
        monkeypatch.setattr(socket, "create_connection", connects)
        asked = resolve({"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]})
        assert fetcher.fetch("http://rebind.example/", max_bytes=9).content == b"x"
        assert (connects.addresses, asked) == ([("93.184.216.34", 80)], ["rebind.example"])
        with pytest.raises(UrlForbidden):  # the next connection is checked anew
            fetcher.fetch("http://rebind.example/", max_bytes=9)
        assert (len(connects.addresses), len(server.requests)) == (1, 1)


def test_a_kept_connection_stays_at_the_address_that_was_checked(
    resolve: Resolve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve({"/": answer(b"x")}) as server, Fetcher() as fetcher:
        connects = Connects(server.port)
        monkeypatch.setattr(socket, "create_connection", connects)
        asked = resolve({"rebind.example": [["93.184.216.34"], ["127.0.0.1"]]})
        for _ in range(3):
            fetcher.fetch("http://rebind.example/", max_bytes=9)
        assert (connects.addresses, asked) == ([("93.184.216.34", 80)], ["rebind.example"])
        with pytest.raises(UrlForbidden):  # another port is another host
            fetcher.fetch("http://rebind.example:81/", max_bytes=9)


@pytest.mark.parametrize("private", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"])
def test_a_name_with_one_address_that_is_not_public_is_refused(strict: Fetcher, resolve: Resolve, private: str) -> None:
    for addresses in ([private], ["93.184.216.34", private], [private, "93.184.216.34"]):
        resolve({"shop.example": [addresses]})
        with pytest.raises(UrlForbidden):
            strict.fetch("http://shop.example/", max_bytes=9)


@pytest.mark.parametrize(
    ("host", "asked_for"),
    [
        ("metadata.google.internal", "metadata.google.internal"),
        ("metadata.google.internal.", "metadata.google.internal."),
        ("METADATA.google.internal", "metadata.google.internal"),
        ("metadata。google。internal", "metadata.google.internal"),
        ("169.254.169.254.nip.example", "169.254.169.254.nip.example"),
        ("169.254.169.254.", "169.254.169.254."),
        ("localhost.", "localhost."),
        ("127.1.", "127.1."),
    ],
)
def test_a_name_is_judged_by_its_addresses_however_it_is_written(
    strict: Fetcher, resolve: Resolve, host: str, asked_for: str
) -> None:
    asked = resolve({asked_for: [["169.254.169.254"]]})
    with pytest.raises(UrlForbidden):
        strict.fetch(f"http://{host}/", max_bytes=9)
    assert asked == [asked_for]


def test_a_name_without_addresses_is_refused(strict: Fetcher, resolve: Resolve) -> None:
    resolve({"shop.example": [[]]})
    with pytest.raises(UrlForbidden):
        strict.fetch("http://shop.example/", max_bytes=9)


# Redirects


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    with Fetcher(LOOPBACK, timeout_s=2) as opened:
        yield opened


@pytest.fixture
def server() -> Iterator[Server]:
    with serve({"/picture": answer(b"picture")}) as running:
        yield running


@pytest.mark.parametrize(
    "location",
    [
        "http://10.0.0.1/", "http://169.254.169.254/", "//10.0.0.1/x", "http://167772161/", "http://0x0a000001/",
        "http://0/", "http://[::1]/", "http://[::ffff:10.0.0.1]/", "http://[64:ff9b::a00:1]/", "https://10.0.0.1/",
        "file:///etc/passwd", "ftp://93.184.216.34/", "gopher://127.0.0.1/_x", "javascript:alert(1)", "data:,x",
        "http://user@127.0.0.1/", "http://127.0.0.1:0/", "http://127.0.0.1:99999/", "http://inside.example/",
    ],
)  # fmt: skip
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_checked_as_the_first_url_is(
    fetcher: Fetcher, server: Server, resolve: Resolve, location: str, status: int
) -> None:
    resolve({"inside.example": [["10.0.0.1"]]})
    server.answers["/start"] = redirect(location, status)
    with pytest.raises(UrlForbidden):
        fetcher.fetch(f"{server.url}/start", max_bytes=9)
    assert len(server.requests) == 1


def test_from_a_public_server_no_redirect_leads_to_loopback(resolve: Resolve, monkeypatch: pytest.MonkeyPatch) -> None:
    with serve({"/picture": answer(b"x")}) as inside, serve({}) as outside, Fetcher() as fetcher:
        connects = Connects(outside.port)
        monkeypatch.setattr(socket, "create_connection", connects)
        resolve({"shop.example": [["93.184.216.34"]]})
        for location in (f"{inside.url}/picture", f"http://localhost:{inside.port}/picture"):
            outside.answers["/"] = redirect(location)
            with pytest.raises(UrlForbidden):
                fetcher.fetch("http://shop.example/", max_bytes=9)
        assert (inside.requests, {address for address, _ in connects.addresses}) == ([], {"93.184.216.34"})


@pytest.mark.parametrize("location", ["", "http://[", "http://a b/", "\x00", "http://" + "a" * 300 + ".example/"])
def test_a_redirect_to_nowhere_fails(fetcher: Fetcher, server: Server, location: str) -> None:
    server.answers["/start"] = redirect(location)
    with pytest.raises((UrlForbidden, FetchFailed)):
        fetcher.fetch(f"{server.url}/start", max_bytes=9)


def test_three_redirects_are_followed_and_no_more(fetcher: Fetcher, server: Server) -> None:
    server.answers |= {f"/{left}": redirect(f"/{left - 1}" if left > 1 else "/picture") for left in range(1, 5)}
    assert fetcher.fetch(f"{server.url}/3", max_bytes=9).content == b"picture"
    assert len(server.requests) == 4
    with pytest.raises(FetchFailed, match="more than 3"):
        fetcher.fetch(f"{server.url}/4", max_bytes=9)


def test_redirects_in_a_circle_come_to_an_end(fetcher: Fetcher, server: Server) -> None:
    server.answers |= {"/a": redirect("/b"), "/b": redirect("/a")}
    with pytest.raises(FetchFailed, match="more than 3"):
        fetcher.fetch(f"{server.url}/a", max_bytes=9)
    assert len(server.requests) == 4


def test_no_redirect_leads_from_https_to_http(
    fetcher: Fetcher, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The server speaks no TLS; that the scheme is https is what counts.
    monkeypatch.setattr(SyncStream, "start_tls", lambda stream, *_, **__: stream)
    secure = f"https://127.0.0.1:{server.port}"
    server.answers |= {"/up": redirect(f"{secure}/down"), "/down": redirect(f"{server.url}/picture")}
    for path in ("/up", "/down"):
        with pytest.raises(UrlForbidden, match="https to http"):
            fetcher.fetch(secure + path, max_bytes=9)
    assert [request.target for request in server.requests] == ["/up", "/down", "/down"]


def test_what_speaks_no_tls_is_not_spoken_to_without(fetcher: Fetcher) -> None:
    def refuse() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            connection.recv(10_000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(FetchFailed, match="secure"):
            fetcher.fetch(f"https://127.0.0.1:{listener.getsockname()[1]}/picture", max_bytes=9)
        thread.join()


# Answers


def drip(first: bytes, piece: bytes, pause_s: float = 0.02) -> Answer:
    """Send a piece again and again, each in good time."""

    def send(_: Request, connection: socket.socket) -> None:
        connection.sendall(first)
        for _ in range(500):
            connection.sendall(piece)
            time.sleep(pause_s)

    return send


HEAD = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "slow",
    [
        drip(b"", b""),
        drip(b"HTTP/1.1 2", b""),
        drip(HEAD, b"x-drip: 1\r\n"),
        drip(HEAD + b"x-long: ", b"x"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        drip(HEAD + b"content-length: 1000\r\n\r\n", b"x"),
        drip(HEAD + b"\r\n", b"x"),
        drip(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        drip(HEAD + b"transfer-encoding: chunked\r\n\r\n1;", b"x"),
        drip(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n"),
    ],
    ids=["nothing", "half a status", "headers", "one header", "interim answers", "body", "body without length",
         "chunks", "chunk extension", "trailers"],
)  # fmt: skip
def test_a_server_that_drips_is_left_in_time(server: Server, slow: Answer) -> None:
    server.answers["/slow"] = slow
    started = time.monotonic()
    with Fetcher(LOOPBACK, timeout_s=0.3) as fetcher, pytest.raises(FetchFailed):
        fetcher.fetch(f"{server.url}/slow", max_bytes=100_000)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    ("endless", "error"),
    [
        (flood(HEAD + b"\r\n", b"x" * 65536), ContentTooLarge),
        (flood(HEAD + b"content-length: 99999999999\r\n\r\n", b"x" * 65536), ContentTooLarge),
        (flood(HEAD + b"transfer-encoding: chunked\r\n\r\n", b"10000\r\n" + b"x" * 65536 + b"\r\n"), ContentTooLarge),
        (flood(HEAD + b"transfer-encoding: chunked\r\n\r\n1;", b"x" * 65536), FetchFailed),
        (flood(HEAD + b"transfer-encoding: chunked\r\n\r\n0\r\n", b"x: y\r\n" * 8192), FetchFailed),
        (flood(HEAD, b"x-more: " + b"x" * 8192 + b"\r\n"), FetchFailed),
        (flood(HEAD + b"x-one: ", b"x" * 65536), FetchFailed),
        (flood(HEAD, b"a:b\r\n" * 8192), FetchFailed),
        (flood(b"", b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * 1024), FetchFailed),
        (flood(b"", b"x" * 65536), FetchFailed),
    ],
    ids=["body", "declared body", "chunks", "chunk extension", "trailers", "headers", "one header", "many headers",
         "interim answers", "no head"],
)  # fmt: skip
def test_what_does_not_end_is_ended(server: Server, endless: Answer, error: type[Exception]) -> None:
    server.answers["/endless"] = endless
    started = time.monotonic()
    with Fetcher(LOOPBACK) as fetcher, pytest.raises(error):
        fetcher.fetch(f"{server.url}/endless", max_bytes=300_000)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize(
    "bad",
    [
        HEAD + b"content-length: 100\r\nconnection: close\r\n\r\nshort",
        HEAD + b"content-length: -1\r\n\r\nx",
        HEAD + b"content-length: x\r\n\r\nx",
        HEAD + b"content-length: 1, 2\r\n\r\nxx",
        HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
        HEAD + b"content-length: " + b"9" * 5000 + b"\r\n\r\nx",
        HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\nx",
        HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"ICY 200 OK\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        b"\x00" * 100,
        b"",
        answer(status=304),
        answer(gzip.compress(b"\x00" * 10_000_000), content_encoding="gzip"),
        answer(b"x", content_encoding="br"),
        answer(b"x", content_encoding="identity, gzip"),
        answer(b"x", content_encoding="x-unknown"),
        answer(b"x", status=206, content_range="bytes 0-0/9"),
    ],
    ids=["length too large", "length negative", "length no number", "lengths differ", "two lengths", "length of digits",
         "coded transfer", "chunk size", "chunk cut", "status", "protocol", "switch", "zeros", "nothing",
         "304 unasked", "gzip bomb", "br", "identity and gzip", "unknown coding", "part"],
)  # fmt: skip
def test_a_wrong_answer_is_no_content(fetcher: Fetcher, server: Server, bad: bytes) -> None:
    def send(_: Request, connection: socket.socket) -> None:
        connection.sendall(bad)

    server.answers["/bad"] = send
    with pytest.raises(FetchFailed):
        fetcher.fetch(f"{server.url}/bad", max_bytes=100_000)
    with pytest.raises(FetchFailed, match="status 304") if b" 304 " in bad else pytest.raises(FetchFailed):
        fetcher.fetch(f"{server.url}/bad", max_bytes=100_000, etag="none")


def test_bytes_after_a_body_do_not_get_into_the_next_answer(fetcher: Fetcher, server: Server) -> None:
    server.answers["/long"] = answer(b"picture") + b"and more"
    for _ in range(3):
        assert fetcher.fetch(f"{server.url}/long", max_bytes=99).content == b"picture"
        assert fetcher.fetch(f"{server.url}/picture", max_bytes=99).content == b"picture"


def test_a_post_does_not_wait_for_a_body_that_nobody_reads(fetcher: Fetcher, server: Server) -> None:
    server.answers["/hook"] = flood(HEAD + b"\r\n", b"x" * 65536)
    started = time.monotonic()
    assert fetcher.post(f"{server.url}/hook", b"{}", {}) == 200
    assert time.monotonic() - started < 5


def test_a_server_that_does_not_read_is_left_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf, Fetcher(LOOPBACK, timeout_s=0.3) as fetcher:
        started = time.monotonic()
        with pytest.raises(FetchFailed):
            fetcher.post(f"http://127.0.0.1:{deaf.getsockname()[1]}/", b"x" * 20_000_000, {})
        assert time.monotonic() - started < 5


def test_hostile_and_friendly_servers_share_a_fetcher(server: Server) -> None:
    """Many threads, half of whose servers misbehave: the others get what they asked for."""
    server.answers |= {
        "/flood": flood(HEAD + b"\r\n", b"x" * 65536),
        "/garbage": b"\x00" * 100,
        "/long": answer(b"p" * 7) + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil",
    }
    found: list[bytes | None] = []

    with serve({"/picture": answer(b"friend")}) as friend, Fetcher(LOOPBACK, per_host=2) as fetcher:

        def work(number: int) -> None:
            for path in ("/flood", "/garbage", "/long"):
                with contextlib.suppress(FetchFailed, ContentTooLarge):
                    fetcher.fetch(server.url + path, max_bytes=1000)
                found.append(fetcher.fetch(f"{friend.url}/picture", max_bytes=9).content)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [b"friend"] * 18
