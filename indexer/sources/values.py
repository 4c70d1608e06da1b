"""Cells of a catalogue as what an item may hold: an id, a text, JSON."""

import math
import re
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

MAX_ID_CHARACTERS = 256
_MAX_DEPTH = 64
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


def lookup(cells: Mapping[str, Any], column: str) -> Any:
    """A cell by its column; `a.b` is the field b of the object a, unless a column has that very name."""
    if column in cells:
        return cells[column]
    head, dot, rest = column.partition(".")
    inner = cells.get(head)
    return lookup(inner, rest) if dot and isinstance(inner, Mapping) else None


def typed(cell: str) -> str | int | float | None:
    """A cell without a type: numbers as numbers; what would not come back the same (007, 1e5, nan) stays text."""
    number = _NUMBER.fullmatch(cell)
    if number is None or len(cell) > 15:  # a float64, which is what JSON's readers use, keeps 15 digits
        return cell or None
    return float(cell) if number[2] else int(cell)


def as_id(cell: object) -> str:
    """A cell as an id, numbers as their decimal text; raises `ValueError` where it is none."""
    match cell:
        case str():
            return as_text(cell)
        case bool():
            raise ValueError("an id is a text or a number, not true or false")
        case int() | UUID():
            return str(cell)
        case float() if math.isfinite(cell):
            return _decimal(Decimal(repr(cell)))
        case Decimal() if cell.is_finite():
            return _decimal(cell)
        case None:
            return ""
    raise ValueError(f"an id is a text or a number, not {_kind(cell)}")


def as_text(cell: object) -> str:
    """A cell as a text without blanks around it, "" where it is empty; raises `ValueError` where it is none."""
    if cell is None:
        return ""
    if not isinstance(cell, str):
        raise ValueError(f"must be a text, not {_kind(cell)}")
    return _unicode(cell).strip()


def as_json(cell: Any, depth: int = 0) -> Any:
    """A cell as JSON has it: moments in ISO 8601, durations in seconds; not-a-number, as a missing figure, is null.

    Raises:
        ValueError: It is infinite, binary, nested too deep, or not Unicode.
    """
    if depth > _MAX_DEPTH:
        raise ValueError(f"is nested deeper than {_MAX_DEPTH} levels")
    match cell:
        case None | bool() | int():
            return cell
        case str():
            return _unicode(cell)
        case float() | Decimal():
            return _number(cell)
        case Mapping():
            return {_unicode(str(key)): as_json(value, depth + 1) for key, value in cell.items()}
        case list() | tuple():
            return [as_json(value, depth + 1) for value in cell]
        case datetime() | date() | time():
            return cell.isoformat()
        case timedelta():
            return cell.total_seconds()
        case UUID():
            return str(cell)
    raise ValueError(f"holds {_kind(cell)}, which JSON cannot")


def readable(text: str) -> str:
    """A text with what is not Unicode in it replaced, so that it can be shown."""
    return text if text.isascii() else _LONE_SURROGATE.sub("\ufffd", text)


def shortened(text: str) -> str:
    """A text that can be shown within a sentence."""
    return readable(text if len(text) <= 100 else f"{text[:100]}...")


def _number(value: float | Decimal) -> Any:
    if math.isnan(value):
        return None
    if math.isinf(value):
        raise ValueError("is not a finite number")
    return value if isinstance(value, float) else typed(_decimal(value))


def _decimal(value: Decimal) -> str:
    if abs(value.adjusted()) > MAX_ID_CHARACTERS:
        raise ValueError("is a number of too many digits")
    digits = format(value, "f")
    return (digits.rstrip("0").rstrip(".") if "." in digits else digits) or "0"


def _unicode(text: str) -> str:
    if not text.isascii() and _LONE_SURROGATE.search(text):
        raise ValueError("is not valid Unicode")
    return text


def _kind(cell: object) -> str:
    match cell:
        case bool():
            return "true or false"
        case int() | float() | Decimal():
            return "a number"
        case bytes():
            return "bytes"
        case list() | tuple():
            return "a list"
        case Mapping():
            return "an object"
    return type(cell).__name__
