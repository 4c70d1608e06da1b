"""What became of a job of re-embedding, as the command line tells it."""

from typing import Any

from rich.markup import escape
from rich.table import Table

from app.cli.client import Client
from app.cli.console import out, print_lines
from app.cli.following import print_rows, report_of

SIDES = ("active", "candidate")


def print_outcome(client: Client, job: dict[str, Any]) -> None:
    """Counts, the items it could not embed, and how the generations compare."""
    counts = report_of(client, job)
    extra = f", {counts.warnings} with a warning" if counts.warnings else ""
    out.print(f"{counts.done} items: {counts.created} embedded, {counts.failed} failed{extra}", highlight=False)
    print_rows(counts)
    if job["report"]:
        print_lines(_table(job["report"]))
        if "bridge" in job["report"]:
            out.print(_bridge(job["report"]["bridge"]), highlight=False, soft_wrap=True)


def measures(report: dict[str, Any]) -> list[tuple[str, ...]]:
    """What a job found out: each measure with its value in the active generation and in the candidate."""
    both = [report[side] for side in SIDES]
    rows = [
        ("model", *(one["model"] for one in both)),
        *((f"{name} vectors", *(f"{one['vectors'][name]:,}" for one in both)) for name in both[0]["vectors"]),
        ("self-retrieval", *(_figure(one["self_retrieval"]) for one in both)),
        ("alignment", *(_figure(one["alignment"]) for one in both)),
        ("recall@10", *(_figure(one["recall_at_10"]) for one in both)),
        ("modality gap", *(_figure(one["modality_gap"]) for one in both)),
        ("overlap@10", "", f"{_figure(report['overlap_at_10'])} of {report['queries']:,} queries"),
    ]
    if any(one["zero_vectors"] for one in both):
        rows.append(("zero vectors", *(f"{one['zero_vectors']:,}" for one in both)))
    return rows


def name_of(report: dict[str, Any], side: str) -> str:
    """Which generation a side is."""
    return f"generation {report[side]['generation']}"


def _table(report: dict[str, Any]) -> Table:
    table = Table("", *(name_of(report, side) for side in SIDES))
    for row in measures(report):
        table.add_row(*map(escape, row))
    return table


def _bridge(recall: dict[str, Any]) -> str:
    """What a bridge was worth."""
    if not recall["queries"]:
        return "there was no bridge: too few items have both vectors"
    active, candidate = (_figure(recall[f"overlap_at_10_with_{side}"]) for side in SIDES)
    return (
        f"bridge, fitted on {recall['pairs']:,} pairs: overlap@10 {active} with the old model's hits "
        f"and {candidate} with the new one's, of {recall['queries']:,} queries"
    )


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
