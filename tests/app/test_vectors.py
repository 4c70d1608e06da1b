"""Vectors that clients send: as numbers or as base64, checked fast, and the same either way."""

import base64
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app import strict_json
from app.schemas.vectors import MAX_DIMENSION, Vector
from app.strict_json import parse_json
from tests.app.conftest import ITEMS, RULES, SEARCH, SEARCH_BATCH

VECTORS = TypeAdapter(Vector)
DIMENSION = 16


def encode(*values: float) -> str:
    return base64.b64encode(np.array(values, dtype="<f4").tobytes()).decode()


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1))
def test_base64_says_what_numbers_say(values: list[float]) -> None:
    assert list(VECTORS.validate_python(encode(*values))) == list(VECTORS.validate_python(values)) == values


@pytest.mark.parametrize("values", [[1, True, 2**40 / 2**30], ["0.5", 1.0]])
def test_numbers_are_read_as_everywhere_else(values: list[Any]) -> None:
    assert list(VECTORS.validate_python(values)) == TypeAdapter(list[float]).validate_python(values)


@pytest.mark.parametrize(
    ("values", "place", "kind"),
    [
        ([1.0, None], (1,), "float_type"),
        ([1.0, "x"], (1,), "float_parsing"),
        ([1.0, [2.0]], (1,), "float_type"),
        ([0.0, 1.0, -1e7], (2,), "greater_than_equal"),
        ([10**30], (0,), "less_than_equal"),
        ([10**400], (0,), "float_type"),
        ([], (), "too_short"),
        ([0.5] * (MAX_DIMENSION + 1), (), "too_long"),
        ({}, (), "list_type"),
        ("no base64", (), "value_error"),
        ("Ωmega", (), "value_error"),
        ("", (), "value_error"),
        (base64.b64encode(b"12345").decode(), (), "value_error"),
        (encode(1.0, np.nan), (), "value_error"),
        (encode(1.0, np.inf), (), "value_error"),
        (encode(1.0, 1e7), (), "value_error"),
        (encode(*[0.5] * (MAX_DIMENSION + 1)), (), "value_error"),
    ],
)
def test_what_is_wrong_is_told_and_where(values: Any, place: tuple[int, ...], kind: str) -> None:
    with pytest.raises(ValidationError) as caught:
        VECTORS.validate_python(values)

    [error] = caught.value.errors()
    assert (error["loc"], error["type"]) == (place, kind)


@pytest.fixture
def stocked(client: TestClient) -> TestClient:
    for number in range(3):
        vector = encode(*np.eye(DIMENSION)[number]) if number else np.eye(DIMENSION)[number].tolist()
        body = {"vectors": {"image": vector}, "fingerprint": "f" * 64}
        assert client.put(f"{ITEMS}/{number}", json=body).status_code == 201
    return client


def test_searches_and_items_take_both_forms(stocked: TestClient) -> None:
    numbers = [0.25, 1.0, *[0.0] * (DIMENSION - 2)]
    searches = [{"query": {"vector": vector}} for vector in (numbers, encode(*numbers))]

    alone = [stocked.post(SEARCH, json=search).json()["hits"] for search in searches]
    together = [one["hits"] for one in stocked.post(SEARCH_BATCH, json={"searches": searches}).json()["results"]]

    assert alone[0] == alone[1] == together[0] == together[1]
    assert [hit["id"] for hit in alone[0]][:2] == ["1", "0"]


def test_an_item_is_unchanged_whichever_form_its_vector_comes_in(stocked: TestClient) -> None:
    body = {"vectors": {"image": np.eye(DIMENSION)[1].tolist()}, "fingerprint": "f" * 64}

    assert stocked.put(f"{ITEMS}/1", json=body).json()["status"] == "unchanged"


def test_a_rule_tells_its_vector_as_numbers(client: TestClient) -> None:
    numbers = [0.25, 1.0, *[0.0] * (DIMENSION - 2)]
    body = {"query": {"vector": encode(*numbers)}, "threshold": 0.5, "action": "flag"}

    assert client.put(f"{RULES}/near", json=body).json()["query"][0]["vector"] == numbers
    assert client.get(f"{RULES}/near").json()["query"][0]["vector"] == numbers


def test_base64_is_no_number_that_might_be_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json, "_parse_carefully", lambda _: pytest.fail("parsed in the slow way"))

    assert parse_json(b'{"vector": "AE+1239e456A="}') == {"vector": "AE+1239e456A="}
