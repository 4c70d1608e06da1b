"""What two generations find for the same queries, side by side."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import zip_longest
from typing import Any

from rich.markup import escape
from rich.table import Table

from app.cli.client import Client, collection_path
from app.cli.outcome import SIDES, name_of

Show = Callable[[str, int, int], None]
"""Told the step, how much of it is done, and of how much."""

Hit = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """One query's hits by both, best first."""

    query: str
    active: list[Hit]
    candidate: list[Hit]

    @property
    def common(self) -> set[str]:
        """Ids that both found."""
        return {hit["id"] for hit in self.active} & {hit["id"] for hit in self.candidate}

    @property
    def overlap(self) -> float:
        """Share of the hits that both have."""
        return len(self.common) / max(1, len(self.active), len(self.candidate))

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"overlap": self.overlap}


def compare(client: Client, job: dict[str, Any], queries: Sequence[str], limit: int, show: Show) -> list[Compared]:
    """Ask both generations of a re-embedding's report the same queries."""
    path = collection_path(job["collection"], "search")
    numbers = [job["report"][side]["generation"] for side in SIDES]
    compared = []
    for done, query in enumerate(queries, 1):
        body = {"query": query, "limit": limit, "include": ["text"]}
        active, candidate = (client.send("POST", path, json=body | {"generation": n})["hits"] for n in numbers)
        compared.append(Compared(query, active, candidate))
        show("Searching", done, len(queries))
    return compared


def table(compared: Compared, report: dict[str, Any]) -> Table:
    """One query's hits by both; a star is with those that only one of them found."""
    made = Table(title=f"{escape(compared.query)}  (overlap {compared.overlap:.2f})", title_justify="left", expand=True)
    made.add_column("", justify="right")
    for side in SIDES:
        made.add_column(name_of(report, side), ratio=1, no_wrap=True, overflow="ellipsis")
    for rank, pair in enumerate(zip_longest(compared.active, compared.candidate), 1):
        made.add_row(str(rank), *(_cell(hit, compared.common) for hit in pair))
    return made


def _cell(hit: Hit | None, common: set[str]) -> str:
    if hit is None:
        return ""
    mark, words = " " if hit["id"] in common else "*", " ".join((hit["text"] or "").split())
    return escape(f"{mark} {hit['score']:.3f} {hit['id']}  {words}")
