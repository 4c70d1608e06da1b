"""What happens around every request, as plain ASGI: id, metrics, last resort, key, body limit, paths, headers."""

import hmac
import logging
import re
import time
import uuid
from collections.abc import Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import BodyTooLarge, Unauthorized, problem_of, problem_response
from app.logs import access, request_id
from app.metrics import Metrics
from app.schemas.problem import Problem

logger = logging.getLogger("sightline")

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_OPEN = re.compile(r"/(healthz|readyz|docs|docs/oauth2-redirect|redoc|openapi\.json|static/.*)?")
_INGEST = re.compile(r"/v1/collections/[^/]+/ingest")
_PAGE = re.compile(r"/$|/static/")

PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
"""The page runs its own scripts and styles only, so that no text of a catalogue can become one."""


class RequestId:
    """Echoes `X-Request-ID`, or makes one; what nobody caught becomes a 500 that names it and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get("x-request-id", "")
        id_ = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
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
            logger.exception("request %s failed: %s %s", id_, scope["method"], scope["path"])
            if started:
                raise  # half a response cannot be taken back; the server closes the connection
            await problem_response(_internal_error(id_))(scope, receive, send_with_id)
        finally:
            request_id.reset(token)


class MeasureRequests:
    """Counts every request by its route, and writes a line about it."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

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
            _log_request(scope, status, seconds)


class RequireKey:
    """Refuses requests without the key, to whatever path; only the page, the documentation and health stay open."""

    def __init__(self, app: ASGIApp, key: str) -> None:
        self._app = app
        self._key = key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _OPEN.fullmatch(scope["path"]) and not self._holds(scope):
            problem = problem_of(Unauthorized("send the header `Authorization: Bearer <key>`"))
            await problem_response(problem, {"WWW-Authenticate": "Bearer"})(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _holds(self, scope: Scope) -> bool:
        scheme, _, key = Headers(scope=scope).get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(key.strip().encode(), self._key)


class LimitBody:
    """Refuses bodies that are too large: by their declared length at once, by what arrives while it streams.

    Args:
        max_bytes: Of any body, as most are held in memory.
        max_catalogue_bytes: Of a form with a catalogue's file, which goes to the disk.
    """

    def __init__(self, app: ASGIApp, max_bytes: int, max_catalogue_bytes: int) -> None:
        self._app = app
        self._max_bytes, self._max_catalogue_bytes = max_bytes, max_catalogue_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        max_bytes = self._limit(scope["path"], headers.get("content-type", ""))
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > max_bytes:
            await problem_response(problem_of(_too_large(max_bytes)))(scope, receive, send)
            return
        received = 0

        async def receive_within_limit() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > max_bytes:
                raise _too_large(max_bytes)
            return message

        await self._app(scope, receive_within_limit, send)

    def _limit(self, path: str, content_type: str) -> int:
        is_catalogue = _INGEST.fullmatch(path) and content_type.lower().startswith("multipart/form-data")
        return self._max_catalogue_bytes if is_catalogue else self._max_bytes


class KeepEncodedPaths:
    """Routes API paths as they were sent, so that `%2F` in an item's id does not divide the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"].startswith("/v1/") and scope.get("raw_path"):
            scope["path"] = scope["raw_path"].decode("ascii", "replace").partition("?")[0]
        await self._app(scope, receive, send)


class SecureHeaders:
    """Forbids browsers to guess types, and the page to run anything that is not its own."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._headers(scope["path"]).items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)

    def _headers(self, path: str) -> Mapping[str, str]:
        headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
        return headers | ({"Content-Security-Policy": PAGE_POLICY} if _PAGE.match(path) else {})


def _log_request(scope: Scope, status: int, seconds: float) -> None:
    if not access.isEnabledFor(logging.INFO):
        return
    # As it was sent, so that no line break in it begins a line of its own.
    path = scope.get("raw_path", b"").decode("ascii", "replace").partition("?")[0] or scope["path"]
    fields = {"method": scope["method"], "path": path, "status": status, "ms": round(1000 * seconds, 1)}
    access.info("%(method)s %(path)s %(status)d %(ms).1f ms", fields, extra={"fields": fields})


def _too_large(max_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"the body has more than the {max_bytes:,} bytes allowed")


def _internal_error(request_id: str) -> Problem:
    detail = f"the server failed; its log tells more under request {request_id}"
    return Problem(type="internal-error", title="Internal error", status=500, detail=detail)
