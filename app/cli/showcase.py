"""What the demo does: ingest, search, serve."""

from pathlib import Path

from rich.table import Table
from sqlalchemy import Connection

from app.cli.console import CommandFailed, out
from app.cli.progress import ingest_progress, sample_progress
from app.cli.report import IngestReport
from app.cli.search import hit_table
from app.cli.serve import address, leave_on_sigterm, listen, run_server
from app.sample import draw_sample
from app.settings import Settings
from app.state import Resources, open_resources
from indexer.ingest.pipeline import ingest
from indexer.jobs.store import ChunkReport
from indexer.sources import Source, read_source
from indexer.types import SearchRequest, Term

QUERIES = ("red dress", "blue striped shirt", "leather bag")


def show(settings: Settings, images: Path | None, *, serve: bool) -> None:
    """Ingest a catalogue (the sample, where `images` names none), answer three searches, and serve if asked to."""
    with leave_on_sigterm(), listen(settings) as listener:
        source = read_source(images or _sample(settings.data_dir / "sample"))
        with open_resources(settings) as resources:
            _ingest(resources, source)
            for query in QUERIES:
                out.print(_answers(resources, query))
            if serve:
                out.print(f"Open {address(listener)} in a browser; Ctrl-C ends it.", highlight=False)
                run_server(resources, listener, access_log=False)


def _sample(folder: Path) -> Path:
    catalogue = folder / "catalog.csv"
    if catalogue.exists():  # it is written last, so that the pictures are there too
        return catalogue
    with sample_progress() as on_progress:
        return draw_sample(folder, on_progress=on_progress)


def _ingest(resources: Resources, source: Source) -> None:
    report = IngestReport(source.count())
    with ingest_progress("Ingesting", report.total) as show:

        def on_chunk(chunk: ChunkReport, _: Connection) -> None:
            report.add(chunk)
            show(report)

        ingest(resources.collections.get("default"), source.rows(), resources.load_picture, on_chunk)
    out.print(report.summary(), highlight=False)
    if report.done == report.failed:
        raise CommandFailed(f"nothing of {source.name} could be stored")


def _answers(resources: Resources, query: str) -> Table:
    result = resources.collections.get("default").search(SearchRequest((Term(text=query),), limit=5))
    hits = [{"id": hit.id, "score": hit.score, "text": hit.item.text} for hit in result.hits]
    return hit_table(f"{query}  ({result.took.total:.0f} ms)", hits)
