"""How fast a model's towers are on this machine, by the threads of one run."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

import numpy as np

from models.encoder import DualEncoder
from models.query_cache import Tower
from models.sessions import Device, usable_cores

BATCH: dict[Tower, int] = {"image": 8, "text": 32}
"""Rows that each of those who embed at once asks for at a time."""
WORDS = "men's black leather shoes"


class Timing(NamedTuple):
    """One tower with so many threads to a run."""

    tower: Tower
    threads: int
    parallel: int
    """Runs at once."""
    lone_s: float
    """Median seconds of one row when nothing else is asked for."""
    rows_per_s: float
    """Of all who ask, when there are as many as runs at once."""


def thread_counts(cores: int) -> list[int]:
    """1, 2, 4 and so on, and all."""
    doubled = takewhile(lambda count: count < cores, (2**power for power in range(32)))
    return [*doubled, cores]


def measure(folder: Path, device: Device, seconds: float) -> Iterator[Timing]:
    """Time both towers of a model, with few and with many threads to a run; on a GPU there is one way only.

    Args:
        seconds: Of each of the two measurements of a tower.

    Raises:
        ModelError: It cannot be opened.
    """
    for threads in thread_counts(usable_cores()):
        encoder = DualEncoder.open(folder, device=device, threads=threads)
        for tower in BATCH:
            yield _time(encoder, tower, threads, seconds)
        if encoder.image.on_gpu:
            return


def fastest(timings: list[Timing]) -> int:
    """Threads with which the towers together do most: by the time that a picture and a text take."""
    taken: dict[int, float] = {}
    for timing in timings:
        taken[timing.threads] = taken.get(timing.threads, 0.0) + 1 / timing.rows_per_s
    return min(taken, key=lambda threads: taken[threads])


def _time(encoder: DualEncoder, tower: Tower, threads: int, seconds: float) -> Timing:
    parallel = (encoder.image if tower == "image" else encoder.text).parallel
    _ask(encoder, tower, 1, 0.0)  # the first run of a shape is slow
    lone = _ask(encoder, tower, 1, seconds)
    with ThreadPoolExecutor(parallel) as pool:
        began = time.perf_counter()
        asked = [pool.submit(_ask, encoder, tower, BATCH[tower], seconds) for _ in range(parallel)]
        rows = BATCH[tower] * sum(len(one.result()) for one in asked)
        took = time.perf_counter() - began
    return Timing(tower, threads, parallel, float(np.median(lone)), rows / took)


def _ask(encoder: DualEncoder, tower: Tower, rows: int, seconds: float) -> list[float]:
    """Embed rows again and again for so long, at least once; gives the seconds of each time."""
    height, width = encoder.manifest.preprocessing.size
    pixels = [np.zeros((height, width, 3), dtype=np.uint8)] * rows
    times: list[float] = []
    ends = time.perf_counter() + seconds
    while not times or time.perf_counter() < ends:
        began = time.perf_counter()
        if tower == "image":
            encoder.encode_pixels(pixels)
        else:
            encoder.encode_texts([WORDS] * rows)
        times.append(time.perf_counter() - began)
    return times
