"""`GroupCommit`: what several threads write at the same time is committed in one transaction.

A commit waits for the disk, and all others wait for it; so whoever is let in commits for those who wait, too. Chunks of
jobs, whose transactions do something else as well, are committed by themselves.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlalchemy import Connection

from indexer.preparation import Prepared
from indexer.rules.judgement import Judgement
from indexer.stores.catalogue import StoredItem
from indexer.types import Failed, Outcome

MOST_ITEMS = 256
"""Items of a group; a write of more is one by itself."""

Also: TypeAlias = Callable[[Mapping[str, Outcome], Connection], None]
"""Does something else in the transaction, given what becomes of each item."""


@dataclass(eq=False)
class Write:
    """Items with different ids that one thread wants to be committed, and what became of that."""

    ids: Sequence[str]
    known: Mapping[str, StoredItem]
    """What was stored of them when they were prepared."""
    prepared: Mapping[str, Prepared | Failed]
    judged: Judgement
    also: Also | None
    is_committed: bool = False
    is_settled: bool = False
    """Whether it was tried; what is not committed then was prepared from what is no longer so."""
    error: Exception | None = None
    outcomes: dict[str, Outcome] = field(init=False)

    def __post_init__(self) -> None:
        settled = {**self.prepared, **self.judged.rejected}
        self.outcomes = {id_: _outcome(settled.get(id_), id_ in self.known) for id_ in self.ids}

    @property
    def changes(self) -> list[Prepared]:
        """What is to be written."""
        rejected = self.judged.rejected
        return [made for id_, made in self.prepared.items() if isinstance(made, Prepared) and id_ not in rejected]

    @property
    def replaced(self) -> set[str]:
        """SHA-256 of the pictures that what is to be written had."""
        old = [self.known[made.change.id].item for made in self.changes if made.change.id in self.known]
        return {item.image_sha256 for item in old if item.image_sha256}


class GroupCommit:
    """In front of the writes of one collection. Thread-safe.

    Args:
        turn: Held while a group is committed.
        commit: Commits those writes of a group, in which no id is twice, that still can be, and marks them.
    """

    def __init__(self, turn: AbstractContextManager[object], commit: Callable[[Sequence[Write]], None]) -> None:
        self._turn, self._commit = turn, commit
        self._waiting: list[Write] = []
        self._lock = threading.Lock()
        """Of the list alone."""

    def __call__(self, write: Write) -> bool:
        """Commit a write, together with others that wait; whether it was, or has to be prepared anew.

        Raises:
            What committing it by itself raises, or bringing it into the index.
        """
        with self._lock:
            self._waiting.append(write)
        with self._turn:
            if not write.is_settled:  # by one who was let in before
                self._settle(self._take(write))
        try:
            if write.error:
                raise write.error
        finally:
            write.error = None  # whose frames hold the write, with its pictures
        return write.is_committed

    def _take(self, first: Write) -> list[Write]:
        """A write, with those that wait and may be committed beside it."""
        with self._lock:
            group, ids, left = [first], set(first.ids), []
            for write in self._waiting:
                if write is first:
                    continue
                together = first.also is None and write.also is None
                if together and len(ids) + len(write.ids) <= MOST_ITEMS and ids.isdisjoint(write.ids):
                    group.append(write)
                    ids.update(write.ids)
                else:
                    left.append(write)
            self._waiting = left
        return group

    def _settle(self, group: Sequence[Write]) -> None:
        """Try a group; what fails before it is committed by itself again, so that nobody is told of another's fault."""
        failed: Exception | None = None
        try:
            self._commit(group)
        except Exception as error:
            failed = error
        for write in group:
            if failed and len(group) > 1 and not write.is_committed:
                self._settle([write])
            else:
                write.error, write.is_settled = failed, True
        del failed  # whose frames hold the group


def _outcome(prepared: Prepared | Failed | None, is_known: bool) -> Outcome:
    if isinstance(prepared, Failed):
        return prepared
    if prepared is None:
        return "unchanged"
    return "updated" if is_known else "created"
