"""How fast the embedded model is by itself: pictures and texts per second by batch size."""

import time
from collections.abc import Callable
from functools import partial

import numpy as np
from PIL import Image

from models.encoder import DualEncoder
from models.store import EMBEDDED


def run() -> None:
    """Print the table."""
    encoder = DualEncoder.open(EMBEDDED, device="cpu")
    noise = np.random.default_rng(0)
    images = [Image.fromarray(noise.integers(0, 256, (300, 225, 3), dtype=np.uint8)) for _ in range(32)]
    short, long = "men's black leather shoes", "black leather shoes " * 15
    print(f"\nEncoder: {encoder.manifest.name}, {encoder.manifest.precision}, {', '.join(encoder.providers)}")
    print(f"{'what':<34}{'batch':>6}{'ms/batch':>10}{'items/s':>10}")
    for batch in (1, 8, 32):
        report("pictures 225 x 300, preprocessing too", batch, partial(encoder.encode_images, images[:batch]))
        report("texts of 6 words", batch, partial(encoder.encode_texts, [short] * batch))
        report("texts of 45 words", batch, partial(encoder.encode_texts, [long] * batch))


def report(what: str, items: int, call: Callable[[], object]) -> None:
    """Print the median of ten calls after two."""
    took = median_s(call)
    print(f"{what:<34}{items:>6}{1000 * took:>10.2f}{items / took:>10.0f}")


def median_s(call: Callable[[], object], repeats: int = 10) -> float:
    """Median seconds of a call, after two that do not count."""
    times = []
    for _ in range(repeats + 2):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return float(np.median(times[2:]))
