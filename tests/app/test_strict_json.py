"""JSON as RFC 8259 has it, parsed fast or with care, and the same either way."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import JsonInvalid
from app.strict_json import parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES, st.booleans())
def test_what_is_written_is_read(value: Any, escaped: bool) -> None:
    try:
        body = json.dumps(value, ensure_ascii=escaped).encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return
    assert parse_json(body) == value


@given(VALUES, st.integers(0, 30), st.binary(max_size=3))
def test_what_is_damaged_is_read_as_json_reads_it_or_refused(value: Any, place: int, damage: bytes) -> None:
    body = json.dumps(value).encode()
    body = body[:place] + damage + body[place:]
    try:
        expected = json.loads(body.decode("utf-8-sig"), parse_constant=refuse)
    except ValueError:
        with pytest.raises(JsonInvalid):
            parse_json(body)
        return
    try:
        found = parse_json(body)
    except JsonInvalid:
        found = refuse  # what `json` reads and we do not: infinite numbers, halves of surrogate pairs
    assert found == expected or not is_strict(expected)


@pytest.mark.parametrize(
    "number",
    ["1e309", "1E+400", "-1e0999", "9" * 400 + ".0", "9" * 309 + "e1", "1" + "0" * 308 + "e+05", "9" * 250 + "e99"],
)
def test_numbers_that_no_float_holds_are_refused(number: str) -> None:
    with pytest.raises(JsonInvalid):
        parse_json(f'{{"a": [1, {number}]}}'.encode())


@pytest.mark.parametrize("number", ["1e308", "1e-999", "0.5e+3", "1e000", "123456789012345678901234567890"])
def test_numbers_that_can_be_held_are_read(number: str) -> None:
    assert parse_json(f"[{number}]".encode()) == json.loads(f"[{number}]")


def test_a_byte_order_mark_and_deep_nesting_are_no_fault() -> None:
    assert parse_json(b"\xef\xbb\xbf[1]") == [1]
    assert parse_json(b"[" * 500 + b"]" * 500) == json.loads("[" * 500 + "]" * 500)


def refuse(constant: str) -> float:
    raise ValueError(constant)


def is_strict(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except (ValueError, UnicodeEncodeError):
        return False
    return True
