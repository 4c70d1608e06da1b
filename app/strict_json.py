"""Reading JSON bodies off the event loop, and more strictly than `json` does."""

import json
import math
import re
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from anyio import to_thread
from fastapi import Request, Response
from pydantic_core import from_json

from app.access.scopes import GuardedRoute
from app.errors import JsonInvalid, MediaTypeUnsupported

_SMALL_BYTES = 65_536
"""Up to here parsing takes less time than going to a thread and back is worth."""

_DIGITS = bytes.maketrans(b"123456789", b"000000000")
"""All are alike to the length of a number."""
_LONG = b"0" * 200
_EXPONENTS = tuple((letter, re.compile(letter + rb"[+-]?\d{3,}(?:[\s,\]}]|\Z)")) for letter in (b"e", b"E"))
"""With what follows a number, else they would be in every vector in base64."""

_FORMS = (
    "; a form with a picture's file goes to PUT /v1/collections/{name}/items/{id} or POST .../search/upload, "
    "one with a catalogue's file to POST .../ingest"
)

_JSON = re.compile(r"application/([^/]+\+)?json")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class StrictRequest(Request):
    """A request whose `json()` accepts what RFC 8259 calls JSON, and nothing else."""

    async def json(self) -> Any:
        """The parsed body.

        Raises:
            JsonInvalid: The body is not JSON.
        """
        if not hasattr(self, "_json"):
            body = await self.body()
            small = len(body) <= _SMALL_BYTES
            self._json = parse_json(body) if small else await to_thread.run_sync(parse_json, body)
        return self._json


class StrictRoute(GuardedRoute):
    """A route that reads its body by `StrictRequest`, and only if it is JSON, or a form that the route describes."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler, with the request replaced."""
        handle = super().get_route_handler()
        body = (self.openapi_extra or {}).get("requestBody", {})
        takes_forms = "multipart/form-data" in body.get("content", ())

        async def handle_strictly(request: Request) -> Response:
            check_media_type(request, takes_forms=takes_forms)
            return await handle(StrictRequest(request.scope, request.receive))

        return handle_strictly


def parse_json(body: bytes) -> Any:
    """Parse UTF-8 JSON; NaN, infinities, lone surrogates and bottomless nesting are refused.

    Raises:
        JsonInvalid: Any of that, or a syntax error; tells where.
    """
    with suppress(ValueError):
        if not _may_overflow(body):
            return from_json(body, allow_inf_nan=False)
    return _parse_carefully(body)


def _may_overflow(body: bytes) -> bool:
    """Whether a number may be so large that pydantic's parser, which takes a sixth of the time, made it infinite.

    It has an exponent of three digits, or so many digits that one of two is enough.
    """
    exponent = any(letter in body and pattern.search(body) for letter, pattern in _EXPONENTS)
    return exponent or _LONG in body.translate(_DIGITS)


def _parse_carefully(body: bytes) -> Any:
    """As `parse_json`, by `json`, which tells what is wrong."""
    try:
        value = json.loads(body.decode("utf-8-sig"), parse_constant=_refuse, parse_float=_finite)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise JsonInvalid(f"{error.msg} at line {error.lineno}, column {error.colno}") from error
    except UnicodeEncodeError as error:
        raise JsonInvalid("half of a surrogate pair is not a character") from error
    except UnicodeDecodeError as error:
        raise JsonInvalid(f"the body is not UTF-8: byte {error.start} is wrong") from error
    except RecursionError as error:
        raise JsonInvalid("the body is nested too deeply") from error
    except ValueError as error:
        raise JsonInvalid(str(error)) from error
    return value


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not a JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is too large a number")
    return number


def check_media_type(request: Request, *, takes_forms: bool) -> None:
    """Raise `MediaTypeUnsupported` if a body is neither JSON nor, where these are taken, a form."""
    has_body = request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_json = _JSON.fullmatch(media_type) is not None
    is_form = media_type == "multipart/form-data"
    if has_body and not (is_json or (is_form and takes_forms)):
        raise MediaTypeUnsupported(
            f"the body is declared as {media_type or 'nothing'}; send the header `Content-Type: application/json`"
            + (_FORMS if is_form else "")
        )
