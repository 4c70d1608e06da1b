"""Both clients, as one: what is tested of the one is tested of the other."""

import asyncio
import inspect
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import pytest

from sightline_client import AsyncClient, Client, Retry
from tests.app.conftest import _in_an_empty_folder, encoder, new, server_url, settings

__all__ = ["_in_an_empty_folder", "encoder", "new", "server_url", "settings"]

AT_ONCE = Retry(attempts=4, first_pause_s=0.0)

Connect = Callable[..., Any]


class Blocking:
    """An `AsyncClient` whose coroutines are waited for, and whose asynchronous iterators become lists."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._client, name)

        @wraps(method)
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = method(*args, **kwargs)
            return self._runner.run(answer if inspect.iscoroutine(answer) else _listed(answer))

        return call


async def _listed(answers: Any) -> list[Any]:
    return [answer async for answer in answers]


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Make a client of a server, of one kind or the other."""
    with asyncio.Runner() as runner:
        opened: list[Any] = []

        def connect(url: str, **options: Any) -> Any:
            options = {"retry": AT_ONCE, **options}
            sync = request.param == "sync"
            opened.append(Client(url, **options) if sync else Blocking(AsyncClient(url, **options), runner))
            return opened[-1]

        yield connect
        for client in opened:
            client.close() if isinstance(client, Client) else client.aclose()


@pytest.fixture
def sightline(connect: Connect, server_url: str) -> Any:
    """A client of a real server whose models are fakes."""
    return connect(server_url)
