"""uvicorn's server, told apart in one thing: it says so when it stops, and stops in good order."""

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from app.protocol import protocol_with
from app.settings import Settings


class Server(uvicorn.Server):
    """A server that says so when it stops, before it waits for running requests: some last until they are told.

    Args:
        on_stop: Called first.
        delay_s: For so long it then takes requests, as others must notice that it stops before they send no more.
        drain: Then called in a thread, while requests are still taken; returns when the last ones that matter are here.
        hurry: Called by a second Ctrl-C, so that `drain` returns at once.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        on_stop: Callable[[], None],
        delay_s: float = 0,
        drain: Callable[[], None] | None = None,
        hurry: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(config)
        self._on_stop, self._delay_s, self._drain, self._hurry = on_stop, delay_s, drain, hurry
        self._hurried = False

    def stop(self) -> None:
        """Stop at once: nobody needs to be told before."""
        self._hurried = self.should_exit = True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running requests end; see `uvicorn.Server`."""
        self._on_stop()
        until = time.monotonic() + self._delay_s
        while time.monotonic() < until and not self._hurried:
            await asyncio.sleep(0.1)  # as uvicorn waits for the first signal: it wakes no loop
        if self._drain:
            await asyncio.to_thread(self._drain)
        await super().shutdown(sockets)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A second signal waits for nobody; see `uvicorn.Server`."""
        self._hurried = self.should_exit
        super().handle_exit(sig, frame)
        if self.force_exit and self._hurry:
            self._hurry()


def configure(app: ASGIApp, settings: Settings, *, behind_readers: bool = False) -> uvicorn.Config:
    """How uvicorn serves; nothing that a request says of its way here is believed, unless a trusted proxy says it.

    Args:
        behind_readers: All requests come by a socket that only readers can reach, who say the truth.
    """
    trusted = ["*"] if behind_readers else [str(proxy) for proxy in settings.trusted_proxies]
    return uvicorn.Config(
        app,
        http=protocol_with(settings.header_timeout_s),
        ws="none",
        log_config=None,  # `write_logs` has set logging up
        access_log=False,  # `MeasureRequests` writes it
        server_header=False,
        proxy_headers=bool(trusted),
        forwarded_allow_ips=trusted,
        timeout_graceful_shutdown=settings.shutdown_timeout_s,
    )
