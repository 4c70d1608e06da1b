"""What a filter costs: reading a column, finding the items that match, and the search confined to them."""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from sqlalchemy import insert

from indexer.index.segment import Segment
from indexer.index.vector_index import Selected
from indexer.search.columns import Columns
from indexer.search.filters import parse_filter
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.stores.database import Database, items
from indexer.types import CollectionSettings, VectorRows

DIMENSION = 64
FEW_VALUES = 10_000
BATCH = 10_000
SELECTIVITIES = (0.0001, 0.001, 0.01, 0.1, 0.3, 0.5, 0.9)


def run(count: int = 1_000_000) -> None:
    """Print the tables."""
    faiss.omp_set_num_threads(1)  # a filtered search runs on one, so that the other one shall not have more
    print(f"\nFilters over {count:,} items, {DIMENSION} dimensions, one thread, processor time")
    with tempfile.TemporaryDirectory() as folder:
        database = Database(Path(folder) / "catalogue.db")
        try:
            columns = read_columns(database, count)
        finally:
            database.close()
    selected = partial(select, segment(count), columns)
    unfiltered = cpu_s(partial(search, selected(None)))
    print(f"\nunfiltered search: {1000 * unfiltered:.1f} ms")
    print(
        f"{'matching':>9}{'10,000 values ms':>18}{'all different ms':>18}{'filter + search ms':>20}{'/unfiltered':>13}"
    )
    for share in SELECTIVITIES:
        few, many = ({name: {"$lt": share * FEW_VALUES}} for name in ("few", "many"))
        masks = [cpu_s(partial(columns.select, parse_filter(filter_))) for filter_ in (few, many)]
        whole = cpu_s(lambda few=few: search(selected(few)))
        ms = [1000 * seconds for seconds in (*masks, whole)]
        print(f"{100 * share:>8.2f}%{ms[0]:>18.2f}{ms[1]:>18.2f}{ms[2]:>20.2f}{whole / unfiltered:>13.2f}")


def read_columns(database: Database, count: int) -> Columns:
    """Columns over a catalogue of so many items, with the time it takes to read them."""
    catalogue = Catalogue(database)
    row = catalogue.create_collection("bench", CollectionSettings(), "0" * 64, DIMENSION)
    for start in range(0, count, BATCH):
        with database.write() as connection:
            connection.execute(insert(items), list(rows(row, start, min(start + BATCH, count), count)))
    columns = Columns(partial(catalogue.metadata, row.pk))
    for field in ("few", "many"):
        started = time.process_time()
        columns.select(parse_filter({field: 1}))
        print(f"column {field!r} read in {time.process_time() - started:.1f} s")
    return columns


def rows(row: CollectionRow, start: int, stop: int, count: int) -> Iterator[dict[str, Any]]:
    """Items as the catalogue stores them, their metadata in random order."""
    now = datetime.now(UTC)
    rng = np.random.default_rng(start)
    for number, draw in zip(range(start, stop), rng.random(stop - start).tolist(), strict=True):
        metadata = {"title": f"item {number}", "few": int(draw * FEW_VALUES), "many": draw * FEW_VALUES}
        yield {
            "collection_pk": row.pk,
            "id": str(number),
            "metadata": metadata,
            "content_hash": "",
            "created_at": now,
            "updated_at": now,
        }


def segment(count: int) -> Segment:
    """One vector for each item, in the order in which they were stored."""
    vectors = np.random.default_rng(0).standard_normal((count, DIMENSION), dtype=np.float32)
    numbers = np.arange(1, count + 1)
    return Segment(VectorRows(numbers, numbers, vectors))


def select(segment: Segment, columns: Columns, filter_: dict[str, Any] | None) -> Selected:
    """What a search is confined to."""
    view = segment.view()
    return Selected([(view, view.select(columns.select(parse_filter(filter_)).items if filter_ else None))])


def cpu_s(call: Callable[[], object], repeats: int = 15) -> float:
    """Median seconds of processor time of a call, which other processes disturb less than the clock."""
    times = []
    for _ in range(repeats):
        started = time.process_time()
        call()
        times.append(time.process_time() - started)
    return float(np.median(times))


def search(selected: Selected) -> Sequence[int]:
    """The ten best."""
    return selected.search(np.full(DIMENSION, 0.125, dtype=np.float32), 10).items.tolist()


if __name__ == "__main__":
    run(*map(int, sys.argv[1:2]))
