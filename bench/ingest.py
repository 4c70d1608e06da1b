"""How near a bulk ingest of pictures comes to what the encoder can do by itself.

`python -m bench.ingest [MODEL_FOLDER]`: the embedded model, or any other that was exported.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from app.sample.catalogue import draw_sample
from indexer.collections import Collections
from indexer.ingest.pipeline import CHUNK_ROWS, ingest
from indexer.sources import Row
from models.encoder import DualEncoder
from models.imaging import ImageLimits, decode_image
from models.store import EMBEDDED

ROUNDS = 3
SECONDS = 5.0
"""How long the encoder alone is busy in a round."""
DRAWN = 256
"""Different pictures; they come again as other items."""


def run(model: Path = EMBEDDED) -> None:
    """Print the table: medians of rounds in which all take their turn."""
    encoder = DualEncoder.open(model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        draw_sample(Path(folder), items=DRAWN)
        drawn = sorted((Path(folder) / "images").iterdir())
        images = [decode_image(file.read_bytes(), ImageLimits()) for file in drawn]
        pixels = [encoder.preprocess(image) for image in images]
        items = _items(lambda: encoder.encode_pixels(pixels[:CHUNK_ROWS]))
        ways = {
            "encoder, pictures ready": lambda: _in_chunks(encoder.encode_pixels, pixels, items),
            "encoder, pictures to be resized": lambda: _in_chunks(encoder.encode_images, images, items),
            "ingest of picture files": lambda: ingest_files(encoder, drawn, items),
        }
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                seconds[name].append(_time(way))
    _report(encoder, items, {name: median(times) for name, times in seconds.items()})


def _items(encode_chunk: Callable[[], object]) -> int:
    """How many pictures keep the encoder busy for a round, in whole chunks."""
    encode_chunk()
    return max(1, round(SECONDS / _time(encode_chunk))) * CHUNK_ROWS


def _report(encoder: DualEncoder, items: int, seconds: dict[str, float]) -> None:
    print(f"\nIngest: {items} pictures, {encoder.manifest.name}, {encoder.manifest.precision}")
    print(f"{'what':<38}{'pictures/s':>12}{'ingest reaches':>16}")
    ingested = seconds["ingest of picture files"]
    for name, took in seconds.items():
        print(f"{name:<38}{items / took:>12.0f}{took / ingested:>16.0%}")


def ingest_files(encoder: DualEncoder, files: Sequence[Path], items: int) -> None:
    """Take so many pictures into a new collection; files come again as other items."""
    rows = (Row(n, str(n), file, None, {}) for n, file in enumerate(_repeated(files, items)))
    with tempfile.TemporaryDirectory() as folder, Collections(Path(folder), lambda _: encoder) as collections:
        ingest(collections.get("default"), rows, lambda reference: reference.read_bytes(), lambda *_: None)


def _in_chunks(encode: Callable[[Sequence[object]], object], inputs: Sequence[object], items: int) -> None:
    repeated = _repeated(inputs, items)
    for start in range(0, items, CHUNK_ROWS):
        encode(repeated[start : start + CHUNK_ROWS])


def _repeated(inputs: Sequence[object], items: int) -> list[object]:
    return [inputs[number % len(inputs)] for number in range(items)]


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:2]))
