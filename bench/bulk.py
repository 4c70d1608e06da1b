"""Searches and writes beside a bulk ingest: what they notice of it, and what it loses to them.

`python -m bench.bulk [CATALOGUE.csv]`: a catalogue of pictures and titles, else a drawn one. One half is there before.
"""

import csv
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from bench.load import COLLECTION, Load, apply_load, print_latencies
from bench.reembed import PROBES_PER_S, QUIET_S, SEARCHES_PER_S, WRITES_PER_S, Item, drawn, read
from bench.serving import end, server


def run(catalogue: Path | None = None) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        items = read(catalogue or drawn(folder))
        halves = [_write(folder / f"half-{number}.csv", items[number::2]) for number in range(2)]
        with server(folder / "data", folder, items[0].picture.parent) as (url, _):
            _measure(url, items, halves)


def _write(path: Path, items: Sequence[Item]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "image", "title"))
        rows = enumerate(items)
        writer.writerows((f"{path.stem}-{number}", item.picture.resolve(), item.text) for number, item in rows)
    return path


def _measure(url: str, items: Sequence[Item], halves: Sequence[Path]) -> None:
    def ingest(half: Path) -> float:
        job = client.post(f"{COLLECTION}/ingest", json={"source": str(half)}).raise_for_status().json()
        return float(end(client, job)["progress"]["per_second"])

    client = httpx.Client(base_url=url, timeout=120)
    alone = ingest(halves[0])
    texts, pictures = [item.text for item in items[:1000]], [item.picture.read_bytes() for item in items[:200]]
    load = Load(url, texts, pictures, SEARCHES_PER_S, WRITES_PER_S, PROBES_PER_S)
    with apply_load(load) as sent:
        time.sleep(QUIET_S)
        begun = time.time()
        beside = ingest(halves[1])
        ended = time.time()
    warm = begun - QUIET_S * 0.75
    print(
        f"\nIngest of {len(items) // 2:,} items under {SEARCHES_PER_S:.0f} searches/s and {WRITES_PER_S:.0f} writes/s; "
        f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}"
    )
    print(f"failed: {sum(not 200 <= one.status < 300 for one in sent)} of {len(sent):,} requests")
    quiet, during = ([one for one in sent if a < one.due < b] for a, b in ((warm, begun - 1), (begun, ended)))
    print_latencies(quiet, during)
    print(f"items/s: {alone:.0f} alone, {beside:.0f} under load ({beside / alone:.0%})", flush=True)


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:]))
