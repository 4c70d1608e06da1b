"""What happens around every request, as plain ASGI: id, metrics, last resort, limits of bodies, paths, headers."""

import asyncio
import logging
import re
import secrets
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.access.caller import address_of
from app.errors import BodyTooLarge, BodyTooSlow, ProblemResponse, refusal
from app.observation.logs import access_log, request_id
from app.observation.metrics import Metrics
from app.schemas.problem import Problem

logger = logging.getLogger("sightline")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_INGEST = re.compile(r"/v1/collections/[^/]+/ingest")
MIN_RATE = 1024
"""Bytes of a body that give it one more second."""

_PAGE = re.compile(r"/$|/static/")
_DOCS = re.compile(r"/(docs|redoc)(/|$)")

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""The page runs its own scripts and styles only, so that no text of a catalogue can become one."""
DOCS_POLICY = "object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
"""The documentation's page, FastAPI's, has scripts in it and from elsewhere; nothing of a catalogue is there."""
DATA_POLICY = "default-src 'none'; frame-ancestors 'none'"
"""Were an answer ever taken for a page, it could do nothing."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


class RequestId:
    """Echoes `X-Request-ID`, or makes one; what nobody caught becomes a 500 that names it and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        id_ = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
        token = request_id.set(id_)
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)["X-Request-ID"] = id_
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            logger.exception("failed: %s %s", scope["method"], scope["path"])
            if started:
                raise  # half a response cannot be taken back; the server closes the connection
            await ProblemResponse(_internal_error(id_))(scope, receive, send_with_id)
        finally:
            request_id.reset(token)


class MeasureRequests:
    """Counts every request by its route, and writes a line about it.

    Args:
        log_queries: Whether the line tells what follows the `?` of the address: texts that people search for are there.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, *, log_queries: bool) -> None:
        self._app = app
        self._metrics, self._log_queries = metrics, log_queries

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_and_look)
        finally:
            route = getattr(scope.get("route"), "path_format", "unmatched")
            seconds = time.perf_counter() - start
            self._metrics.count(scope["method"], route, status, seconds)
            if status >= 400:
                self._metrics.count_problem(scope.get("problem", "internal-error" if status == 500 else "other"))
            _log_request(scope, status, seconds, with_query=self._log_queries)


class LimitBody:
    """Refuses bodies that are too large, by their declared length or by what arrives; and those that come too slowly.

    Args:
        max_bytes: Of any body, as most are held in memory.
        max_catalogue_bytes: Of a form with a catalogue's file, which goes to the disk.
        timeout_s: Waited for all of a body that brings nothing; more for one that brings something, see `MIN_RATE`.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_catalogue_bytes: int, timeout_s: float) -> None:
        self._app = app
        self._max_bytes, self._max_catalogue_bytes = max_bytes, max_catalogue_bytes
        self._timeout_s = timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        max_bytes = self._limit(scope["path"], headers.get("content-type", ""))
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            await refusal(_too_large(max_bytes))(scope, receive, send)
            return
        body = _Body(receive, max_bytes, self._timeout_s)
        try:
            await self._app(scope, body.receive, send)
        except (BodyTooLarge, BodyTooSlow) as error:  # of a request whose body is read before there is a route
            await refusal(error)(scope, receive, send)

    def _limit(self, path: str, content_type: str) -> int:
        is_catalogue = _INGEST.fullmatch(path) and content_type.lower().startswith("multipart/form-data")
        return self._max_catalogue_bytes if is_catalogue else self._max_bytes


class _Body:
    """The messages of a request, as long as they bring no more and come no slower than they may."""

    def __init__(self, receive: Receive, max_bytes: int, timeout_s: float) -> None:
        self._receive = receive
        self._max_bytes, self._timeout_s = max_bytes, timeout_s
        self._received, self._waited_s, self._ended = 0, 0.0, False

    async def receive(self) -> Message:
        """The next message; raises `BodyTooLarge` or `BodyTooSlow`."""
        if self._ended:  # what comes now is that the client went away, whenever it does
            return await self._receive()
        clock = asyncio.get_running_loop().time
        before = clock()
        try:
            # Counted is what is spent waiting for the client, not what is done with the body meanwhile.
            async with asyncio.timeout(self._timeout_s + self._received / MIN_RATE - self._waited_s):
                message = await self._receive()
        except TimeoutError as error:
            raise BodyTooSlow(f"{self._received:,} bytes of the body came in {self._timeout_s} seconds") from error
        self._waited_s += clock() - before
        self._received += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._received > self._max_bytes:
            raise _too_large(self._max_bytes)
        return message


class KeepEncodedPaths:
    """Routes API paths as they were sent, so that `%2F` in an item's id does not divide the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/") and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        await self._app(scope, receive, send)


class SecureHeaders:
    """Forbids browsers to guess types, to frame what is here, and to run anything on the page that is not its own.

    Args:
        embeddable: Whether pages of other sites may show the pictures.
    """

    def __init__(self, app: ASGIApp, embeddable: bool) -> None:
        self._app = app
        self._headers = _HEADERS | {"Cross-Origin-Resource-Policy": "cross-origin" if embeddable else "same-site"}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers.items():
                    headers.setdefault(name, value)
                headers.setdefault("Content-Security-Policy", _policy(scope["path"]))
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _policy(path: str) -> str:
    if _PAGE.match(path):
        return PAGE_POLICY
    return DOCS_POLICY if _DOCS.match(path) else DATA_POLICY


def _log_request(scope: Scope, status: int, seconds: float, *, with_query: bool) -> None:
    if not access_log.isEnabledFor(logging.INFO):
        return
    # As it was sent, so that no line break in it begins a line of its own.
    path = scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0] or scope["path"]
    if with_query and scope["query_string"]:
        path += "?" + scope["query_string"].decode("ascii", "replace")
    by = getattr(scope.get("caller"), "name", None) or address_of(scope)
    fields = {"method": scope["method"], "path": path, "status": status, "ms": round(1000 * seconds, 1), "by": by}
    access_log.info("%(method)s %(path)s %(status)d %(ms).1f ms by %(by)s", fields, extra={"fields": fields})


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than the {max_bytes:,} bytes allowed")


def _internal_error(id_: str) -> Problem:
    detail = f"the server failed; its log tells more under request {id_}"
    return Problem(type="internal-error", title="Internal error", status=500, detail=detail)
