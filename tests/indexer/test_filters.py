"""What a filter means for one item, and what is no filter."""

from typing import Any

import pytest

from indexer.errors import FilterInvalid
from indexer.search.filters import MAX_CONDITIONS, MAX_DEPTH, MAX_FIELDS, MAX_VALUES, matches, parse_filter

SHOE = {
    "brand": "Puma",
    "price": 49,
    "sale": True,
    "tags": ["sport", 7, None],
    "size": {"eu": 42.0, "uk": {"men": 8}},
    "colour": None,
    "a.b": "dotted",
    "a": {"b": "nested", "c": 1},
    "serial": 2**53 + 1,
    "endless": 10**400,
}


@pytest.mark.parametrize(
    "filter_",
    [
        {},
        {"brand": "Puma"},
        {"brand": {"$eq": "Puma"}, "price": 49.0},
        {"price": {"$gte": 49, "$lt": 49.5}},
        {"price": {"$in": [1, 49.0]}},
        {"brand": {"$lt": "Pumb", "$gt": "PUMA"}},
        {"brand": {"$contains": "um"}},
        {"tags": {"$contains": "sport"}},
        {"tags": {"$contains": 7.0}},
        {"tags": {"$contains": None}},
        {"colour": None},
        {"colour": {"$exists": True}},
        {"none": {"$exists": False}},
        {"none": {"$ne": 5}},
        {"none": {"$nin": [5]}},
        {"none": {"$nin": []}},
        {"$not": {"none": 5}},
        {"sale": True},
        {"sale": {"$ne": 1}},
        {"size.eu": 42},
        {"size.uk.men": {"$lte": 8}},
        {"a.b": "dotted"},
        {"a.c": 1},
        {"$or": [{"brand": "Nike"}, {"price": 49}]},
        {"$and": [{"brand": "Puma"}, {"$not": {"price": 50}}]},
        {"serial": 2**53 + 1},
        {"endless": {"$gt": 1e308}},
    ],
)
def test_an_item_matches(filter_: dict[str, Any]) -> None:
    assert matches(parse_filter(filter_), SHOE)
    assert not matches(parse_filter({"$not": filter_}), SHOE)


@pytest.mark.parametrize(
    "filter_",
    [
        {"brand": "puma"},
        {"brand": {"$gt": 1}},
        {"price": {"$lt": "50"}},
        {"price": "49"},
        {"price": {"$gt": 10, "$lt": 20}},
        {"price": {"$in": []}},
        {"price": {"$contains": 4}},
        {"sale": 1},
        {"sale": {"$gt": 0}},
        {"colour": {"$ne": None}},
        {"none": None},
        {"none": {"$lt": 5}},
        {"none": {"$exists": True}},
        {"tags": "sport"},
        {"tags": {"$contains": "spo"}},
        {"tags": {"$contains": True}},
        {"brand": {"$contains": 5}},
        {"size": {"$in": [42]}},
        {"size.eu.x": 1},
        {"a.b": "nested"},
        {"$or": [{"brand": "Nike"}, {"price": 50}]},
        {"serial": 2**53},
    ],
)
def test_an_item_does_not_match(filter_: dict[str, Any]) -> None:
    assert not matches(parse_filter(filter_), SHOE)


def nested(depth: int) -> dict[str, Any]:
    return {"$not": nested(depth - 1)} if depth else {"a": 1}


@pytest.mark.parametrize(
    ("filter_", "pointer", "says"),
    [
        ([], "/filter", "an object"),
        ("x", "/filter", "an object"),
        ({"": 1}, "/filter/", "1 to 256 characters"),
        ({"x" * 257: 1}, f"/filter/{'x' * 257}", "1 to 256 characters"),
        ({"price": {}}, "/filter/price", "$exists"),
        ({"price": [1]}, "/filter/price", "$eq takes a string, a number, true, false or null"),
        ({"price": {"$eq": {}}}, "/filter/price/$eq", "$eq takes"),
        ({"price": {"$ne": []}}, "/filter/price/$ne", "$ne takes"),
        ({"price": {"$lt": True}}, "/filter/price/$lt", "$lt takes a number or a string"),
        ({"price": {"$lte": None}}, "/filter/price/$lte", "$lte takes a number or a string"),
        ({"price": {"$gt": [1]}}, "/filter/price/$gt", "$gt takes a number or a string"),
        ({"price": {"$gte": {}}}, "/filter/price/$gte", "$gte takes a number or a string"),
        ({"price": {"$in": 5}}, "/filter/price/$in", "$in takes a list"),
        ({"price": {"$in": [1, [2]]}}, "/filter/price/$in/1", "$in takes strings"),
        ({"price": {"$nin": "abc"}}, "/filter/price/$nin", "$nin takes a list"),
        ({"price": {"$nin": [0] * (MAX_VALUES + 1)}}, "/filter/price/$nin", "at most"),
        ({"price": {"$exists": 1}}, "/filter/price/$exists", "$exists takes true or false"),
        ({"tags": {"$contains": ["a"]}}, "/filter/tags/$contains", "$contains takes"),
        ({"price": {"$near": 5}}, "/filter/price/$near", "$near cannot stand here"),
        ({"price": {"$not": {"$lt": 5}}}, "/filter/price/$not", "stand around conditions"),
        ({"size": {"eu": 42}}, "/filter/size/eu", "'size.eu'"),
        ({"$lt": 5}, "/filter/$lt", "$lt cannot stand here"),
        ({"$and": []}, "/filter/$and", "$and takes a list"),
        ({"$or": {"a": 1}}, "/filter/$or", "$or takes a list"),
        ({"$or": [{"a": 1}, {"b/~": {"$lt": None}}]}, "/filter/$or/1/b~1~0/$lt", "$lt takes"),
        ({"$not": 1}, "/filter/$not", "an object"),
        (nested(MAX_DEPTH), "/filter" + "/$not" * MAX_DEPTH, "deep"),
        ({"$or": [{"a": 1}] * (MAX_CONDITIONS + 1)}, "/filter", "conditions"),
        ({str(number): 1 for number in range(MAX_FIELDS + 1)}, "/filter", "fields"),
    ],
)
def test_what_is_no_filter_is_refused_where_it_is_wrong(filter_: Any, pointer: str, says: str) -> None:
    with pytest.raises(FilterInvalid) as caught:
        parse_filter(filter_)
    assert caught.value.pointer == pointer
    assert says in caught.value.detail


def test_the_greatest_filters_are_read() -> None:
    parse_filter(nested(MAX_DEPTH - 1))
    parse_filter({"$or": [{"a": 1}] * MAX_CONDITIONS})
    parse_filter({"a": {"$in": [0] * MAX_VALUES}})
    parse_filter({str(number): 1 for number in range(MAX_FIELDS)})
