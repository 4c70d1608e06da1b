"""What a client that went away had asked for is not embedded any more."""

import asyncio
import threading
from contextlib import suppress

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from models.batching import is_abandoned

_WITHOUT_BODY = ("GET", "HEAD", "DELETE")
"""Nobody reads what these bring, and so nobody would notice that their client went away."""


class NoticeDepartures:
    """Watches each client while its request is worked on, once the body has been read; as plain ASGI."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        client = _Client(receive)
        token = is_abandoned.set(client.left.is_set)
        try:
            if scope["method"] in _WITHOUT_BODY:
                await client.read_ahead()
            await self._app(scope, client.receive, send)
        finally:
            is_abandoned.reset(token)
            client.close()


class _Client:
    """The messages of one client, and whether it has gone."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._first: Message | None = None
        self._watch: asyncio.Task[None] | None = None
        self.left = threading.Event()

    async def read_ahead(self) -> None:
        self._first = await self.receive()

    async def receive(self) -> Message:
        """The next message; after the body it is that the client went away, whenever it does."""
        if self._first is not None:
            message, self._first = self._first, None
            return message
        if self._watch is not None:
            await asyncio.shield(self._watch)
            return {"type": "http.disconnect"}
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.left.set()
        elif not message.get("more_body", False):
            self._watch = asyncio.create_task(self._until_it_leaves())
        return message

    def close(self) -> None:
        if self._watch is not None:
            self._watch.cancel()

    async def _until_it_leaves(self) -> None:
        with suppress(asyncio.CancelledError):
            while (await self._receive())["type"] != "http.disconnect":
                pass
            self.left.set()
