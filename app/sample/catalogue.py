"""The sample catalogue as a folder: `catalog.csv` and `images/`, the same bytes for the same seed."""

import csv
import itertools
from collections.abc import Callable
from pathlib import Path
from random import Random

from app.sample.painting import COLOURS, PATTERNS, paint
from app.sample.shapes import SHAPES

COLUMNS = ("id", "title", "brand", "price", "category", "colour", "pattern", "image")

_BRANDS = (
    "Aurelio",
    "Birch & Bay",
    "Corvina",
    "Dovetail",
    "Elmstone",
    "Fjordline",
    "Galloway",
    "Halcyon",
    "Ivory Lane",
    "Juniper",
)
_PLAIN_ONLY = frozenset({"Jeans", "Boots", "Heels", "Watch", "Belt", "Wallet", "Sunglasses"})


def draw_sample(
    folder: Path,
    *,
    items: int = 360,
    seed: int = 7,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Draw `items` products into a folder.

    Args:
        on_progress: Called with the number drawn and their total.

    Returns:
        The path of its `catalog.csv`.
    """
    draw = Random(seed)  # noqa: S311 - the catalogue must be the same for the same seed
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    kinds = itertools.cycle(SHAPES)
    colours = _shuffled_forever(draw)
    for number in range(1, items + 1):
        rows.append(_product(folder, number, next(kinds), next(colours), draw))
        on_progress(number, items)
    path = folder / "catalog.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _shuffled_forever(draw: Random) -> itertools.chain[str]:
    """Every colour once in a random order, again and again, so that all are equally frequent."""
    rounds = (draw.sample(list(COLOURS), len(COLOURS)) for _ in itertools.count())
    return itertools.chain.from_iterable(rounds)


def _product(folder: Path, number: int, category: str, colour: str, draw: Random) -> dict[str, object]:
    shape, (cheapest, dearest) = SHAPES[category]
    patterns = ["Plain"] if category in _PLAIN_ONLY else [*PATTERNS, "Plain", "Plain"]
    pattern = draw.choice(patterns)
    dark = sum(COLOURS[colour]) < 420
    second = draw.choice(["White", "Beige", "Yellow", "Pink"] if dark else ["Navy Blue", "Black", "Red", "Teal"])
    brand = draw.choice(_BRANDS)
    image = f"images/{number:04}.jpg"
    paint(shape(draw), colour, second, pattern, draw).save(folder / image, quality=88)
    described = colour if pattern == "Plain" else f"{colour} {pattern}"
    return {
        "id": f"sample-{number:04}",
        "title": f"{brand} {described} {category}",
        "brand": brand,
        "price": draw.randint(cheapest, dearest) - 0.05,
        "category": category,
        "colour": colour,
        "pattern": pattern,
        "image": image,
    }
