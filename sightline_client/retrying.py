"""When a call is sent again, and after what pause."""

import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

import httpx

from sightline_client.call import Call
from sightline_client.errors import ConnectionFailed, RequestRefused

_REFUSED = frozenset({429, 503})
"""The server did nothing of it, and says so."""

_UNKNOWN = frozenset({502, 504})
"""A proxy does not know what the server did of it."""

_NEVER = (httpx.UnsupportedProtocol, httpx.LocalProtocolError)
"""An address or a header that is none."""

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Retry:
    """How patient a client is with a server that is busy or away.

    Args:
        attempts: How often a call is sent at most.
        first_pause_s: The longest pause before the second time; doubled before each further one.
        longest_pause_s: It is doubled no further; a server that asks for a longer one is given up.
    """

    attempts: int = 6
    first_pause_s: float = 0.5
    longest_pause_s: float = 30.0


DEFAULT_RETRY = Retry()


class Attempts:
    """Those of one call: each method gives the pause before the next, or raises when there is to be none."""

    def __init__(self, retry: Retry, call: Call[Any]) -> None:
        self._retry = retry
        self._call = call
        self._count = 0
        self._may_have_arrived = False

    def are_over(self, response: httpx.Response) -> bool:
        """Whether the answer is a success; what is to be gone, and may be gone by an attempt before, is one, too."""
        is_gone = self._call.method == "DELETE" and response.status_code == HTTPStatus.NOT_FOUND
        return response.is_success or (is_gone and self._may_have_arrived)

    def after_error(self, error: httpx.TransportError) -> float:
        """The connection failed; it may be that the call had arrived.

        Raises:
            ConnectionFailed: It is not sent again.
        """
        may_repeat = not isinstance(error, _NEVER) and (self._call.idempotent or isinstance(error, _NOT_SENT))
        if not (may_repeat and self._has_more()):
            raise ConnectionFailed(f"no server answered {self._call.method} {self._call.path}: {error!r}") from error
        self._may_have_arrived |= not isinstance(error, _NOT_SENT)
        return self._pause()

    def after_refusal(self, response: httpx.Response) -> float:
        """The answer was no success.

        Raises:
            RequestRefused: It is not sent again.
        """
        status = response.status_code
        self._may_have_arrived |= status in _UNKNOWN
        may_repeat = status in _REFUSED or (status in _UNKNOWN and self._call.idempotent)
        asked = asked_pause_s(response.headers.get("retry-after", ""))
        if not (may_repeat and asked <= self._retry.longest_pause_s and self._has_more()):
            raise RequestRefused.of(response)
        return asked + self._pause()

    def _has_more(self) -> bool:
        self._count += 1
        return self._count < self._retry.attempts

    def _pause(self) -> float:
        """Drawn from the whole range, so that clients that were refused together do not come back together."""
        longest = min(self._retry.first_pause_s * 2 ** (self._count - 1), self._retry.longest_pause_s)
        return random.uniform(0, longest)  # noqa: S311 - it needs to differ, not to be secret


def asked_pause_s(retry_after: str) -> float:
    """Seconds from now that a header `Retry-After` asks for, as a number or a date; 0 where it is neither."""
    if retry_after.isdecimal():
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except ValueError:
        return 0.0
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())
