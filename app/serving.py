"""uvicorn's server, told apart in three things: when it stops, how long it waits for headers, what it logs."""

import asyncio
import logging
import socket
from collections.abc import Callable

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol


class Server(uvicorn.Server):
    """A server that says so when it stops, before it waits for running requests: some last until they are told.

    Args:
        on_stop: Called once it takes no more requests.
    """

    def __init__(self, config: uvicorn.Config, on_stop: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_stop = on_stop

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running requests end; see `uvicorn.Server`."""
        self._on_stop()
        await super().shutdown(sockets)


def protocol_with(header_timeout_s: float) -> type[HttpToolsProtocol]:
    """uvicorn's protocol, which closes a connection whose next headers do not come in time.

    uvicorn itself waits for them as long as anything comes now and then, and for the first byte for ever; a client that
    opens thousands of connections, and sends a byte on each now and then, takes all that the process may have.
    """

    class Protocol(HttpToolsProtocol):
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._begin()

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self.cycle is None or self.cycle.response_complete:  # it is of headers that are not complete
                self._begin()

        def on_headers_complete(self) -> None:
            super().on_headers_complete()
            self._end()

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


class WithoutQueries(logging.Filter):
    """Takes what follows the `?` of an address out of uvicorn's log: texts that people search for are there."""

    def filter(self, record: logging.LogRecord) -> bool:
        """See `logging.Filter`."""
        if isinstance(record.args, tuple) and len(record.args) == 5:
            client, method, path, *others = record.args
            record.args = (client, method, str(path).partition("?")[0], *others)
        return True
