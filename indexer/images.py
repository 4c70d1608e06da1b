"""A picture named by a string, a `data:` URI or an `http(s)` URL, as bytes.

A URL from outside is hostile until it is resolved: every address of its name must be public, and the address that was
checked is the one connected to, so that a name which resolves differently a moment later (DNS rebinding) gains nothing.
"""

import base64
import binascii
import ipaddress
import socket
import ssl
import time
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

import httpcore
import httpx

from indexer.errors import ImageFetchFailed, ImageUrlForbidden, ItemInvalid
from models.errors import ImageTooLarge
from models.imaging import ImageLimits

MAX_REDIRECTS = 3
CONNECT_TIMEOUT_S = 5.0
TOTAL_TIMEOUT_S = 20.0
_MAX_ADDRESSES = 4

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def load_image(reference: str, limits: ImageLimits, allowed: Sequence[Network] = (), pointer: str = "/image") -> bytes:
    """The encoded bytes of a picture; they are not decoded yet.

    Args:
        reference: `data:` URI or `http(s)` URL.
        allowed: Networks that URLs may lead to although they are not public.

    Raises:
        ItemInvalid: Neither of the two, or a malformed `data:` URI.
        ImageTooLarge: More bytes than `limits.max_bytes`.
        ImageUrlForbidden: The URL leads to an address that is not public.
        ImageFetchFailed: It answered with an error, too late, or with too many redirects.
    """
    scheme = reference[:8].lower()
    if scheme.startswith("data:"):
        return decode_data_uri(reference, limits, pointer)
    if scheme.startswith(("http://", "https://")):
        return _fetch(reference, limits, allowed, pointer)
    raise ItemInvalid("an image is a data: URI or an http(s) URL", pointer)


def decode_data_uri(uri: str, limits: ImageLimits, pointer: str = "/image") -> bytes:
    head, comma, body = uri[5:].partition(",")
    if not comma:
        raise ItemInvalid("a data: URI has the form data:image/jpeg;base64,...", pointer)
    if len(body) > 4 * limits.max_bytes:  # percent-encoding takes three characters a byte
        raise ImageTooLarge(f"the picture has more than the {limits.max_bytes:,} bytes allowed")
    if not head.endswith(";base64"):
        return unquote_to_bytes(body)
    try:
        return base64.b64decode(unquote_to_bytes(body) if "%" in body else body, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ItemInvalid(f"the data: URI is not valid base64: {error}", pointer) from error


def _fetch(address: str, limits: ImageLimits, allowed: Sequence[Network], pointer: str) -> bytes:
    deadline = time.monotonic() + TOTAL_TIMEOUT_S
    backend = _PublicAddressesOnly(allowed, deadline, pointer)
    try:
        url = httpx.URL(address)
        # A pool of one's own: no proxy and no credentials come from the environment.
        with httpcore.ConnectionPool(ssl_context=ssl.create_default_context(), network_backend=backend) as pool:
            for _ in range(MAX_REDIRECTS + 1):
                answer = _get(pool, url, limits, deadline, pointer)
                if isinstance(answer, bytes):
                    return answer
                url = _redirected(url, answer, pointer)
    except httpx.InvalidURL as error:
        raise ImageUrlForbidden(f"the picture's URL is malformed: {error}", pointer) from error
    except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError, OSError, ValueError) as error:
        raise ImageFetchFailed(f"the picture's URL could not be fetched: {type(error).__name__}", pointer) from error
    raise ImageFetchFailed(f"the picture's URL redirects more than {MAX_REDIRECTS} times", pointer)


def _get(
    pool: httpcore.ConnectionPool, url: httpx.URL, limits: ImageLimits, deadline: float, pointer: str
) -> bytes | str:
    """The body, or the location of a redirect."""
    timeouts = {"connect": CONNECT_TIMEOUT_S, "read": 5.0, "write": 5.0, "pool": 5.0}
    headers = [(b"user-agent", b"sightline"), (b"accept", b"image/*"), (b"accept-encoding", b"identity")]
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    with pool.stream("GET", target, headers=headers, extensions={"timeout": timeouts}) as response:
        if response.status in (301, 302, 303, 307, 308):
            found = {name.lower(): value for name, value in response.headers}
            return found.get(b"location", b"").decode("utf-8", "replace")
        if response.status != 200:
            raise ImageFetchFailed(f"the picture's URL answered with status {response.status}", pointer)
        return _read(response.iter_stream(), limits, deadline, pointer)


def _read(blocks: Iterable[bytes], limits: ImageLimits, deadline: float, pointer: str) -> bytes:
    body = bytearray()
    for block in blocks:
        body += block
        if len(body) > limits.max_bytes:
            raise ImageTooLarge(f"the picture has more than the {limits.max_bytes:,} bytes allowed")
        if time.monotonic() > deadline:
            raise ImageFetchFailed(f"the picture did not arrive within {TOTAL_TIMEOUT_S:.0f} s", pointer)
    return bytes(body)


def _redirected(url: httpx.URL, location: str, pointer: str) -> httpx.URL:
    target = url.join(location)
    if target.scheme not in ("http", "https"):
        raise ImageUrlForbidden("the picture's URL redirects to something other than http(s)", pointer)
    return target


class _PublicAddressesOnly(httpcore.NetworkBackend):
    """Connects to the very addresses that were found to be allowed, and to none after the deadline."""

    def __init__(self, allowed: Sequence[Network], deadline: float, pointer: str) -> None:
        self._allowed, self._deadline, self._pointer = allowed, deadline, pointer
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve, require every address to be allowed, connect to the first that answers."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
        if not addresses or not all(is_allowed(address, self._allowed) for address in addresses):
            raise ImageUrlForbidden("the picture's URL leads to an address that is not public", self._pointer)
        failure: Exception | None = None
        for address in list(dict.fromkeys(addresses))[:_MAX_ADDRESSES]:
            try:
                left = _within(self._deadline, timeout, httpcore.ConnectTimeout)
                stream = self._sockets.connect_tcp(str(address), port, left, local_address, socket_options)
                return _Timed(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure or httpcore.ConnectError()


class _Timed(httpcore.NetworkStream):
    """A connection that ends at a deadline: a timeout of its own for each read would let a server drip for ever."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what is there."""
        return self._stream.read(max_bytes, _within(self._deadline, timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all."""
        self._stream.write(buffer, _within(self._deadline, timeout, httpcore.WriteTimeout))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """The same over TLS; the certificate must be of the name, not of the address."""
        left = _within(self._deadline, timeout, httpcore.ConnectTimeout)
        return _Timed(self._stream.start_tls(ssl_context, server_hostname, left), self._deadline)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks of a connection."""
        return self._stream.get_extra_info(info)


def _within(deadline: float, timeout: float | None, late: type[Exception]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise late()
    return left if timeout is None else min(left, timeout)


def is_allowed(address: ipaddress.IPv4Address | ipaddress.IPv6Address, allowed: Sequence[Network]) -> bool:
    """Whether an address is public unicast, or in an allowed network."""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    if any(address in network for network in allowed):
        return True
    if isinstance(address, ipaddress.IPv6Address) and (address.sixtofour or address.teredo):
        return False  # tunnels to an IPv4 address of the sender's choice
    return address.is_global and not address.is_multicast and not address.is_reserved
