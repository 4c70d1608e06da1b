"""HTTP connections behind the guard: so many at a time to one host, and kept for its next request."""

import ssl
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import httpcore
import httpx

from indexer.errors import FetchFailed
from indexer.fetching.addresses import Network
from indexer.fetching.guard import Guard

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0
KEEP_ALIVE_S = 15.0

_MAX_HOSTS = 32
"""Hosts that idle connections are kept to."""


class Connections:
    """Connections to many hosts, so many at a time to each, and those that are idle. Thread-safe.

    Args:
        allowed: Networks that may be connected to although they are not public.
        per_host: Most connections to one scheme, name and port at a time.
    """

    def __init__(self, allowed: Sequence[Network], per_host: int) -> None:
        self._allowed, self._per_host = tuple(allowed), per_host
        self._lock = threading.Lock()
        self._hosts: OrderedDict[_Key, _Host] = OrderedDict()  # the one longest unused is first
        self._busy: set[Connection] = set()
        self._closed = False

    def close(self) -> None:
        """Cut all connections; a thread that waits for one of them gets an error at once."""
        with self._lock:
            self._closed = True
            idle = [connection for host in self._hosts.values() for connection in host.idle]
            self._hosts.clear()
            for connection in self._busy:
                connection.cut()
        for connection in idle:
            connection.close()

    @contextmanager
    def lease(self, url: httpx.URL, deadline: float, *, kept: bool = True) -> Iterator["Connection"]:
        """A connection for one request to the host of an URL.

        Args:
            deadline: When waiting for a free one ends, on the monotonic clock.
            kept: Whether it may be one that was used before.

        Raises:
            FetchFailed: No connection was free in time, or `close` was called.
        """
        origin = _target(url).origin
        host = self._enter((origin.scheme, origin.host, origin.port))
        try:
            if not host.slots.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise FetchFailed("too many requests to the URL's host are under way")
            try:
                connection = self._take(origin, host, kept)
                try:
                    yield connection
                finally:
                    self._put_back(host, connection)
            finally:
                host.slots.release()
        finally:
            self._leave(host)

    def _enter(self, key: "_Key") -> "_Host":
        with self._lock:
            host = self._hosts.setdefault(key, _Host(threading.Semaphore(self._per_host)))
            self._hosts.move_to_end(key)
            host.users += 1
            return host

    def _leave(self, host: "_Host") -> None:
        with self._lock:
            host.users -= 1
            forgotten = [self._hosts.pop(key) for key in self._unneeded()]
        for old in forgotten:
            for connection in old.idle:
                connection.close()

    def _unneeded(self) -> list["_Key"]:
        """Hosts to forget: the longest unused ones where there are too many, and those whose connections are stale."""
        unused = [(key, host) for key, host in self._hosts.items() if not host.users]
        surplus = max(0, len(self._hosts) - _MAX_HOSTS)
        return [
            key
            for number, (key, host) in enumerate(unused)
            if number < surplus or all(connection.is_stale() for connection in host.idle)
        ]

    def _take(self, origin: httpcore.Origin, host: "_Host", kept: bool) -> "Connection":
        with self._lock:
            if self._closed:
                raise FetchFailed("the server is shutting down")
            while kept and host.idle:
                connection = host.idle.pop()
                if not connection.is_stale():
                    break
                connection.close()
            else:
                connection = Connection(origin, self._allowed)
            self._busy.add(connection)
            return connection

    def _put_back(self, host: "_Host", connection: "Connection") -> None:
        with self._lock:
            self._busy.discard(connection)
            if connection.is_reusable() and not self._closed and len(host.idle) < self._per_host:
                host.idle.append(connection)
                return
        connection.close()


_Key = tuple[bytes, bytes, int]
"""Scheme, name and port of a host."""


@dataclass
class _Host:
    slots: threading.Semaphore
    users: int = 0
    idle: list["Connection"] = field(default_factory=list)


class Connection:
    """A connection to one host, for one request at a time; it is made when it is first needed."""

    def __init__(self, origin: httpcore.Origin, allowed: Sequence[Network]) -> None:
        self._origin = origin
        self._guard = Guard(allowed)
        self._http = self._dial()

    @contextmanager
    def exchange(
        self, method: str, url: httpx.URL, headers: Mapping[str, str], body: bytes | None, deadline: float
    ) -> Iterator[httpcore.Response]:
        """Send a request; the block may read the answer's body until the deadline.

        Raises:
            UrlForbidden: The name leads to an address that is not allowed.
            FetchFailed: The name does not resolve, or the headers are too large.
            httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError: What its name says.
        """
        # httpcore writes the host of an IPv6 address without its brackets.
        lines = {"Host": url.netloc.decode("ascii"), **headers}
        if body is not None:
            lines["Content-Length"] = str(len(body))
        timeout = {"connect": CONNECT_TIMEOUT_S, "read": READ_TIMEOUT_S, "write": READ_TIMEOUT_S}
        request = httpcore.Request(
            method, _target(url), headers=list(lines.items()), content=body, extensions={"timeout": timeout}
        )
        self._guard.begin(deadline)
        response = self._send(request)
        self._guard.end_head()
        try:
            yield response
        finally:
            response.close()

    def _send(self, request: httpcore.Request) -> httpcore.Response:
        was_idle = self._http.is_idle()
        try:
            return self._http.handle_request(request)
        except (httpcore.NetworkError, httpcore.RemoteProtocolError):
            if not was_idle:
                raise
        # The server had closed the kept connection before it saw the request.
        self._http.close()
        self._http = self._dial()
        return self._http.handle_request(request)

    def _dial(self) -> httpcore.HTTPConnection:
        tls = _tls_context() if self._origin.scheme == b"https" else None
        return httpcore.HTTPConnection(
            self._origin, ssl_context=tls, keepalive_expiry=KEEP_ALIVE_S, network_backend=self._guard
        )

    def is_reusable(self) -> bool:
        """Whether the last answer was read to its end and the server keeps the connection."""
        return self._http.is_idle() and not self._http.is_closed()

    def is_stale(self) -> bool:
        """Whether the server closed the connection, or it was idle too long."""
        return self._http.has_expired()

    def close(self) -> None:
        """Close it, once no thread uses it."""
        self._http.close()

    def cut(self) -> None:
        """End it under the hands of the thread that uses it, which closes it then."""
        self._guard.cut()


@cache
def _tls_context() -> ssl.SSLContext:
    """One for all, because reading the system's certificates takes longer than many a request."""
    return ssl.create_default_context()


def _target(url: httpx.URL) -> httpcore.URL:
    return httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
