"""The progress bar of an ingest."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from app.cli.console import err

if TYPE_CHECKING:
    from app.cli.report import IngestReport


def _columns() -> list[ProgressColumn]:
    return [TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn()]


class _RateColumn(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:,.0f} items/s")


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
