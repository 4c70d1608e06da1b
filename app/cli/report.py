"""What became of the rows of an ingest, as the command line tells it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypedDict

if TYPE_CHECKING:
    from indexer.jobs.store import ChunkReport


class RowReport(TypedDict):
    """A row that was not stored (`error`), or only in part (`warning`), as a job's report tells it."""

    level: Literal["error", "warning"]
    row: int
    id: str
    code: str
    detail: str


@dataclass
class IngestReport:
    """Rows so far: done = created + updated + unchanged + failed; `rows` are the bad ones that are known here."""

    total: int | None
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    failed: int = 0
    warnings: int = 0
    deleted: int = 0
    rows: list[RowReport] = field(default_factory=list)

    @classmethod
    def of(cls, progress: Mapping[str, Any]) -> "IngestReport":
        """From a job's progress, as the API tells it."""
        names = ("total", "created", "updated", "unchanged", "failed", "warnings", "deleted")
        return cls(**{name: progress[name] for name in names})

    @property
    def done(self) -> int:
        """Rows dealt with."""
        return self.created + self.updated + self.unchanged + self.failed

    def count(self, status: str) -> None:
        """Count one stored row by its status."""
        setattr(self, status, getattr(self, status) + 1)

    def fail(self, row: RowReport) -> None:
        """Count one row that was not stored."""
        self.failed += 1
        self.rows.append(row)

    def warn(self, row: RowReport) -> None:
        """Count one row as stored in part."""
        self.warnings += 1
        self.rows.append(row)

    def add(self, chunk: "ChunkReport") -> None:
        """Count the rows of a chunk."""
        for name, count in chunk.counts.items():
            setattr(self, name, getattr(self, name) + count)

    def as_dict(self) -> dict[str, Any]:
        """For machines."""
        return asdict(self) | {"done": self.done}

    def summary(self) -> str:
        """In one line."""
        of_all = "" if self.total is None else f" of {self.total}"
        extra = f", {self.warnings} stored in part" if self.warnings else ""
        extra += f", {self.deleted} deleted" if self.deleted else ""
        return (
            f"{self.done}{of_all} rows: {self.created} created, {self.updated} updated, "
            f"{self.unchanged} unchanged, {self.failed} failed{extra}"
        )
