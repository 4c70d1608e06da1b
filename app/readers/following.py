"""A reader is up to date before it answers: whatever was acknowledged before a request came is in what it finds."""

import asyncio
import logging

from anyio import CapacityLimiter, to_thread

from indexer.collections import Collections

log = logging.getLogger("sightline")

PAUSE_S = 1.0
"""Between two looks while nobody asks, so that a reader never falls far behind."""


_BRIDGED = "SELECT collection FROM jobs WHERE state = 'running' AND json_extract(request, '$.bridge')"


class Following:
    """Takes over what the writer has committed, as soon as SQLite says that there is anything.

    `data_version` tells in microseconds whether another process committed since it was asked for last.
    """

    def __init__(self, collections: Collections) -> None:
        self._collections, self._watch = collections, collections.database.watch()
        self.bridged: frozenset[str] = frozenset()
        """Collections whose texts the writer embeds by a model of its own for now; see `indexer.reembed.bridge`."""
        self._seen: object = None
        self._turn = asyncio.Lock()
        self._thread = CapacityLimiter(1)  # of its own: searches may keep all others

    async def catch_up(self) -> None:
        """Take over all that was committed before this was called."""
        if self._version() == self._seen:
            return
        async with self._turn:
            version = self._version()  # first: what is committed meanwhile changes it again
            if version != self._seen:
                await to_thread.run_sync(self._follow, limiter=self._thread)
                self._seen = version

    async def keep_up(self) -> None:
        """Do so now and then, and let go of segments that the writer has removed, until this is cancelled."""
        while True:
            await asyncio.sleep(PAUSE_S)
            try:
                await self.catch_up()
                async with self._turn:
                    await to_thread.run_sync(self._collections.renew, limiter=self._thread)
            except Exception:
                log.exception("what was written is not taken over; it is tried again")

    def close(self) -> None:
        """Close its connection."""
        self._watch.close()

    def _follow(self) -> None:
        self._collections.follow()
        self.bridged = frozenset(name for (name,) in self._collections.database.rows(_BRIDGED, []))

    def _version(self) -> object:
        return self._watch.execute("PRAGMA data_version").fetchone()
