"""uvicorn's server, told apart in two things: when it stops, and how much it waits for and reads."""

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.settings import Settings

HEADER_BYTES = 256 * 2**10
"""Bytes of headers that are read before the connection is closed; uvicorn itself keeps as many as come."""
DISCARDED_BYTES = 16 * 2**20
"""Bytes of a body that are read after its request was answered: most clients listen only when they have sent all."""


class Server(uvicorn.Server):
    """A server that says so when it stops, before it waits for running requests: some last until they are told.

    Args:
        on_stop: Called first.
        delay_s: For so long it then takes requests, as others must notice that it stops before they send no more.
    """

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None], delay_s: float = 0) -> None:
        super().__init__(config)
        self._on_stop, self._delay_s, self._hurried = on_stop, delay_s, False

    def stop(self) -> None:
        """Stop at once: nobody needs to be told before."""
        self._hurried = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running requests end; see `uvicorn.Server`."""
        self._on_stop()
        until = time.monotonic() + self._delay_s
        while time.monotonic() < until and not self._hurried:
            await asyncio.sleep(0.1)  # as uvicorn waits for the first signal: it wakes no loop
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal waits for nobody; see `uvicorn.Server`."""
        self._hurried = self.should_exit
        super().handle_exit(sig, frame)


def configure(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    """How uvicorn serves; nothing that a request says of its way here is believed, unless a trusted proxy says it."""
    return uvicorn.Config(
        app,
        http=protocol_with(settings.header_timeout_s),
        ws="none",
        log_config=None,  # `write_logs` has set logging up
        access_log=False,  # `MeasureRequests` writes it
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=[str(proxy) for proxy in settings.trusted_proxies],
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
    )


def protocol_with(header_timeout_s: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which closes a connection whose next headers take too long, or which brings too much.

    uvicorn itself waits for headers as long as anything comes now and then, and for the first byte for ever: a client
    that opens thousands of connections, and sends a byte on each now and then, takes all that the process may have.
    """

    class Protocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None
        _in_body = False
        _arrived = _surplus = 0

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            self._arrived = len(data)
            super().data_received(data)
            is_answered = self.cycle is None or self.cycle.response_complete
            if self._in_body and not is_answered:
                return
            self._surplus += len(data)  # of headers, or of a body that nobody reads
            if self._surplus > (DISCARDED_BYTES if self._in_body else HEADER_BYTES):
                self.transport.close()
            if self._surplus > 0 and is_answered:
                self._begin()

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            self._end()
            self._in_body, self._surplus = True, -self._arrived  # what comes after this is counted

        def on_message_complete(self) -> None:
            super().on_message_complete()
            self._in_body, self._surplus = False, -self._arrived

        def connection_lost(self, exc: Exception | None) -> None:
            self._end()
            super().connection_lost(exc)

        def _begin(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(header_timeout_s, self.transport.close)

        def _end(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Protocol
