"""How near a bulk ingest of pictures comes to what the encoder can do by itself.

`python -m bench.ingest [MODEL_FOLDER]`: the embedded model, or any other that was exported.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from PIL import Image

from app.sample.catalogue import draw_sample
from indexer.collections import Collections
from indexer.ingest import CHUNK_ROWS, ingest
from indexer.sources import Mapping, read_source
from models.encoder import DualEncoder
from models.imaging import ImageLimits, decode_image
from models.store import EMBEDDED

ROUNDS = 3
SECONDS = 6.0
"""How long the encoder alone is busy in a round; so many pictures are drawn."""
PICTURES = Mapping(id="id", image="image", text=None)
PRODUCTS = Mapping(id="id", image="image", text="title")


def run(model: Path = EMBEDDED) -> None:
    """Print the table: medians of rounds in which all take their turn."""
    encoder = DualEncoder.open(model, device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        catalogue = draw_sample(Path(folder), items=_items(encoder))
        files = sorted((Path(folder) / "images").iterdir())
        titles = [row.text for row in read_source(catalogue)]
        pixels = [encoder.preprocess(decode_image(file.read_bytes(), ImageLimits())) for file in files]
        ways = {
            "encoder alone, pictures": lambda: _in_batches(encoder.encode_pixels, pixels),
            "decode and encode in turn": lambda: _in_batches(lambda some: _loop(encoder, some), files),
            "ingest, pictures": lambda: _ingest(encoder, catalogue, PICTURES),
            "encoder alone, pictures and titles": lambda: (
                _in_batches(encoder.encode_pixels, pixels),
                _in_batches(encoder.encode_texts, titles),
            ),
            "ingest, pictures and titles": lambda: _ingest(encoder, catalogue, PRODUCTS),
        }
        seconds = {name: [] for name in ways}
        for _ in range(ROUNDS):
            for name, way in ways.items():
                seconds[name].append(_time(way))
    _report(encoder, len(files), {name: median(times) for name, times in seconds.items()})


def _items(encoder: DualEncoder) -> int:
    """How many pictures keep the encoder busy for a round, in whole chunks."""
    blank = [encoder.preprocess(Image.new("RGB", (300, 400)))] * 32
    encoder.encode_pixels(blank)
    per_second = 32 / _time(lambda: encoder.encode_pixels(blank))
    return max(1, round(SECONDS * per_second / CHUNK_ROWS)) * CHUNK_ROWS


def _report(encoder: DualEncoder, items: int, seconds: dict[str, float]) -> None:
    print(f"\nIngest: {items} products, {encoder.manifest.name}, {encoder.manifest.precision}")
    print(f"{'what':<38}{'items/s':>10}{'of the encoder alone':>22}")
    alone = seconds["encoder alone, pictures"]
    for name, took in seconds.items():
        alone = took if name.startswith("encoder alone") else alone
        print(f"{name:<38}{items / took:>10.0f}{alone / took:>22.2f}")


def _ingest(encoder: DualEncoder, catalogue: Path, mapping: Mapping) -> None:
    with tempfile.TemporaryDirectory() as folder, Collections(Path(folder), lambda _: encoder) as collections:
        rows = read_source(catalogue, mapping).rows()
        ingest(collections.get("default"), rows, lambda reference: reference.read_bytes(), lambda *_: None)


def _loop(encoder: DualEncoder, files: Sequence[Path]) -> None:
    encoder.encode_pixels([encoder.preprocess(decode_image(file.read_bytes(), ImageLimits())) for file in files])


def _in_batches(call: Callable[[Sequence[object]], object], items: Sequence[object]) -> None:
    for start in range(0, len(items), CHUNK_ROWS):
        call(items[start : start + CHUNK_ROWS])


def _time(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


if __name__ == "__main__":
    run(*map(Path, sys.argv[1:2]))
