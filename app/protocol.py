"""uvicorn's protocol, told apart in two things: what it waits for and reads, and how it refuses what is no request."""

import asyncio

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from app.errors import MEDIA_TYPE
from app.schemas.problem import Problem

HEADER_BYTES = 256 * 2**10
"""Bytes of headers that are read before the connection is closed; uvicorn itself keeps as many as come."""
DISCARDED_BYTES = 16 * 2**20
"""Bytes of a body that are read after its request was answered: most clients listen only when they have sent all."""
MALFORMED = Problem(
    type="bad-request",
    title="Bad request",
    status=400,
    detail="this is no HTTP request that can be read; its address may be longer than 65,535 bytes",
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

        def send_400_response(self, msg: str) -> None:
            """Answer what is no request, and close the connection."""
            body = MALFORMED.model_dump_json(exclude_none=True).encode()
            headers = [
                *self.server_state.default_headers,
                (b"content-type", MEDIA_TYPE.encode()),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
            self.transport.write(STATUS_LINE[400] + head + b"\r\n" + body)
            self.transport.close()

        def _begin(self) -> None:
            if self._deadline is None:
                self._deadline = self.loop.call_later(header_timeout_s, self.transport.close)

        def _end(self) -> None:
            if self._deadline is not None:
                self._deadline.cancel()
                self._deadline = None

    return Protocol
