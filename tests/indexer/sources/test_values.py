"""Cells as what an item may hold."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from indexer.sources.values import as_id, as_json, typed

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals() | st.datetimes() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


@given(ANY)
def test_what_comes_out_is_json_or_an_error_with_words(cell: Any) -> None:
    try:
        value = as_json(cell)
    except ValueError as error:
        assert str(error)  # noqa: PT017, an error is allowed
    else:
        assert json.loads(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()) == value


@given(st.text(alphabet="0123456789.-e", max_size=20))
def test_a_typed_cell_is_written_as_it_was_read(cell: str) -> None:
    value = typed(cell)
    if isinstance(value, int):
        assert str(value) == cell or cell == "-0"
    elif isinstance(value, float):
        assert Decimal(cell) == Decimal(repr(value))
    else:
        assert value == (cell or None)


@pytest.mark.parametrize(
    ("cell", "text"), [(Decimal("10"), "10"), (Decimal("1E+2"), "100"), (Decimal("0.0"), "0"), (0.0, "0")]
)
def test_ids_from_decimals(cell: object, text: str) -> None:
    assert as_id(cell) == text


@pytest.mark.parametrize("cell", [Decimal("1e99999"), Decimal("NaN"), float("inf"), True, b"x", [], {}])
def test_what_is_no_id(cell: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        as_id(cell)
