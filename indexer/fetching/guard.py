"""The network layer of httpcore, the library under httpx, as a guard.

It resolves a name, requires every address to be allowed, and connects to the very addresses that it checked, so that a
name which resolves differently a moment later (DNS rebinding) gains nothing.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore

from indexer.errors import FetchFailed
from indexer.fetching.addresses import Network, resolve

MAX_HEAD_BYTES = 64 * 2**10
"""Most bytes of a status line and its headers, give or take one read from the socket."""

_MAX_ADDRESSES = 4
_WRITE_BYTES = 16 * 2**10


class Guard(httpcore.NetworkBackend):
    """Connects to the very addresses that were found to be allowed, and keeps to the deadline of the request."""

    def __init__(self, allowed: Sequence[Network]) -> None:
        self._allowed = allowed
        self._sockets = httpcore.SyncBackend()
        self._deadline, self._head_bytes = 0.0, 0
        self._in_head, self._is_cut = True, False
        self._stream: httpcore.NetworkStream | None = None

    def begin(self, deadline: float) -> None:
        """A request starts, to be done by a deadline on the monotonic clock."""
        self._deadline, self._head_bytes, self._in_head = deadline, 0, True

    def end_head(self) -> None:
        """What is read from here on is a body, whose size is the reader's to limit."""
        self._in_head = False

    def cut(self) -> None:
        """Let nothing more through, and wake whoever reads or writes: closing the socket would not."""
        self._is_cut, stream = True, self._stream
        if stream is not None:
            with contextlib.suppress(OSError):  # it may be closed already
                socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)

    def within(self, timeout: float | None, late: type[Exception]) -> float:
        """Seconds that an operation may take."""
        left = self._deadline - time.monotonic()
        if left <= 0 or self._is_cut:
            raise late()
        return left if timeout is None else min(left, timeout)

    def count(self, data: bytes) -> bytes:
        """Pass on what was read, unless headers do not come to an end."""
        if self._in_head:
            if self._head_bytes > MAX_HEAD_BYTES:
                raise FetchFailed(f"the URL's server sends more than {MAX_HEAD_BYTES:,} bytes of headers")
            self._head_bytes += len(data)
        return data

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, require every address to be allowed, connect to the first that answers."""
        failure: Exception = httpcore.ConnectError()
        for address in resolve(host, port, self._allowed)[:_MAX_ADDRESSES]:
            try:
                left = self.within(timeout, httpcore.ConnectTimeout)
                return self._guarded(self._sockets.connect_tcp(address, port, left, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    def start_tls(
        self,
        stream: httpcore.NetworkStream,
        context: ssl.SSLContext,
        hostname: str | None,
        timeout: float | None,
    ) -> httpcore.NetworkStream:
        """The same over TLS; the certificate must be of the name, not of the address."""
        try:
            left = self.within(timeout, httpcore.ConnectTimeout)
        except httpcore.ConnectTimeout:
            stream.close()
            raise
        return self._guarded(stream.start_tls(context, hostname, left))

    def _guarded(self, stream: httpcore.NetworkStream) -> "_Stream":
        self._stream = stream
        return _Stream(stream, self)


class _Stream(httpcore.NetworkStream):
    """A connection that keeps to a deadline: a timeout of its own for each read would let a server drip for ever."""

    def __init__(self, stream: httpcore.NetworkStream, guard: Guard) -> None:
        self._stream, self._guard = stream, guard

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there."""
        return self._guard.count(self._stream.read(max_bytes, self._guard.within(timeout, httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all, in pieces, so that a server that reads slowly is noticed too."""
        for start in range(0, len(buffer), _WRITE_BYTES):
            left = self._guard.within(timeout, httpcore.WriteTimeout)
            self._stream.write(buffer[start : start + _WRITE_BYTES], left)

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same over TLS."""
        return self._guard.start_tls(self._stream, ssl_context, server_hostname, timeout)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a connection."""
        return self._stream.get_extra_info(info)
