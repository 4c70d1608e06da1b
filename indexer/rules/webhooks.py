"""`Webhooks`: makes the calls of the outbox, signed, each until it is answered or a day has passed."""

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

from sqlalchemy import Connection

from indexer.errors import IndexerError
from indexer.rules.outbox import Delivery, Receiver, disconnect, due_deliveries, due_receivers, postpone, remove
from indexer.rules.signing import signed_headers
from indexer.stores.database import Database

log = logging.getLogger(__name__)

RETRY_AFTER_S = (10, 60, 300, 1200, 5400, 21600, 57600)
"""Rest after each failed attempt but the last: eight attempts in about a day."""
JITTER = 0.2
"""Share by which a rest is longer or shorter, so that calls that failed together do not come back together."""
HOST_REST_S = 5.0
"""Rest of a host that failed, whatever else waits for it."""
FAULT_REST_S = 10.0
"""Rest after a fault on this side (a full disk), which would otherwise repeat a call without end."""
WORKERS = 8
VISIT = 16
VISIT_S = 1.0
"""Calls made to a host at a time, and seconds after which none of them begins; then another host has its turn.

What became of them is stored in one transaction.
"""
POLL_S = 1.0

_GONE = 410


class Post(Protocol):
    """Sends a body, within a time limit of its own."""

    def __call__(self, url: str, body: bytes, headers: Mapping[str, str]) -> int:
        """The status of the answer; raises `IndexerError` where none came, or the URL is forbidden."""


@dataclass(frozen=True)
class _Attempt:
    """A call that was made: the status of the answer, or why there was none."""

    delivery: Delivery
    status: int | None
    reason: str

    @property
    def arrived(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Webhooks:
    """Delivers in threads of its own from start to close, at least once, in no certain order.

    A host is called by one worker at a time, and the one that was left alone for longest comes first: a slow host
    delays its own calls only. A call repeated has the same id and body. A receiver that answers 410 is taken off its
    rule.

    Args:
        post: Makes one call.
        now: The time, UTC.
    """

    def __init__(self, database: Database, post: Post, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._database, self._post, self._now = database, post, now
        self._random = random.SystemRandom()
        self._stopped, self._wake = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._free_from: dict[str, datetime] = {}
        self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Begin no more calls; returns when those that run have ended. The rest waits in the outbox."""
        self._stopped.set()
        self._wake.set()
        self._thread.join()

    def deliver_due(self) -> None:
        """Make all calls that are due, one after another, in the caller's thread."""
        while receivers := self._begin_visits():
            for receiver in receivers:
                self._visit(receiver)

    def _run(self) -> None:
        with ThreadPoolExecutor(WORKERS, "webhook") as pool:
            while not self._stopped.is_set():
                try:
                    for receiver in self._begin_visits():
                        pool.submit(self._visit, receiver)
                except Exception:
                    log.exception("the webhook calls that are due could not be read")
                    self._stopped.wait(FAULT_REST_S)
                self._wake.wait(POLL_S)
                self._wake.clear()

    def _begin_visits(self) -> list[Receiver]:
        """Receivers that have a call due, one per host, as many as there are free workers."""
        now = self._now()
        with self._database.read() as connection:
            due = due_receivers(connection, now)
        with self._lock:
            self._free_from = {_host(r): free for r in due if (free := self._free_from.get(_host(r)))}
            visits: dict[str, Receiver] = {}
            for receiver in sorted(due, key=self._served):
                host = _host(receiver)
                rests = host in self._free_from and self._free_from[host] > now
                if host not in self._busy and not rests and len(self._busy) + len(visits) < WORKERS:
                    visits.setdefault(host, receiver)
            self._busy.update(visits)
        return list(visits.values())

    def _served(self, receiver: Receiver) -> datetime:
        return self._free_from.get(_host(receiver), datetime.min.replace(tzinfo=UTC))

    def _visit(self, receiver: Receiver) -> None:
        free_from = self._now()
        try:
            attempts = self._attempt_due(receiver)
            with self._database.write() as connection:
                self._settle(connection, receiver, attempts)
            if not all(attempt.arrived for attempt in attempts):
                free_from = self._now() + timedelta(seconds=HOST_REST_S)
        except Exception:
            log.exception("webhook calls of rule %s could not be made", receiver.rule)
            free_from = self._now() + timedelta(seconds=FAULT_REST_S)
        finally:
            with self._lock:
                self._busy.discard(_host(receiver))
                self._free_from[_host(receiver)] = free_from
            self._wake.set()

    def _attempt_due(self, receiver: Receiver) -> list[_Attempt]:
        """Make some of the calls that are due, up to the first that fails."""
        with self._database.read() as connection:
            due = due_deliveries(connection, receiver.rule_pk, self._now(), VISIT)
        attempts: list[_Attempt] = []
        ends = time.monotonic() + VISIT_S
        for delivery in due:
            if self._stopped.is_set() or time.monotonic() > ends:
                break
            attempts.append(self._attempt(receiver, delivery))
            if not attempts[-1].arrived:
                break
        return attempts

    def _attempt(self, receiver: Receiver, delivery: Delivery) -> _Attempt:
        body = delivery.body.encode()
        headers = {"content-type": "application/json", "user-agent": "sightline"}
        headers |= signed_headers(receiver.secret, delivery.id, body, self._now())
        try:
            status = self._post(receiver.url, body, headers)
        except IndexerError as error:
            return _Attempt(delivery, None, error.detail)
        return _Attempt(delivery, status, f"answered with status {status}")

    def _settle(self, connection: Connection, receiver: Receiver, attempts: Sequence[_Attempt]) -> None:
        """Store what became of calls."""
        remove(connection, [attempt.delivery.pk for attempt in attempts if attempt.arrived])
        for attempt in attempts:
            if attempt.status == _GONE:
                log.warning("the webhook of rule %s answered that it is gone, and is taken off the rule", receiver.rule)
                remove(connection, [attempt.delivery.pk])
                disconnect(connection, receiver)
            elif not attempt.arrived:
                self._try_again(connection, receiver, attempt)

    def _try_again(self, connection: Connection, receiver: Receiver, attempt: _Attempt) -> None:
        delivery = attempt.delivery
        if delivery.attempts >= len(RETRY_AFTER_S):
            log.warning("webhook call %s of rule %s is given up: %s", delivery.id, receiver.rule, attempt.reason)
            remove(connection, [delivery.pk])
            return
        rest = RETRY_AFTER_S[delivery.attempts] * self._random.uniform(1 - JITTER, 1 + JITTER)
        postpone(connection, delivery, self._now() + timedelta(seconds=rest), attempt.reason)


def _host(receiver: Receiver) -> str:
    return urlsplit(receiver.url).netloc.lower()
