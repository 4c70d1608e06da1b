"""A catalogue of any length is read in the same memory."""

import io
import subprocess
import sys
import tarfile
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.indexer.sources.catalogues import add, compress

FEW, MANY = 10_000, 200_000
FEW_SAMPLES, MANY_SAMPLES = 1_000, 40_000
"""Of a tar file, whose headers take Python long."""
MARGIN_KIB = 8 * 1024

SCRIPT = """
import sys
from pathlib import Path
from indexer.sources import read_source

def peak():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

few, many, first, second, hold = sys.argv[1:]
assert sum(1 for _ in read_source(Path(few)).rows()) == int(first)
before = peak()
rows = read_source(Path(many)).rows()
held = list(rows) if hold == "hold" else None
assert sum(1 for _ in held or rows) == int(second)
print(peak() - before)
"""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")


def csv(count: int) -> bytes:
    return b"id,title,price\n" + b"".join(b"p%d,red dress number %d,%d\n" % (n, n, n) for n in range(count))


def json_lines(count: int) -> bytes:
    row = b'{"id": "p%d", "title": "red dress number %d", "price": %d}\n'
    return b"".join(row % (n, n, n) for n in range(count))


def parquet(count: int) -> bytes:
    columns = {"id": [f"p{n}" for n in range(count)], "title": [f"red dress number {n}" for n in range(count)]}
    buffer = io.BytesIO()
    pq.write_table(pa.table({**columns, "price": list(range(count))}), buffer, row_group_size=5_000)
    return buffer.getvalue()


def tar(count: int) -> bytes:
    """Two samples, time after time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as shard:
        for key in "ab":
            add(shard, f"{key}.txt", b"red dress")
    pair, end = buffer.getvalue()[: 4 * 512], bytes(2 * 512)
    return pair * (count // 2) + end


WRITERS = {
    "csv": csv,
    "csv.gz": lambda count: compress(csv(count), "gz"),
    "jsonl": json_lines,
    "jsonl.gz": lambda count: compress(json_lines(count), "gz"),
    "jsonl.zst": lambda count: compress(json_lines(count), "zst"),
    "parquet": parquet,
    "tar": tar,
}


def growth(few: Path, many: Path, counts: tuple[int, int], hold: str = "count") -> int:
    """KiB by which the peak of a process grows from few rows to many."""
    command = [sys.executable, "-c", SCRIPT, few, many, *map(str, counts), hold]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.parametrize("suffix", WRITERS)
def test_the_peak_does_not_grow_with_the_rows(tmp_path: Path, suffix: str) -> None:
    few, many = tmp_path / f"few.{suffix}", tmp_path / f"many.{suffix}"
    counts = (FEW_SAMPLES, MANY_SAMPLES) if suffix == "tar" else (FEW, MANY)
    for path, count in zip((few, many), counts, strict=True):
        path.write_bytes(WRITERS[suffix](count))
    assert growth(few, many, counts) < MARGIN_KIB


def test_a_dictionary_whose_one_large_text_every_row_repeats_is_no_bomb(tmp_path: Path) -> None:
    """A file of 2 KB, of which 256 rows have 5 GB."""
    titles = pa.DictionaryArray.from_arrays(pa.array([0] * 256, pa.int32()), pa.array(["x" * 20 * 2**20]))
    table = pa.table({"id": [str(n) for n in range(256)], "title": titles})
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    (tmp_path / "few.parquet").write_bytes(parquet(FEW))
    assert growth(tmp_path / "few.parquet", tmp_path / "bomb.parquet", (FEW, 256)) < 300 * 1024


@pytest.mark.faults
def test_five_million_rows_take_no_more_than_fifty_thousand(tmp_path: Path) -> None:
    counts = 50_000, 5_000_000
    for count in counts:
        with (tmp_path / f"{count}.csv").open("wb") as file:
            file.write(b"id,title,price\n")
            rows = (b"p%d,red dress number %d,%d\n" % (n, n, n) for n in range(count))
            while block := b"".join(islice(rows, 100_000)):
                file.write(block)
    grown = growth(tmp_path / "50000.csv", tmp_path / "5000000.csv", counts)
    print(f"the peak grew by {grown:,} KiB")  # noqa: T201 - a figure to quote
    assert grown < MARGIN_KIB


def test_the_measure_notices_rows_that_are_held(tmp_path: Path) -> None:
    for count in (FEW, MANY):
        (tmp_path / f"{count}.csv").write_bytes(csv(count))
    assert growth(tmp_path / f"{FEW}.csv", tmp_path / f"{MANY}.csv", (FEW, MANY), "hold") > 2 * MARGIN_KIB
