"""How much each caller may ask for in a minute, and the headers that tell what is left of it.

A quota fills up evenly: one of 60 a minute gives one each second, and lets 60 come at once after a quiet minute.
Kept is the moment at which it is full again (the generic cell rate algorithm), one number for each caller and unit.
"""

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

from app.errors import RateLimited

Unit = Literal["requests", "pictures", "rows"]

WINDOW_S = 60
_REMEMBERED = 10_000
"""Callers and units of which it is known when they are full again; who came least lately is forgotten first."""


class Quotas:
    """What every caller has used up. Thread-safe.

    Args:
        limits: Units that are limited, with how many there are for each caller in a minute.
    """

    def __init__(self, limits: Mapping[Unit, int | None], clock: Callable[[], float] = time.monotonic) -> None:
        self.limits: dict[Unit, int] = {unit: limit for unit, limit in limits.items() if limit is not None}
        policies = (f'"{unit}";q={limit};w={WINDOW_S}' for unit, limit in self.limits.items())
        self._policy = ", ".join(policies).encode()
        self._clock = clock
        self._full_at: OrderedDict[tuple[str, Unit], float] = OrderedDict()
        self._lock = threading.Lock()

    def take(self, caller: str, unit: Unit, count: int = 1, *, even_if_none_left: bool = False) -> None:
        """Use some up; a request that may begin may also end, so that the quota can be overdrawn by one request.

        Raises:
            RateLimited: There is none left.
        """
        limit = self.limits.get(unit)
        if limit is None:
            return
        each_s = WINDOW_S / limit
        with self._lock:
            now = self._clock()
            full_at = max(now, self._full_at.get((caller, unit), now))
            wait_s = full_at + each_s - now - WINDOW_S
            if wait_s > 1e-6 and not even_if_none_left:
                raise RateLimited(f"{limit} {unit} a minute are allowed, and used up", math.ceil(wait_s))
            self._full_at[caller, unit] = full_at + count * each_s
            self._full_at.move_to_end((caller, unit))
            if len(self._full_at) > _REMEMBERED:
                self._full_at.popitem(last=False)

    def headers(self, caller: str) -> list[tuple[bytes, bytes]]:
        """What is left, as draft-ietf-httpapi-ratelimit-headers-10 has it."""
        left = ", ".join(self._left(caller, unit) for unit in self.limits)
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", left.encode())]

    def _left(self, caller: str, unit: Unit) -> str:
        missing_s = max(0.0, self._full_at.get((caller, unit), 0.0) - self._clock())
        left = max(0, math.floor(self.limits[unit] * (1 - missing_s / WINDOW_S) + 1e-6))
        return f'"{unit}";r={left};t={math.ceil(missing_s)}'
