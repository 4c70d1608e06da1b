"""Connections spread over processes that accept on one socket."""

import asyncio
import socket
from collections.abc import Sequence

import uvicorn

PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.005


class SharingServer(uvicorn.Server):
    """A server that leaves connections to others on its socket: after each it waits, the longer the more it has.

    uvicorn's takes all that have come at once: of the connections of a client that opens several, one process had all.
    """

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept on the sockets; see `uvicorn.Server`."""
        await super().startup([])
        self._accepting = [asyncio.create_task(self._accept(listener)) for listener in sockets or ()]

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more; see `uvicorn.Server`."""
        await _end(self._accepting)
        await super().shutdown(sockets)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        listener.setblocking(False)
        while True:
            try:
                connection, _ = await loop.sock_accept(listener)
                if listener.family != socket.AF_UNIX:
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                await loop.connect_accepted_socket(self._protocol, connection)
            except OSError:  # the client has gone already, or there are too many files open
                await asyncio.sleep(LONGEST_PAUSE_S)
            await asyncio.sleep(min(LONGEST_PAUSE_S, PAUSE_S * (1 + len(self.server_state.connections))))

    def _protocol(self) -> asyncio.Protocol:
        protocol: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return protocol


async def _end(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
