"""Searches per second with readers beside the writer: `python -m bench.readers [ITEMS [DIMENSION]]`.

Single searches by a text, over loopback from another process, with an encoder that costs nothing; so what is measured
is what one interpreter can do, and how it grows with the number of processes. The clients share the cores with them.
"""

import os
import sys
import tempfile
from contextlib import ExitStack
from functools import cache, partial
from itertools import cycle
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median

from app.cli.serve import address, leave_on_sigterm, listen, run_server, shared_folder
from app.settings import Settings
from app.state import open_resources
from bench.clients import ask, request
from bench.http import PATH, fill, process
from bench.index import World
from bench.stub import RandomEncoder

ITEMS, DIMENSION = 20_000, 512
WORKERS = (0, 1, 2)
CONNECTIONS, ROUNDS, SECONDS = 16, 5, 3.0


def run(count: int = ITEMS, dimension: int = DIMENSION) -> None:
    """Print the table: medians of rounds in which all take their turn."""
    searches = [request(f"{PATH}?q=text+{number}&limit=10", b"", method="GET") for number in range(512)]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        urls = {}
        for workers in WORKERS:
            data = Path(name) / str(workers)
            fill(data, World(dimension), count, dimension)
            urls[workers] = stack.enter_context(process(_serve, data, dimension, workers))
        rates: dict[int, list[float]] = {workers: [] for workers in WORKERS}
        for _ in range(ROUNDS):
            for workers, url in urls.items():
                rates[workers].append(ask(url, cycle(searches), CONNECTIONS, SECONDS).per_s)
    print(f"{count:,} items, {dimension} dimensions, {CONNECTIONS} connections, {os.cpu_count()} cores")
    for workers, found in rates.items():
        print(
            f"{workers} readers: {median(found):7.0f} searches/s, {median(found) / median(rates[0]):.2f} of one process"
        )


def _serve(data: Path, dimension: int, workers: int, sender: Connection) -> None:
    settings = Settings(data_dir=data, port=0, workers=workers)
    encoder = partial(_encoder, dimension)  # which can be sent to other processes
    with (
        leave_on_sigterm(),
        listen(settings) as listener,
        shared_folder(settings) as folder,
        open_resources(settings, encoder) as made,
    ):
        sender.send(address(listener))
        run_server(made, listener, access_log=False, folder=folder, open_encoder=encoder)


@cache
def _encoder(dimension: int, _: str) -> RandomEncoder:
    return RandomEncoder(dimension)


if __name__ == "__main__":
    run(*map(int, sys.argv[1:3]))
