"""Metadata fields as columns in memory, so that a filter takes milliseconds over millions of items.

A column is read from the catalogue when a filter first names its field, and changed with every write from then on.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from indexer.index.selection import ItemSet
from indexer.search.facets import most_frequent
from indexer.search.filters import (
    COMPARISONS,
    MISSING,
    All,
    AnyOf,
    Compared,
    Condition,
    Exists,
    Filter,
    Not,
    OneOf,
    as_number,
    field_value,
    is_scalar,
    paths,
    scalar_key,
)
from indexer.types import FacetCount

BUDGET_BYTES = 256 * 1024**2
"""Of all columns of a collection; beyond it, those that were not used for longest are dropped."""
ITEMS = ""
"""The column that says which items there are; no field has this name."""
_SLACK = 65_536
"""Values that no item has any more are kept up to here, and up to as many as were read."""
_VALUE_BYTES = 200
"""About what a distinct value costs beside its characters."""

Metadata = Mapping[str, Any]


class Column:
    """One field of all items: a number per item, and the distinct values that the numbers stand for."""

    def __init__(self) -> None:
        self.codes = np.zeros(0, dtype=np.int32)
        """By position of the item; 0 where the item lacks the field."""
        self.values: list[Any] = [MISSING]
        self._codes_of: dict[Hashable, int] = {}
        self._numbers = np.full(1, np.nan)
        self._value_bytes = self._read = 0

    @property
    def memory_bytes(self) -> int:
        """About what it costs."""
        return self.codes.nbytes + self._numbers.nbytes + self._value_bytes

    @property
    def is_bloated(self) -> bool:
        """Whether so many values came and went that it is better read anew."""
        return len(self.values) > 2 * self._read + _SLACK

    def encode(self, value: Any) -> int:
        """The number that stands for a value."""
        if value is MISSING:
            return 0
        key = scalar_key(value) if is_scalar(value) else ("json", json.dumps(value, sort_keys=True))
        code = self._codes_of.setdefault(key, len(self.values))
        if code == len(self.values):
            self._numbers = _with_room(self._numbers, code + 1)
            self._numbers[code] = as_number(value)
            self.values.append(value)
            self._value_bytes += _VALUE_BYTES + len(str(key))
        return code

    def fill(self, positions: NDArray[np.int64], codes: NDArray[np.int32], size: int) -> None:
        """Set what was read."""
        self.reserve(size)
        self.codes[positions] = codes
        self._read = len(self.values)

    def reserve(self, size: int) -> None:
        """Make room for so many items."""
        self.codes = _with_room(self.codes, size)

    def counts(self, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
        """How many of some items have each of the values."""
        return np.bincount(self.codes[: len(mask)][mask], minlength=len(self.values))

    def groups(self, size: int) -> NDArray[np.int32]:
        """[size], equal numbers for items with equal values; 0 for those without the field, or with null there."""
        codes = self.codes[:size].copy()
        codes[codes == self._codes_of.get(None, 0)] = 0
        return codes

    def mask(self, condition: Condition, size: int) -> NDArray[np.bool_]:
        """[size], where the condition holds: it is asked once for each distinct value."""
        return np.asarray(np.take(self._truths(condition), self.codes[:size]))

    def _truths(self, condition: Condition) -> NDArray[np.bool_]:
        match condition:
            case OneOf():
                truths = np.zeros(len(self.values), dtype=bool)
                truths[[self._codes_of[key] for key in condition.keys if key in self._codes_of]] = True
                return truths
            case Compared(_, operator, float() as operand):
                return np.asarray(COMPARISONS[operator](self._numbers[: len(self.values)], operand))
            case Exists():
                return np.arange(len(self.values)) > 0
            case _:
                return np.fromiter(map(condition.holds, self.values), dtype=bool, count=len(self.values))


class Matches(NamedTuple):
    """The items that match a filter, and what is told about them."""

    items: ItemSet
    facets: dict[str, list[FacetCount]]
    groups: NDArray[np.int32] | None
    """[n], by position in the mask of `items`: equal numbers for items of one group, 0 for an item of none."""


class Columns:
    """The columns of a collection that filters have named. Thread-safe.

    Args:
        read: The metadata of all items by primary key at one moment, in blocks.
    """

    def __init__(self, read: Callable[[], Iterator[Sequence[tuple[int, Metadata]]]]) -> None:
        self._read = read
        self._lock = threading.RLock()
        self._reading = threading.Lock()
        self._columns: OrderedDict[str, Column] = OrderedDict()
        """The one that was used last is last."""
        self._first: int | None = None
        self._size = 0
        self._missed: list[Mapping[int, Metadata | None]] | None = None
        """Writes since a reading began, which may or may not have seen them; None while nothing is read."""

    def select(self, filter_: Filter, facets: Sequence[str] = (), group_by: str | None = None) -> Matches:
        """The items that match, every write that was taken over included.

        Args:
            facets: Fields whose values are counted among them.
            group_by: Field by whose values items are grouped.
        """
        grouping = {group_by} if group_by else set()
        with self._loaded(paths(filter_) | set(facets) | grouping):
            items = ItemSet(self._first or 0, self._mask(filter_) & (self._columns[ITEMS].codes[: self._size] > 0))
            counted = {path: (self._columns[path].values, self._columns[path].counts(items.mask)) for path in facets}
            groups = self._columns[group_by].groups(self._size) if group_by else None
        return Matches(items, {path: most_frequent(*counts) for path, counts in counted.items()}, groups)

    def apply(self, items: Mapping[int, Metadata | None]) -> None:
        """Take over a committed write: metadata by primary key, None for an item that is gone."""
        with self._lock:
            if self._missed is not None:
                self._missed.append(items)
            self._take_in(items, self._columns)
            for path in [path for path, column in self._columns.items() if column.is_bloated]:
                del self._columns[path]

    def clear(self) -> None:
        """Forget everything; what is needed is read anew."""
        with self._lock:
            self._columns.clear()
            self._first, self._size, self._missed = None, 0, None

    def _mask(self, filter_: Filter) -> NDArray[np.bool_]:
        match filter_:
            case All(parts):
                return reduce(np.logical_and, map(self._mask, parts), np.ones(self._size, dtype=bool))
            case AnyOf(parts):
                return reduce(np.logical_or, map(self._mask, parts), np.zeros(self._size, dtype=bool))
            case Not(part):
                return ~self._mask(part)
            case condition:
                return self._columns[condition.path].mask(condition, self._size)

    @contextmanager
    def _loaded(self, wanted: set[str]) -> Iterator[None]:
        """The lock, with these columns there."""
        needed = [*wanted, ITEMS]
        while True:
            with self._lock:
                if all(path in self._columns for path in needed):
                    for path in needed:
                        self._columns.move_to_end(path)
                    self._drop_unused(len(needed))
                    yield
                    return
            self._load(needed)

    def _load(self, needed: Sequence[str]) -> None:
        """Read the columns that are not there, in one pass and beside writes, which wait for nothing."""
        with self._reading:
            with self._lock:
                new = {path: Column() for path in needed if path not in self._columns}
                missed: list[Mapping[int, Metadata | None]] = []
                self._missed = missed
            try:
                pks, codes = self._read_codes(new) if new else (np.empty(0, dtype=np.int64), {})
                with self._lock:
                    if self._missed is missed:  # else a write was not taken over
                        self._add(new, pks, codes, missed)
            finally:
                with self._lock:
                    self._missed = None

    def _read_codes(self, new: Mapping[str, Column]) -> tuple[NDArray[np.int64], dict[str, NDArray[np.int32]]]:
        pks: list[NDArray[np.int64]] = [np.empty(0, dtype=np.int64)]
        codes: dict[str, list[NDArray[np.int32]]] = {path: [np.empty(0, dtype=np.int32)] for path in new}
        for block in self._read():
            pks.append(np.array([pk for pk, _ in block], dtype=np.int64))
            for path, column in new.items():
                encoded = [column.encode(_value(path, metadata)) for _, metadata in block]
                codes[path].append(np.array(encoded, dtype=np.int32))
        return np.concatenate(pks), {path: np.concatenate(parts) for path, parts in codes.items()}

    def _add(
        self,
        new: Mapping[str, Column],
        pks: NDArray[np.int64],
        codes: Mapping[str, NDArray[np.int32]],
        missed: Sequence[Mapping[int, Metadata | None]],
    ) -> None:
        if self._first is None and len(pks):
            self._first = int(pks.min())
        if len(pks):
            self._size = max(self._size, int(pks.max()) + 1 - (self._first or 0))
        for path, column in new.items():
            column.fill(pks - (self._first or 0), codes[path], self._size)
        self._columns.update(new)
        for column in self._columns.values():
            column.reserve(self._size)
        for items in missed:
            self._take_in(items, new)

    def _take_in(self, items: Mapping[int, Metadata | None], columns: Mapping[str, Column]) -> None:
        if not columns:
            return
        written = [pk for pk, metadata in items.items() if metadata is not None]
        if written:
            self._first = min(written) if self._first is None else self._first
            self._size = max(self._size, max(written) + 1 - self._first)
            for column in self._columns.values():
                column.reserve(self._size)
        for pk, metadata in items.items():
            # Keys only grow: one before the first is of an item that was gone before anything was read.
            position = pk - (self._first or 0)
            if 0 <= position < self._size:
                for path, column in columns.items():
                    column.codes[position] = column.encode(_value(path, metadata))

    def _drop_unused(self, needed: int) -> None:
        while len(self._columns) > needed and sum(c.memory_bytes for c in self._columns.values()) > BUDGET_BYTES:
            self._columns.popitem(last=False)


def _value(path: str, metadata: Metadata | None) -> Any:
    if metadata is None:
        return MISSING
    return True if path == ITEMS else field_value(metadata, path)


def _with_room(array: NDArray[Any], size: int) -> NDArray[Any]:
    """The array, or a copy that is twice as long and filled with zeros."""
    if size <= len(array):
        return array
    grown = np.zeros(max(size, 2 * len(array)), dtype=array.dtype)
    grown[: len(array)] = array
    return grown
