"""The sample catalogue as a folder: `catalog.csv` and `images/`, the same bytes for the same seed."""

import csv
import itertools
from collections.abc import Callable, Iterator
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
_SOUGHT = {
    "Dress": ("Red", "Black", "White"),
    "Jeans": ("Blue", "Navy Blue", "Black"),
    "Shirt": ("White", "Sky Blue", "Red"),
    "Sneakers": ("White", "Black", "Red"),
    "Umbrella": ("Black", "Yellow", "Red"),
}
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
    colours = {category: _colours(category, draw) for category in SHAPES}
    patterns = {category: _patterns(category, draw) for category in SHAPES}
    for number, category in zip(range(1, items + 1), itertools.cycle(SHAPES), strict=False):
        rows.append(_product(folder, number, category, next(colours[category]), next(patterns[category]), draw))
        on_progress(number, items)
    path = folder / "catalog.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def _colours(category: str, draw: Random) -> Iterator[str]:
    """What people look for, then six other colours, and so on: several answers to each likely search."""
    sought = _SOUGHT.get(category, ("Black", "Red", "Blue"))
    others = [colour for colour in COLOURS if colour not in sought]
    return itertools.chain.from_iterable([*sought, *draw.sample(others, 6)] for _ in itertools.count())


def _patterns(category: str, draw: Random) -> Iterator[str]:
    """Every other item plain, the rest in the other patterns in turn."""
    if category in _PLAIN_ONLY:
        return itertools.repeat("Plain")
    others = draw.sample([pattern for pattern in PATTERNS if pattern != "Plain"], len(PATTERNS) - 1)
    return itertools.chain.from_iterable(("Plain", pattern) for pattern in itertools.cycle(others))


def _product(folder: Path, number: int, category: str, colour: str, pattern: str, draw: Random) -> dict[str, object]:
    shape, (cheapest, dearest) = SHAPES[category]
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
