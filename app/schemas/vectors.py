"""Vectors as clients write them: as numbers, or as base64 of little-endian float32."""

import struct
import sys
from array import array
from binascii import a2b_base64
from collections.abc import Callable
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PlainSerializer, WithJsonSchema, WrapValidator

MAX_DIMENSION = 65_536
MAX_VALUE = 1e6

_NUMBERS = {
    "type": "array",
    "items": {"type": "number", "minimum": -MAX_VALUE, "maximum": MAX_VALUE},
    "minItems": 1,
    "maxItems": MAX_DIMENSION,
}
_BASE64 = {
    "type": "string",
    "contentEncoding": "base64",
    "description": "Base64 of little-endian float32, as `encoding_format: base64` gives it.",
}


def _read(written: Any, check: Callable[[Any], list[float]]) -> "array[float]":
    """The values; the schema, which takes several times longer, is asked only for what is wrong with them."""
    if isinstance(written, str):
        return _decode(written)
    values = _pack(written) if isinstance(written, list) and 0 < len(written) <= MAX_DIMENSION else None
    return array("d", check(written)) if values is None or not _are_small(values) else values


def _pack(numbers: list[Any]) -> "array[float] | None":
    """The numbers, unless something among them is none."""
    values = array("d")
    try:
        values.frombytes(struct.pack(f"{len(numbers)}d", *numbers))  # in a third of the time that `array` takes
    except (struct.error, OverflowError):
        return None
    return None if _hold_bools(values, numbers) else values


def _hold_bools(values: "array[float]", numbers: list[Any]) -> bool:
    """Whether true or false is among the numbers; to look at all of their types takes longer than all the rest."""
    packed = np.frombuffer(values)
    return bool(((packed == 0) | (packed == 1)).any()) and bool in map(type, numbers)


def _decode(text: str) -> "array[float]":
    values = array("f")
    try:
        values.frombytes(a2b_base64(text, strict_mode=True))
    except ValueError as error:
        raise ValueError("must be base64 of little-endian float32, or a list of numbers") from error
    if sys.byteorder == "big":
        values.byteswap()
    if not 0 < len(values) <= MAX_DIMENSION:
        raise ValueError(f"must have 1 to {MAX_DIMENSION} values")
    if not _are_small(values):
        raise ValueError(f"every value must be from {-MAX_VALUE:.0f} to {MAX_VALUE:.0f}")
    return values


def _are_small(values: "array[float]") -> bool:
    """Whether all are finite and within the limits."""
    return bool(np.abs(np.frombuffer(values, values.typecode)).max() <= MAX_VALUE)


Vector = Annotated[
    list[Annotated[float, Field(ge=-MAX_VALUE, le=MAX_VALUE)]],
    Field(min_length=1, max_length=MAX_DIMENSION),
    WrapValidator(_read),
    PlainSerializer(list, return_type=list[float]),
    WithJsonSchema({"anyOf": [_NUMBERS, _BASE64]}),
]
