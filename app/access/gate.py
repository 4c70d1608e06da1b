"""The gate before all routes, as plain ASGI: which hosts, which sites, which keys, how often."""

import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from app.access.audit import Entry
from app.access.caller import Caller, address_of
from app.access.doors import Doors
from app.access.kept import Kept
from app.access.quotas import Quotas
from app.errors import RequestError, Unauthorized, refusal
from app.settings import Settings
from app.state import Resources
from indexer.stores.keys import ANY, SCOPES, Key, digest_of, id_of

_OPEN = re.compile(r"/(healthz|readyz|docs|docs/oauth2-redirect|redoc|openapi\.json|static/.*)?")
"""What holds no data: health, the page's files, the documentation."""

_NEVER = datetime.min.replace(tzinfo=UTC)
NOBODY = Key("", "", bytes(32), frozenset(), (), _NEVER)
"""Compared with where there is no such key, so that it takes as long; no key has this digest."""


class Gate:
    """Lets a request through with its `Caller`, or refuses it before its body is read.

    Args:
        kept: Of the quotas; see `app.access.quotas.Quotas`.
    """

    def __init__(self, app: ASGIApp, settings: Settings, kept: Kept | None = None) -> None:
        self._app = app
        self._doors = Doors.of(settings)
        self._spare = _key_of(settings)
        self._quotas = Quotas(
            {
                "requests": settings.requests_per_minute,
                "pictures": settings.pictures_per_minute,
                "rows": settings.rows_per_minute,
            },
            kept=kept,
        )

    async def __call__(self, scope: AsgiScope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        caller, status = Caller(address_of(scope), None, self._quotas), 500

        async def send_and_look(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                if self._quotas.limits:
                    message["headers"] = [*message.get("headers", ()), *self._quotas.headers(caller.name)]
            await send(message)

        try:
            if not _OPEN.fullmatch(scope["path"]):
                scope["caller"] = caller = self._identify(scope, caller)
                caller.take("requests")
        except RequestError as error:
            await refusal(error)(scope, receive, send_and_look)
            return
        try:
            await self._app(scope, receive, send_and_look)
        finally:
            if caller.needed == "admin":
                entry = Entry.of_request(scope, caller, address_of(scope), status)
                await scope["state"]["resources"].audit.write_soon(entry)

    def _identify(self, scope: AsgiScope, anybody: Caller) -> Caller:
        """Who sends it; `anybody` where no key is needed.

        Raises:
            RequestError: It may not come in.
        """
        headers = Headers(scope=scope)
        resources: Resources = scope["state"]["resources"]
        known = resources.keys.current()
        locked = bool(known) or self._spare is not NOBODY  # a key that was revoked opens nothing to everybody
        self._doors.check_host(headers, locked=locked)
        if not locked:
            self._doors.check_origin(scope["method"], headers)
            return anybody
        try:
            key = find_key(headers.get("authorization", ""), known, self._spare)
        except Unauthorized:
            anybody.take("requests")  # whoever tries keys gets on slowly
            raise
        return Caller(key.id, key, self._quotas)


def find_key(authorization: str, known: Mapping[str, Key], spare: Key) -> Key:
    """The key that a request shows, in a time that tells nothing of any other.

    Args:
        known: Keys by their ids.
        spare: The key compared with where none has the id.

    Raises:
        Unauthorized: There is no such key, or it is of no use any more.
    """
    scheme, _, given = authorization.partition(" ")
    given = given.strip()
    if scheme.lower() != "bearer" or not given:
        raise Unauthorized("send the header `Authorization: Bearer <key>`")
    key = known.get(id_of(given), spare)
    if not hmac.compare_digest(digest_of(given), key.digest):
        raise Unauthorized("no such key")
    if fault := key.fault(datetime.now(UTC)):
        raise Unauthorized(f"the key {key.id} is {fault}")
    return key


def _key_of(settings: Settings) -> Key:
    if settings.api_key is None:
        return NOBODY
    digest = digest_of(settings.api_key.get_secret_value())
    return Key("settings", "SIGHTLINE_API_KEY", digest, frozenset(SCOPES), (ANY,), _NEVER)
