"""Requests that a reader sends on to the writer, and the answers, as they come."""

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from pathlib import Path

import httpcore
from anyio import CancelScope
from starlette.types import Message, Receive, Scope, Send

from app.access.caller import address_of
from app.errors import NotReady, ProblemResponse, refusal
from app.observation.logs import request_id
from app.protocol import MALFORMED

log = logging.getLogger("sightline")

_IDLE_S = 2.0
"""Connections are closed before the writer does so itself: what is sent then would be lost, or sent twice."""
_OF_A_HOP = frozenset(
    {b"connection", b"expect", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
    | {b"x-forwarded-for", b"x-forwarded-proto", b"x-request-id"}
)
"""Headers of a request that say something about the way to the reader."""
_OF_AN_ANSWER = frozenset({b"connection", b"date", b"keep-alive", b"transfer-encoding"})


class Forward:
    """Sends requests on by the writer's socket, which only this user's processes can reach; as plain ASGI."""

    def __init__(self, socket: Path) -> None:
        self._pool = httpcore.AsyncConnectionPool(uds=str(socket), max_connections=None, keepalive_expiry=_IDLE_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with CancelScope() as while_it_waits:
            client = _Client(receive, while_it_waits)
            try:
                await self._exchange(_request(scope, client), scope, receive, send)
            except _ClientLeft:
                return
            finally:
                client.close()

    async def close(self) -> None:
        """Close the connections to the writer."""
        await self._pool.aclose()

    async def _exchange(self, request: httpcore.Request, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            response = await self._pool.handle_async_request(request)
        except httpcore.LocalProtocolError:
            await ProblemResponse(MALFORMED)(scope, receive, send)
            return
        except (httpcore.NetworkError, httpcore.RemoteProtocolError) as error:
            log.error("the writer did not answer %s %s: %r", scope["method"], scope["path"], error)
            unknown = NotReady("the process that writes did not answer; whether the request was done is not known")
            await refusal(unknown)(scope, receive, send)
            return
        try:
            headers = [(name, value) for name, value in response.headers if name.lower() not in _OF_AN_ANSWER]
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            assert isinstance(response.stream, AsyncIterable)
            async for part in response.stream:
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body"})
        finally:
            await response.aclose()


def _request(scope: Scope, client: "_Client") -> httpcore.Request:
    target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
    names = {name for name, _ in scope["headers"]}
    headers = [(name, value) for name, value in scope["headers"] if name not in _OF_A_HOP]
    headers += [] if b"host" in names else [(b"host", b"")]
    headers += [
        (b"x-forwarded-for", address_of(scope).encode()),
        (b"x-forwarded-proto", scope["scheme"].encode()),
        (b"x-request-id", request_id.get().encode()),
    ]
    url = httpcore.URL(scheme=b"http", host=b"writer", target=target)
    return httpcore.Request(scope["method"], url, headers=headers, content=client.body())


class _ClientLeft(Exception):
    """It sent half a body."""


class _Client:
    """The body of a request as it comes; once it has come, nothing is waited for if the client goes away."""

    def __init__(self, receive: Receive, while_it_waits: CancelScope) -> None:
        self._receive, self._while_it_waits = receive, while_it_waits
        self._watch: asyncio.Task[None] | None = None

    async def body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._next()
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]
        self._watch = asyncio.create_task(self._until_it_leaves())

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    async def _next(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise _ClientLeft
        return message

    async def _until_it_leaves(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._while_it_waits.cancel()
