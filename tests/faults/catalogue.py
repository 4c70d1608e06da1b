"""A catalogue in editions: what a collection must have once so many rows of them are in."""

import json
from pathlib import Path
from typing import Any

from tests.faults.ledger import Colour, Content, State
from tests.pictures import picture

ROWS = 3000
WITH_PICTURE = 5


def colour(number: int) -> Colour:
    """A colour of the row's own; uploads have others."""
    return number % 251, number // 251, 3


def row(edition: int, number: int) -> dict[str, Any]:
    """Each edition changes every third row; some rows have a bad picture, nothing at all, or the id before them."""
    changed = edition if number % 3 == 0 else 1
    cells = {"id": row_id(number), "text": f"thing {number} of edition {changed}", "number": number}
    if number % WITH_PICTURE == 0:
        cells["image"] = "torn.png" if number % 50 == 0 else f"{number}.png"
    return {"id": cells["id"]} if number % 70 == 1 else cells


def row_id(number: int) -> str:
    """Of the row with this number, from 1."""
    return f"row-{number - 1 if number % 90 == 7 else number}"


def content(edition: int, number: int) -> Content | None:
    """What a row makes of its item; None where it is an error row."""
    cells = row(edition, number)
    if "text" not in cells:
        return None
    whole = "image" in cells and cells["image"] != "torn.png"
    return Content(cells["text"], colour(number) if whole else None, number)


def write_pictures(folder: Path) -> None:
    """The pictures that all editions name."""
    folder.mkdir()
    (folder / "torn.png").write_bytes(picture("red")[:40])
    for number in range(WITH_PICTURE, ROWS + 1, WITH_PICTURE):
        (folder / f"{number}.png").write_bytes(picture(colour(number)))


def write_edition(folder: Path, edition: int) -> Path:
    """An edition's file; one that is there already is left alone."""
    path = folder / f"edition-{edition}.jsonl"
    if not path.exists():
        path.write_text("".join(json.dumps(row(edition, number)) + "\n" for number in range(1, ROWS + 1)))
    return path


def states(edition: int, first: int, last: int) -> dict[str, list[State]]:
    """What each item may be when between `first` and `last` rows of an edition are in, and all of those before it."""
    found: dict[str, list[State]] = {}
    for number in range(1, ROWS + 1) if edition > 1 else ():
        _follow(found, edition - 1, number, sure=True)
    for number in range(1, last + 1):
        _follow(found, edition, number, sure=number <= first)
    return found


def _follow(found: dict[str, list[State]], edition: int, number: int, *, sure: bool) -> None:
    made = content(edition, number)
    if made:
        before = [] if sure else found.get(row_id(number), [None])
        found[row_id(number)] = [*before, made]
