"""Memory and rows per second of a server that takes in a catalogue of texts, its encoder costing nothing.

`python -m bench.memory [ROWS [INDEX [PLOT.png]]]`: a million rows into a collection whose vectors are only mapped
(`flat`), unless told otherwise; with `auto` what is built for searches has its memory, too.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import numpy as np

from app.cli.serve import address, leave_on_sigterm, listen, run_server
from app.settings import Settings
from app.state import open_resources
from bench.stub import RandomEncoder

ROWS = 1_000_000
DIMENSION = 256
WARM_UP = 0.1
"""Part of the rows after which memory should grow no more."""
POLL_S = 0.5
MIB = 2**20


class Sample(NamedTuple):
    """Of the server at one moment: rows done, and bytes that are its own and that are mapped from files."""

    rows: int
    own: int
    mapped: int


def run(rows: int = ROWS, index: str = "flat", plot: Path | None = None) -> None:
    """Print how the memory goes, and draw it if asked to, which needs matplotlib."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_catalogue(folder / "catalogue.jsonl", rows)
        with _server(folder) as (url, process_id):
            started = time.perf_counter()
            samples = list(_watch(url, process_id, folder / "catalogue.jsonl", index))
            seconds = time.perf_counter() - started
    _report(samples, seconds, index)
    if plot:
        _draw(samples, plot)


def _write_catalogue(path: Path, rows: int) -> None:
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"id": f"sku-{number:08d}", "title": f"product {number} in red and blue", "price": number % 977}
            file.write(json.dumps(row) + "\n")


@contextmanager
def _server(folder: Path) -> Iterator[tuple[str, int]]:
    """Its address and the id of its process."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(folder, sender))
    process.start()
    sender.close()  # else nobody would notice that the process ended
    try:
        yield receiver.recv(), process.pid or 0
    finally:
        process.terminate()
        process.join()


def _serve(folder: Path, sender) -> None:  # type: ignore[no-untyped-def]
    settings = Settings(data_dir=folder / "data", port=0, query_cache_size=0, ingest_roots=(str(folder),))
    with (
        leave_on_sigterm(),
        listen(settings) as listener,
        open_resources(settings, lambda _: RandomEncoder(DIMENSION)) as made,
    ):
        sender.send(address(listener))
        run_server(made, listener, access_log=False)


def _watch(url: str, process_id: int, catalogue: Path, index: str) -> Iterator[Sample]:
    """Until the job is done."""
    with httpx.Client(base_url=f"{url}/v1", timeout=60) as client:
        client.put("/collections/rows", json={"index": index}).raise_for_status()
        body = {"source": str(catalogue)}
        job = client.post("/collections/rows/ingest", json=body).raise_for_status().json()
        while job["state"] not in ("succeeded", "failed", "cancelled"):
            time.sleep(POLL_S)
            job = client.get(f"/jobs/{job['id']}").raise_for_status().json()
            yield Sample(job["progress"]["done"], *memory_of(process_id))
    if job["state"] != "succeeded":
        raise SystemExit(f"the job {job['state']}: {job}")


def memory_of(process_id: int) -> tuple[int, int]:
    """Bytes that are a process's own, and that it has mapped from files."""
    lines = Path(f"/proc/{process_id}/status").read_text().splitlines()
    sizes = {
        name: int(value.split()[0]) * 1024
        for name, _, value in (line.partition(":") for line in lines)
        if "kB" in value
    }
    return sizes["RssAnon"] + sizes["RssShmem"], sizes["RssFile"]


def _report(samples: list[Sample], seconds: float, index: str) -> None:
    rows = samples[-1].rows
    print(
        f"\nMemory: {rows:,} rows of text in {seconds:.0f} s, {rows / seconds:,.0f} rows/s, "
        f"dimension {DIMENSION}, index {index}"
    )
    print(f"{'rows':>10}{'own MiB':>10}{'mapped MiB':>12}")
    for tenth in range(1, 11):
        sample = next(sample for sample in samples if sample.rows >= rows * tenth / 10)
        print(f"{sample.rows:>10,}{sample.own / MIB:>10.0f}{sample.mapped / MIB:>12.0f}")
    warm = [sample for sample in samples if sample.rows >= WARM_UP * rows]
    for name, sizes in (
        ("its own", [sample.own for sample in warm]),
        ("with mapped files", [sample.own + sample.mapped for sample in warm]),
    ):
        low, middle, high = np.percentile(sizes, (0, 50, 100)) / MIB
        print(f"{name}, after {warm[0].rows:,} rows: {low:.0f} to {high:.0f} MiB, {middle:.0f} in the median")


def _draw(samples: list[Sample], path: Path) -> None:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4))
    rows = [sample.rows for sample in samples]
    axes.plot(rows, [sample.own / MIB for sample in samples], label="its own")
    axes.plot(rows, [(sample.own + sample.mapped) / MIB for sample in samples], label="with files that are mapped")
    axes.set(xlabel="rows taken in", ylabel="memory of the server, MiB", ylim=(0, None))
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.legend()
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    run(*map(int, sys.argv[1:2]), *sys.argv[2:3], *map(Path, sys.argv[3:4]))
