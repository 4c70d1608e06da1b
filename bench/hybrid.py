"""Vector, lexical and hybrid search beside each other, on a catalogue where half of the items lack their text."""

import argparse
import random
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.types import NewItem, SearchRequest, Term
from models.encoder import DualEncoder
from models.recipe import read_rows

EMBEDDED = Path(__file__).parents[1] / "models" / "default"
MODES: Mapping[str, dict[str, Any]] = {
    "vector": {},
    "lexical": {"mode": "lexical"},
    "hybrid, weighted": {"mode": "hybrid"},
    "hybrid, rrf": {"mode": "hybrid", "fusion": "rrf"},
}
DEPTH = 100
"""An item that is found no earlier counts as not found."""
COMMON = 10
"""Items that share a value from which it is a query."""

Row = Mapping[str, str]
Queries = Sequence[tuple[str, Callable[[str], bool]]]
"""Texts, and whether the item of an id is wanted."""


def run(catalogue: Path, split: str, most: int = 1000) -> None:
    """Print the table.

    Args:
        most: Queries of each kind, drawn at random.
    """
    rows = {row["id"]: row for row in read_rows(catalogue) if row.get("split") == split and row.get("title")}
    encoder = DualEncoder.open(EMBEDDED)
    with tempfile.TemporaryDirectory() as folder, Collections(Path(folder), lambda _: encoder) as collections:
        collection = collections.get("default")
        fill(collection, catalogue.parent, rows)
        drawn = random.Random(1).sample(sorted(rows), min(most, len(rows)))
        print(f"\n{len(rows)} items of split {split!r}, half without text, a tenth without picture; model default")
        print(
            f"{'':18}{'own title':>16}{'2 of 3 words':>16}{'.. misspelt':>16}{'article type':>14}{'colour + type':>15}"
        )
        print(f"{'':18}{'R@10':>9}{'MRR':>7}" + f"{'R@10':>9}{'MRR':>7}" * 2 + f"{'P@10':>14}{'P@10':>15}")
        known = [own_items(rows, drawn, change) for change in (str, shortened, misspelt)]
        shared = [sharing(rows, ["article_type"]), sharing(rows, ["base_colour", "article_type"])]
        for name, options in MODES.items():
            search = partial(found, collection, options)
            ranks = [[rank(search(text), wanted) for text, wanted in queries] for queries in known]
            shares = [[precision(search(text), wanted) for text, wanted in queries] for queries in shared]
            print(
                f"{name:18}"
                + "".join(f"{np.mean(np.less_equal(r, 10)):>9.3f}{np.mean(1 / np.array(r)):>7.3f}" for r in ranks)
                + f"{np.mean(shares[0]):>14.3f}{np.mean(shares[1]):>15.3f}"
            )


def fill(collection: Collection, folder: Path, rows: Mapping[str, Row]) -> None:
    """Store the items: a random half without its title, a tenth, of the other half, without its picture."""
    ids = sorted(rows)
    random.Random(0).shuffle(ids)
    without_text, without_picture = set(ids[: len(ids) // 2]), set(ids[len(ids) // 2 :][: len(ids) // 10])
    for start in range(0, len(ids), 64):
        collection.upsert(
            [
                NewItem(
                    id_,
                    image=None if id_ in without_picture else (folder / rows[id_]["image"]).read_bytes(),
                    text=None if id_ in without_text else rows[id_]["title"],
                )
                for id_ in ids[start : start + 64]
            ]
        )


def own_items(rows: Mapping[str, Row], ids: Sequence[str], change: Callable[[str], str]) -> Queries:
    """The changed title of each item, which looks for this item."""
    return [(change(rows[id_]["title"]), id_.__eq__) for id_ in ids]


def sharing(rows: Mapping[str, Row], fields: Sequence[str]) -> Queries:
    """Values that enough items share, which look for all of these."""
    values = {id_: tuple(row.get(field, "") for field in fields) for id_, row in rows.items()}
    common = sorted(value for value, count in Counter(values.values()).items() if count >= COMMON and all(value))
    return [(" ".join(value).lower(), partial(_has, values, value)) for value in common]


def _has(values: Mapping[str, tuple[str, ...]], wanted: tuple[str, ...], id_: str) -> bool:
    return values[id_] == wanted


def shortened(title: str) -> str:
    """About two of three words of a title."""
    rng = random.Random(title)
    return " ".join([word for word in title.split() if rng.random() < 2 / 3] or title.split()[:1])


def misspelt(title: str) -> str:
    """About two of three words of a title, one of them with a typing error."""
    rng, words = random.Random(title), shortened(title).split()
    longer = [number for number, word in enumerate(words) if len(word) >= 4 and word.isalpha()]
    if longer:
        number = rng.choice(longer)
        words[number] = mistyped(words[number], rng)
    return " ".join(words)


def mistyped(word: str, rng: random.Random) -> str:
    """A letter left out, put in, exchanged, or swapped with its neighbour; never the first."""
    at, letter = rng.randrange(1, len(word) - 1), rng.choice("abcdefghijklmnopqrstuvwxyz")
    before, here, after = word[:at], word[at], word[at + 1 :]
    return before + rng.choice([after, letter + here + after, letter + after, after[0] + here + after[1:]])


def found(collection: Collection, options: Mapping[str, Any], text: str) -> list[str]:
    """Ids, best first."""
    return [hit.id for hit in collection.search(SearchRequest((Term(text=text),), limit=DEPTH, **options)).hits]


def rank(ids: Sequence[str], wanted: Callable[[str], bool]) -> float:
    """Of the first wanted one; infinite where none was found."""
    return next((number for number, id_ in enumerate(ids, 1) if wanted(id_)), np.inf)


def precision(ids: Sequence[str], wanted: Callable[[str], bool]) -> float:
    """Share of the first ten that are wanted; what is missing of ten is not."""
    return sum(map(wanted, ids[:10])) / 10


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("catalogue", type=Path, help="CSV with id, title, article_type, base_colour, image and split")
    parser.add_argument("--split", default="val")
    parser.add_argument("--queries", type=int, default=1000, help="most queries of each kind")
    arguments = parser.parse_args()
    run(arguments.catalogue, arguments.split, arguments.queries)
