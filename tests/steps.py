"""Whether something is done in a step of bulk work."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from models.lanes import Lanes


class Steps:
    """What was called, by its name, and each time whether it was in a step."""

    def __init__(self) -> None:
        self.noted: defaultdict[str, list[bool]] = defaultdict(list)
        self._own = threading.local()

    def noting(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, noted."""

        def call(*arguments: Any) -> Any:
            self.noted[function.__name__].append(getattr(self._own, "inside", False))
            return function(*arguments)

        return call

    @contextmanager
    def step(self, cores: int = 1) -> Iterator[None]:
        assert not getattr(self._own, "inside", False), "a step in a step may wait for itself"
        self._own.inside = True
        try:
            yield
        finally:
            self._own.inside = False


def watch_steps(lanes: Lanes, monkeypatch: pytest.MonkeyPatch) -> Steps:
    """Note what is done in the steps of these lanes."""
    steps = Steps()
    monkeypatch.setattr(lanes, "step", steps.step)
    return steps
