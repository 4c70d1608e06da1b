"""How much each caller may ask for in a minute, and the headers that tell what is left of it.

A quota fills up evenly: one of 60 a minute gives one each second, and lets 60 come at once after a quiet minute.
Kept is the moment at which it is full again (the generic cell rate algorithm), one number for each caller and unit.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Literal

from app.access.kept import InMemory, Kept
from app.errors import RateLimited

Unit = Literal["requests", "pictures", "rows"]

WINDOW_S = 60


class Quotas:
    """What every caller has used up. Thread-safe.

    Args:
        limits: Units that are limited, with how many there are for each caller in a minute.
        kept: Shared with other processes; in this one's memory if left out.
    """

    def __init__(
        self,
        limits: Mapping[Unit, int | None],
        clock: Callable[[], float] = time.monotonic,
        kept: Kept | None = None,
    ) -> None:
        self.limits: dict[Unit, int] = {unit: limit for unit, limit in limits.items() if limit is not None}
        policies = (f'"{unit}";q={limit};w={WINDOW_S}' for unit, limit in self.limits.items())
        self._policy = ", ".join(policies).encode()
        self._clock, self._kept = clock, kept or InMemory()

    def take(self, caller: str, unit: Unit, count: int = 1, *, even_if_none_left: bool = False) -> None:
        """Use some up; a request that may begin may also end, so that the quota can be overdrawn by one request.

        Raises:
            RateLimited: There is none left.
        """
        limit = self.limits.get(unit)
        if limit is None:
            return
        each_s = WINDOW_S / limit
        with self._kept.locked():
            now = self._clock()
            full_at = max(now, self._kept.get(caller, unit))
            wait_s = full_at + each_s - now - WINDOW_S
            if wait_s > 1e-6 and not even_if_none_left:
                raise RateLimited(f"{limit} {unit} a minute are allowed, and used up", math.ceil(wait_s))
            self._kept.put(caller, unit, full_at + count * each_s)

    def headers(self, caller: str) -> list[tuple[bytes, bytes]]:
        """What is left, as draft-ietf-httpapi-ratelimit-headers-10 has it."""
        left = ", ".join(self._left(caller, unit) for unit in self.limits)
        return [(b"ratelimit-policy", self._policy), (b"ratelimit", left.encode())]

    def _left(self, caller: str, unit: Unit) -> str:
        missing_s = max(0.0, self._kept.get(caller, unit) - self._clock())
        left = max(0, math.floor(self.limits[unit] * (1 - missing_s / WINDOW_S) + 1e-6))
        return f'"{unit}";r={left};t={math.ceil(missing_s)}'
