"""Columns against the plain evaluation of a filter, whatever is written in between."""

import json
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from indexer.search import columns as columns_module
from indexer.search.columns import ITEMS, Columns
from indexer.search.filters import All, Filter, field_value, is_scalar, matches, parse_filter, paths
from tests.waiting import WAIT_S

NAMES = st.sampled_from(["a", "b", "a.b", "c"])
NUMBERS = st.sampled_from([0, -0.0, 1, 1.0, 2, 2.5, -3, 2**53, 2**53 + 1, 10**400, -(10**400)])
SCALARS = st.none() | st.booleans() | NUMBERS | st.sampled_from(["", "a", "ab", "b", "é", "1", "true"])
VALUES = (
    SCALARS
    | st.lists(SCALARS, max_size=2)
    | st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=1), max_size=2)
)
ITEM = st.dictionaries(NAMES, VALUES, max_size=3)
FIELDS = st.sampled_from(["a", "b", "c", "a.b", "a.c", "a.a.b", "none"])
CONDITIONS = SCALARS | st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(["$eq", "$ne", "$contains"], SCALARS),
        **dict.fromkeys(["$lt", "$lte", "$gt", "$gte"], NUMBERS | st.sampled_from(["", "a", "ab"])),
        **dict.fromkeys(["$in", "$nin"], st.lists(SCALARS, max_size=3)),
        "$exists": st.booleans(),
    },
).filter(bool)
FILTERS = st.recursive(
    st.dictionaries(FIELDS, CONDITIONS, max_size=2),
    lambda inner: (
        st.fixed_dictionaries({"$not": inner})
        | st.fixed_dictionaries({"$and": st.lists(inner, min_size=1, max_size=3)})
        | st.fixed_dictionaries({"$or": st.lists(inner, min_size=1, max_size=3)})
    ),
    max_leaves=5,
).map(parse_filter)
Item = dict[str, Any]


class Writing(RuleBasedStateMachine):
    """Items come, change and go, as the catalogue sees it: keys only grow."""

    def __init__(self) -> None:
        super().__init__()
        self.items: dict[int, Item] = {}
        self.next_pk = 41
        self.columns = Columns(self.read)

    def read(self) -> Iterator[Sequence[tuple[int, Item]]]:
        rows = list(self.items.items())
        yield from (rows[start : start + 3] for start in range(0, len(rows), 3))

    @rule(new=st.lists(ITEM, max_size=5), gap=st.integers(0, 100))
    def insert(self, new: list[Item], gap: int) -> None:
        self.next_pk += gap  # other collections take keys too
        self.write({self.next_pk + number: metadata for number, metadata in enumerate(new)})
        self.next_pk += len(new)

    @rule(data=st.data(), metadata=ITEM | st.none())
    def change(self, data: st.DataObject, metadata: Item | None) -> None:
        if self.items:
            self.write({data.draw(st.sampled_from(sorted(self.items))): metadata})

    @rule()
    def forget(self) -> None:
        self.columns.clear()

    @rule(filter_=FILTERS)
    def select(self, filter_: Filter) -> None:
        expected = [pk for pk, metadata in self.items.items() if matches(filter_, metadata)]
        assert self.columns.select(filter_).items.pks.tolist() == sorted(expected)

    @rule(filter_=FILTERS, path=FIELDS)
    def count(self, filter_: Filter, path: str) -> None:
        counted: Counter[Any] = Counter()
        for metadata in self.items.values():
            if matches(filter_, metadata):
                value = field_value(metadata, path)
                elements = value if isinstance(value, list) else [value]
                counted.update({repr_of(element) for element in elements if is_scalar(element) and element is not None})
        [(name, facet)] = self.columns.select(filter_, facets=[path]).facets.items()
        assert name == path
        assert {repr_of(found.value): found.count for found in facet} == counted
        assert [found.count for found in facet] == sorted(counted.values(), reverse=True)

    @rule(path=FIELDS)
    def group(self, path: str) -> None:
        found = self.columns.select(All(()), group_by=path)
        assert found.groups is not None
        numbers: dict[int, set[str]] = {}
        for pk, number in zip(found.items.pks.tolist(), found.groups[found.items.mask].tolist(), strict=True):
            numbers.setdefault(number, set()).add(repr_of(field_value(self.items[pk], path)))
        assert numbers.pop(0, set()) <= {"MISSING", "None"}
        assert all(len(values) == 1 for values in numbers.values())
        assert len(set[str]().union(*numbers.values())) == len(numbers)

    def write(self, items: dict[int, Item | None]) -> None:
        for pk, metadata in items.items():
            if metadata is None:
                del self.items[pk]
            else:
                self.items[pk] = metadata
        self.columns.apply(items)


def repr_of(value: Any) -> str:
    """Equal for what JSON's users call equal."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True) if isinstance(value, list | dict) else repr(value)


TestWriting = Writing.TestCase
TestWriting.settings = settings(max_examples=60, stateful_step_count=20)


@given(filter_=FILTERS, rows=st.lists(ITEM, max_size=20))
def test_a_column_says_what_the_plain_evaluation_says(filter_: Filter, rows: list[Item]) -> None:
    found = Columns(lambda: iter([list(enumerate(rows, 7))] if rows else [])).select(filter_).items
    assert found.holds(np.arange(30)).tolist() == [
        7 <= pk < 7 + len(rows) and matches(filter_, rows[pk - 7]) for pk in range(30)
    ]


class Reading:
    """A catalogue whose reading can be stopped half-way."""

    def __init__(self) -> None:
        self.items: dict[int, Item] = {pk: {"n": pk} for pk in range(1, 5)}
        self.readings = 0
        self.half_way, self.go_on = threading.Event(), threading.Event()
        self.go_on.set()

    def __call__(self) -> Iterator[Sequence[tuple[int, Item]]]:
        self.readings += 1
        rows = list(self.items.items())
        yield rows[:2]
        self.half_way.set()
        assert self.go_on.wait(WAIT_S)
        yield rows[2:]


def test_what_is_written_while_a_column_is_read_is_not_missed() -> None:
    reading = Reading()
    columns = Columns(reading)
    columns.select(parse_filter({}))
    reading.half_way.clear()
    reading.go_on.clear()
    found: list[list[int]] = []
    reader = threading.Thread(
        target=lambda: found.append(columns.select(parse_filter({"n": {"$gte": 3}})).items.pks.tolist())
    )
    reader.start()
    assert reading.half_way.wait(WAIT_S)
    columns.apply({1: {"n": 30}, 3: {"n": 0}, 4: None, 9: {"n": 9}})
    assert columns.select(parse_filter({})).items.pks.tolist() == [1, 2, 3, 9]
    reading.go_on.set()
    reader.join(WAIT_S)
    assert found == [[1, 9]]
    assert reading.readings == 2


def test_a_column_that_was_being_read_when_a_write_was_missed_is_read_anew() -> None:
    reading = Reading()
    columns = Columns(reading)
    reading.go_on.clear()
    found: list[list[int]] = []
    reader = threading.Thread(target=lambda: found.append(columns.select(parse_filter({"n": 7})).items.pks.tolist()))
    reader.start()
    assert reading.half_way.wait(WAIT_S)
    reading.items[3] = {"n": 7}
    columns.clear()
    reading.go_on.set()
    reader.join(WAIT_S)
    assert found == [[3]]
    assert reading.readings == 2


def test_a_reading_that_fails_leaves_nothing_behind() -> None:
    rows = [[(1, {"a": 1})]]

    def read() -> Iterator[Sequence[tuple[int, Item]]]:
        yield rows.pop() if rows else []
        raise OSError("the disk is gone")

    columns = Columns(read)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            columns.select(parse_filter({"a": 1}))


def test_columns_that_are_not_used_make_room(monkeypatch: pytest.MonkeyPatch) -> None:
    reading = Reading()
    columns = Columns(reading)
    monkeypatch.setattr(columns_module, "BUDGET_BYTES", 1)
    for path in ("n", "m", "n"):
        columns.select(parse_filter({path: {"$exists": True}}))
    assert reading.readings == 3
    assert set(columns._columns) == {ITEMS, "n"}


def test_values_that_no_item_has_any_more_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns_module, "_SLACK", 2)
    reading = Reading()
    columns = Columns(reading)
    for round_ in range(50):
        reading.items[1] = {"n": f"new {round_}"}
        columns.apply({1: reading.items[1]})
        assert columns.select(parse_filter({"n": f"new {round_}"})).items.pks.tolist() == [1]
        assert len(columns._columns["n"].values) <= 12
    assert reading.readings < 15


def test_a_facet_has_the_most_frequent_values_and_ends() -> None:
    rows = [(pk, {"n": f"v{pk % 150:03}"}) for pk in range(149)] + [
        (200, {"n": "v149"}),
        (201, {"n": ["v149", "v000"]}),
    ]
    [facet] = Columns(lambda: iter([rows])).select(All(()), facets=["n"]).facets.values()
    assert [found.value for found in facet] == ["v000", "v149", *(f"v{number:03}" for number in range(1, 99))]
    assert [found.count for found in facet] == [2, 2] + [1] * 98


def test_every_field_of_a_filter_is_named() -> None:
    filter_ = parse_filter({"a": 1, "$or": [{"b.c": {"$gt": 1, "$lt": 2}}, {"$not": {"d": {"$exists": False}}}]})
    assert paths(filter_) == {"a", "b.c", "d"}
