"""The one HTTP client for URLs that come from outside: pictures and catalogues are fetched, webhooks are posted to.

A URL from outside is hostile until it is resolved to public addresses (`guard.py`), and what its server answers is
hostile too: redirects are checked anew, headers, size and time are limited, encoded bodies are not decoded. Neither
proxies nor credentials are taken from the environment.
"""

import random
import re
import ssl
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Protocol

import httpcore
import httpx

from indexer.errors import FetchFailed, UrlForbidden
from indexer.fetching.addresses import Network, check_host
from indexer.fetching.answers import ETAG, Head, Sink
from indexer.fetching.connections import Connections

MAX_REDIRECTS = 3
TOTAL_TIMEOUT_S = 20.0
MAX_RETRY_AFTER_S = 5.0
"""Longest pause that a server may ask for."""

_BACKOFF_S = 0.25
_HOST = re.compile(rb"[a-z0-9._-]+|[0-9a-f:.]+")
"""A name as it stands in the DNS, or an address, without the zone that an IPv6 address may have."""


@dataclass(frozen=True)
class Fetched:
    """What an URL gave.

    Args:
        url: Where it came from in the end, after redirects.
        content: The body; None where it is not modified, or went to a file.
        etag: What to send the next time, so that an unchanged body does not come again. None after a redirect: the
            tag is of another URL, and the next redirect may lead elsewhere.
        media_type: As declared, e.g. `text/csv`, without parameters; not to be trusted.
        size: Bytes of the body.
        modified: False where the server knows `etag`, and sent no body.
    """

    url: str
    content: bytes | None
    etag: str | None
    media_type: str | None
    size: int
    modified: bool = True


class Target(Protocol):
    """Where a download goes: a file, or what stands before one."""

    def write(self, data: bytes, /) -> object:
        """Take the next bytes; what it raises ends the download."""
        ...


class Fetcher:
    """Fetches and posts; keeps connections for the next request. Thread-safe.

    Args:
        allowed: Networks that URLs may lead to although they are not public.
        per_host: Most requests to one host at a time; others wait.
        attempts: How often a fetch is tried where the server cannot be connected to or answers 429, 502, 503 or 504.
        timeout_s: For one fetch in all, pauses and redirects and attempts among it, or for one post.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        per_host: int = 4,
        attempts: int = 3,
        timeout_s: float = TOTAL_TIMEOUT_S,
    ) -> None:
        self._allowed, self._attempts, self._timeout_s = allowed, attempts, timeout_s
        self._connections = Connections(allowed, per_host)
        self._closing = threading.Event()

    def __enter__(self) -> "Fetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End what is under way, in any thread, with `FetchFailed`."""
        self._closing.set()
        self._connections.close()

    def check(self, url: str) -> None:
        """Raise `UrlForbidden` for what can be seen to be forbidden before any name is resolved."""
        check_host(_parse(url).raw_host.decode("ascii"), self._allowed)

    def fetch(self, url: str, *, max_bytes: int, etag: str | None = None, accept: str = "image/*") -> Fetched:
        """Fetch a body into memory.

        Args:
            etag: Of the body that is known already, as an earlier `Fetched` gave it.

        Raises:
            UrlForbidden: It is no `http(s)` URL, has a user name, or leads to an address that is not public.
            FetchFailed: It gave an error, not in time, or redirects too often.
            ContentTooLarge: More than `max_bytes`.
        """
        body = bytearray()
        headers = {"Accept": accept}
        if etag is not None and ETAG.fullmatch(etag):
            headers["If-None-Match"] = etag
        fetched = self._get(url, headers, Sink(body.extend, max_bytes), time.monotonic() + self._timeout_s)
        return replace(fetched, content=bytes(body)) if fetched.modified else fetched

    def download(self, url: str, target: Target, *, max_bytes: int, total_timeout_s: float) -> Fetched:
        """Write a body to a file as it comes; after an error the file holds a part of it.

        Raises:
            UrlForbidden, FetchFailed, ContentTooLarge: As `fetch` does.
            OSError: The file cannot be written to.
        """
        return self._get(url, {"Accept": "*/*"}, Sink(target.write, max_bytes), time.monotonic() + total_timeout_s)

    def post(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """Send a body once and give the status of the answer, whatever it is; a redirect is not followed.

        Raises:
            UrlForbidden: As `fetch` does.
            FetchFailed: No answer in time; `transient` where the server was not reached.
        """
        target, deadline = _parse(url), time.monotonic() + self._timeout_s
        # A connection of its own: were a kept one stale, nobody could tell whether the body had arrived.
        lines = {**_headers(), "Connection": "close", **headers}
        with (
            self._connections.lease(target, deadline, kept=False) as connection,
            _network_errors(),
            connection.exchange("POST", target, lines, body, deadline) as response,
        ):
            return response.status

    def _get(self, url: str, headers: Mapping[str, str], sink: Sink, deadline: float) -> Fetched:
        start = _parse(url)
        for attempt in range(1, self._attempts + 1):
            try:
                return self._follow(start, headers, sink, deadline)
            except FetchFailed as error:
                if not error.transient or attempt == self._attempts or not self._pause(attempt, error, deadline):
                    raise
        raise AssertionError("attempts is at least 1")

    def _pause(self, attempt: int, error: FetchFailed, deadline: float) -> bool:
        """Wait before the next attempt; False where there is no time for one."""
        pause = random.uniform(0, _BACKOFF_S * 2**attempt)  # noqa: S311 - so that waiting clients do not come at once
        pause += min(error.retry_after_s or 0.0, MAX_RETRY_AFTER_S)
        return time.monotonic() + pause < deadline and not self._closing.wait(pause)

    def _follow(self, url: httpx.URL, headers: Mapping[str, str], sink: Sink, deadline: float) -> Fetched:
        """Fetch, and follow redirects; the known body is that of the first URL only."""
        for hop in range(MAX_REDIRECTS + 1):
            answer = self._exchange(url, headers, sink, deadline)
            if isinstance(answer, Fetched):
                return answer if hop == 0 else replace(answer, etag=None)
            url = _redirected(url, answer)
            headers = {name: value for name, value in headers.items() if name != "If-None-Match"}
        raise FetchFailed(f"the URL redirects more than {MAX_REDIRECTS} times")

    def _exchange(self, url: httpx.URL, headers: Mapping[str, str], sink: Sink, deadline: float) -> Fetched | str:
        """What the URL gives, or the location it redirects to."""
        lines = {**_headers(), **headers}
        with (
            self._connections.lease(url, deadline) as connection,
            _network_errors(),
            connection.exchange("GET", url, lines, None, deadline) as response,
        ):
            head = Head.of(response)
            if head.location is not None:
                return head.location
            head.check(conditional="If-None-Match" in headers)
            size = sink.fill(head, _blocks(response, deadline))
        modified = head.status != 304
        etag = head.etag if modified else headers["If-None-Match"]
        return Fetched(str(url), None, etag, head.media_type, size, modified)


def _headers() -> dict[str, str]:
    return {"User-Agent": "sightline", "Accept-Encoding": "identity"}


def _parse(url: str) -> httpx.URL:
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise UrlForbidden(f"the URL is malformed: {error}") from error
    return _checked(parsed)


def _checked(url: httpx.URL) -> httpx.URL:
    if url.scheme not in ("http", "https"):
        raise UrlForbidden("the URL is not an http(s) URL")
    if not _HOST.fullmatch(url.raw_host):
        raise UrlForbidden("the URL names no host, or one that is neither a name nor an address")
    if url.userinfo:
        raise UrlForbidden("the URL has a user name or password")
    if url.port is not None and not 0 < url.port < 65536:
        raise UrlForbidden("the URL names no port that can be connected to")
    return url


def _redirected(url: httpx.URL, location: str) -> httpx.URL:
    try:
        target = _checked(url.join(location))
    except UrlForbidden as error:
        raise UrlForbidden(f"a redirect was not followed: {error.detail}") from error
    except (httpx.InvalidURL, ValueError) as error:
        raise FetchFailed("the URL redirects to a malformed one") from error
    if (url.scheme, target.scheme) == ("https", "http"):
        raise UrlForbidden("the URL redirects from https to http")
    return target


def _blocks(response: httpcore.Response, deadline: float) -> Iterator[bytes]:
    """The body in pieces; a server whose every piece comes in time may still be too late."""
    for block in response.iter_stream():
        yield block
        if time.monotonic() > deadline:
            raise httpcore.ReadTimeout()


@contextmanager
def _network_errors() -> Iterator[None]:
    try:
        yield
    except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
        if isinstance(error.__cause__, ssl.SSLError):
            raise FetchFailed(f"no secure connection to the URL's server: {error}") from error
        raise FetchFailed("the URL's server cannot be connected to", transient=True) from error
    except httpcore.TimeoutException as error:
        raise FetchFailed("the URL's server does not answer in time") from error
    except (httpcore.NetworkError, httpcore.ProtocolError) as error:
        raise FetchFailed(f"the URL could not be fetched: {type(error).__name__}") from error
