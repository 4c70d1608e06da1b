"""What a reader does with a request: it answers what only reads, and sends on everything else."""

import asyncio
import logging
import re
from urllib.parse import unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.errors import NotReady, refusal
from app.middleware import LimitBody, RequestId
from app.readers.following import Following
from app.readers.forwarding import Forward
from app.settings import Settings

log = logging.getLogger("sightline")

_C = "/v1/collections/[^/]+"
_READS = re.compile(
    rf"GET (/|/static/.*|/docs.*|/redoc|/openapi\.json|/v1/collections|{_C}|{_C}/search|{_C}/items(/.*)?|/indices-list)"
    rf"|POST ({_C}/search(/batch|/upload)?|{_C}/select|{_C}/items/.*/explain"
    r"|/v1/embeddings|/v1/classify|/knn-service|/metadata)",
    re.DOTALL,
)
"""What readers answer themselves. Of the rest, some reads what only the writer has: jobs, reports, metrics, models."""
_SEARCHED = re.compile("/v1/collections/([^/]+)/search|/knn-service")


class Reader:
    """Answers or sends on; as plain ASGI.

    Args:
        app: What answers, over a data folder that is only read.
        forward: What sends on to the writer.
    """

    def __init__(self, app: ASGIApp, forward: Forward, following: Following, settings: Settings) -> None:
        self._app, self._forward, self._following = app, forward, following
        limits = settings.max_body_bytes, settings.max_catalogue_bytes, settings.body_timeout_s
        self._send_on = RequestId(LimitBody(forward, *limits))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["path"] == "/healthz":
            await self._app(scope, receive, send)
        elif not is_read(scope) and scope["path"] != "/readyz":
            await self._send_on(scope, receive, send)
        elif not await self._is_up_to_date():
            behind = NotReady("this reader cannot read what was written; the server's log says why")
            await RequestId(refusal(behind))(scope, receive, send)
        else:
            answers = is_read(scope) and not self._is_bridged(scope)
            await (self._app if answers else self._send_on)(scope, receive, send)

    def _is_bridged(self, scope: Scope) -> bool:
        if not self._following.bridged:
            return False
        found = _SEARCHED.match(_path(scope))
        if found is None:
            return False
        return found[1] is None or unquote(found[1]) in self._following.bridged  # else its body names the collection

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        keeping_up = asyncio.create_task(self._following.keep_up())

        async def receive_and_close() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                keeping_up.cancel()
                self._following.close()
                await self._forward.close()
            return message

        await self._app(scope, receive_and_close, send)

    async def _is_up_to_date(self) -> bool:
        try:
            await self._following.catch_up()
        except Exception:  # whatever it is, what this reader holds is not what was acknowledged
            log.exception("what was written cannot be taken over")
            return False
        return True


def is_read(scope: Scope) -> bool:
    """Whether a reader answers a request itself."""
    return _READS.fullmatch(f"{scope['method']} {_path(scope)}") is not None


def _path(scope: Scope) -> str:
    """As routes see it; see `app.middleware.KeepEncodedPaths`."""
    is_encoded = scope["path"].startswith("/v1/")
    return scope["raw_path"].decode("ascii", "replace") if is_encoded else str(scope["path"])
