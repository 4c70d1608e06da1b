"""Clients that write without end, and note what is acknowledged."""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TypeAlias

import httpx

from tests.faults.ledger import Client, Content, Ledger

IDS = 8
"""Items that each uploader writes again and again."""
DELETES = 0.25
"""Share of the writes that delete."""

Task: TypeAlias = Callable[[Client], None]


class Uploads:
    """One uploader of single items and one of batches; each has ids of its own, so that it knows what comes last."""

    def __init__(self, seed: int) -> None:
        self.ledger = Ledger()
        self._random = random.Random(seed)
        self._numbers = itertools.count()

    def put_items(self, client: Client) -> None:
        """Create, update and delete one item after another."""
        draw = random.Random(self._random.getrandbits(32))
        while True:
            id_ = f"single {draw.randrange(IDS)}"
            path = f"{client.collection}/items/{id_}"
            if draw.random() < DELETES and self.ledger.states.get(id_, [None]) != [None]:
                with self.ledger.writing({id_: None}):
                    client.send("DELETE", path)
            else:
                content = self._content(draw)
                with self.ledger.writing({id_: content}):
                    client.send("PUT", path, json=content.body())

    def post_batches(self, client: Client) -> None:
        """The same, several at a time."""
        draw = random.Random(self._random.getrandbits(32))
        while True:
            ids = [f"batch {number}" for number in draw.sample(range(IDS), draw.randint(1, 6))]
            if draw.random() < DELETES:
                with self.ledger.writing(dict.fromkeys(ids)):
                    client.send("POST", f"{client.collection}/items/delete", json={"ids": ids})
            else:
                self._post(client, {id_: self._content(draw) for id_ in ids})

    def _post(self, client: Client, batch: dict[str, Content]) -> None:
        items = [{"id": id_, **content.body()} for id_, content in batch.items()]
        with self.ledger.writing(batch):
            answer = client.send("POST", f"{client.collection}/items", json={"items": items})
            assert not [result for result in answer["results"] if "error" in result]

    def _content(self, draw: random.Random) -> Content:
        """With a picture, a text, or both."""
        number, kind = next(self._numbers), draw.randrange(3)
        colour = (number % 256, number // 256 % 256, 9)
        return Content(f"upload {number}" if kind else None, colour if kind < 2 else None, number)


@contextmanager
def running(url: str, tasks: Sequence[Task]) -> Iterator[None]:
    """Run tasks side by side until the server is gone, which the block sees to."""
    failures: list[BaseException] = []

    def run(task: Task) -> None:
        try:
            with suppress(httpx.TransportError), Client.to(url) as client:
                task(client)
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()
    for failure in failures:
        raise failure
