"""What is measured, in rounds in which all take their turn, and the table of it."""

import base64
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from bench.clients import Answers

WARM_S = 1.0


class Rate(NamedTuple):
    """Embedded or answered per second, and how long one waits in the median."""

    per_s: float
    p50_s: float = math.nan

    @classmethod
    def of(cls, answers: Answers) -> "Rate":
        """Of one thing per request."""
        return cls(answers.per_s, answers.percentile_s(50))


@dataclass(frozen=True)
class Inputs:
    """The same for all."""

    folder: Path
    """`texts.txt` and `pictures/`, for those that read files."""

    @cached_property
    def texts(self) -> list[str]:
        return (self.folder / "texts.txt").read_text().splitlines()

    @cached_property
    def pictures(self) -> list[bytes]:
        return [file.read_bytes() for file in sorted((self.folder / "pictures").iterdir())]

    @property
    def uris(self) -> list[str]:
        """The pictures as JSON holds them."""
        return ["data:image/jpeg;base64," + base64.b64encode(picture).decode() for picture in self.pictures]

    @staticmethod
    def json(body: Any) -> bytes:
        return json.dumps(body).encode()


class Way(NamedTuple):
    """Something that is measured."""

    what: str
    """Texts or pictures."""
    clients: int
    who: str
    limit: str | None
    """Who cannot be passed; None for who is nobody's peer."""
    measure: Callable[[int, float], Rate]


Measured = dict[tuple[str, int, str], Rate]
"""By what, clients and who."""


def measure(ways: Sequence[Way], rounds: int, seconds: float) -> Measured:
    """Medians of rounds, after one that does not count."""
    found = [[_measure_warm(way, seconds) for way in ways] for _ in range(rounds + 1)]
    return {
        (way.what, way.clients, way.who): Rate(*map(median, zip(*rates, strict=True)))
        for way, *rates in zip(ways, *found[1:], strict=True)
    }


def _measure_warm(way: Way, seconds: float) -> Rate:
    """After a moment that does not count: while the others had their turn, its memory was out of all caches."""
    way.measure(way.clients, min(WARM_S, seconds))
    return way.measure(way.clients, seconds)


def report(ways: Sequence[Way], found: Measured, peers: set[str]) -> None:
    """Print a table for each number of clients that texts and pictures were measured with."""
    for what, clients in dict.fromkeys((way.what, way.clients) for way in ways):
        group = [way for way in ways if (way.what, way.clients) == (what, clients)]
        best = max((found[what, clients, way.who].per_s for way in group if way.who in peers), default=None)
        print(f"\n{what}, {clients} client{'s' * (clients > 1)}")
        width = max(len(way.who) for way in group) + 2
        print(f"{'':<{width}}{'per second':>12}{'p50 ms':>10}{'of its limit':>14}{'of best peer':>14}")
        for way in group:
            rate = found[what, clients, way.who]
            share = f"{rate.per_s / found[what, clients, way.limit].per_s:.0%}" if way.limit else ""
            ratio = f"{rate.per_s / best:.1f}x" if best else ""
            p50 = "" if math.isnan(rate.p50_s) else f"{1000 * rate.p50_s:.1f}"
            print(f"{way.who:<{width}}{rate.per_s:>12.1f}{p50:>10}{share:>14}{ratio:>14}")
