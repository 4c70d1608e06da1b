"""Progress bars, on stderr."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from app.cli.console import err

if TYPE_CHECKING:
    from app.cli.report import IngestReport


def _columns(unit: str = "items") -> list[ProgressColumn]:
    rate = _RateColumn(unit)
    return [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), rate, TimeRemainingColumn()]


class _RateColumn(ProgressColumn):
    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} {self._unit}/s")


@contextmanager
def counting(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar of vectors; gives the function that is told how many more are done."""
    with Progress(*_columns("vectors"), console=err) as progress:
        task = progress.add_task(title, total=total)
        yield lambda more: progress.advance(task, more)


@contextmanager
def steps() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar for each step of something, from when it is first told of."""
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=err) as progress:
        tasks: dict[str, TaskID] = {}

        def show(step: str, done: int, total: int) -> None:
            if step not in tasks:
                tasks[step] = progress.add_task(step)
            progress.update(tasks[step], completed=done, total=total)

        yield show


@contextmanager
def transferred(title: str) -> Iterator[Callable[[int, int], None]]:
    """Show a bar of bytes."""
    bar = (TextColumn("{task.description}"), BarColumn())
    with Progress(*bar, DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), console=err) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def sample_progress() -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr while the sample is drawn."""
    with Progress(*_columns(), console=err) as progress:
        task = progress.add_task("Drawing")
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def ingest_progress(title: str, total: int | None) -> Iterator[Callable[["IngestReport"], None]]:
    """Show a bar on stderr with the rate and the time left; gives the function to report with."""
    with Progress(*_columns(), console=err) as progress:
        task = progress.add_task(title, total=total)

        def show(report: "IngestReport") -> None:
            failed = f" [red]{report.failed} failed[/]" if report.failed else ""
            partly = f" [yellow]{report.warnings} stored in part[/]" if report.warnings else ""
            progress.update(task, completed=report.done, total=report.total, description=title + failed + partly)

        yield show
