"""uvicorn's server, told apart in one thing."""

import socket
from collections.abc import Callable

import uvicorn


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
