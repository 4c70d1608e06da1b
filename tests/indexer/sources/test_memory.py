"""A catalogue of any length is read in the same memory."""

import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

FEW, MANY = 10_000, 150_000
MARGIN_KIB = 16 * 1024

SCRIPT = """
import sys
from pathlib import Path
from indexer.sources import read_source

def peak():
    [line] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
    return int(line.split()[1])

few, many, hold = sys.argv[1:]
assert sum(1 for _ in read_source(Path(few)).rows()) == %d
before = peak()
rows = read_source(Path(many)).rows()
held = list(rows) if hold == "hold" else sum(1 for _ in rows)
print(peak() - before)
"""


def write(path: Path, count: int) -> None:
    numbers = range(count)
    match path.suffix:
        case ".csv":
            path.write_text("id,title,price\n" + "".join(f"p{n},red dress number {n},{n}\n" for n in numbers))
        case ".jsonl":
            path.write_text(
                "".join(f'{{"id": "p{n}", "title": "red dress number {n}", "price": {n}}}\n' for n in numbers)
            )
        case _:
            columns = {"id": [f"p{n}" for n in numbers], "title": [f"red dress number {n}" for n in numbers]}
            pq.write_table(pa.table({**columns, "price": list(numbers)}), path, row_group_size=5_000)


def growth(folder: Path, suffix: str, hold: str) -> int:
    """KiB by which the peak of a process grows from few rows to many."""
    for count in (FEW, MANY):
        write(folder / f"{count}{suffix}", count)
    command = [sys.executable, "-c", SCRIPT % FEW, folder / f"{FEW}{suffix}", folder / f"{MANY}{suffix}", hold]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_the_peak_does_not_grow_with_the_rows(tmp_path: Path, suffix: str) -> None:
    assert growth(tmp_path, suffix, "count") < MARGIN_KIB


@pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")
def test_the_measure_notices_rows_that_are_held(tmp_path: Path) -> None:
    assert growth(tmp_path, ".csv", "hold") > 2 * MARGIN_KIB
