"""Filters over metadata: parsed from JSON into an expression tree, and what they mean for one item.

    {"price": {"$gte": 10, "$lt": 100}, "brand": {"$in": ["Puma", "Nike"]}, "$not": {"size.eu": 42}}

`matches` is the reference; `indexer.search.columns` evaluates the same tree over all items at once.
"""

import math
import operator as operators
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

from indexer.errors import FilterInvalid

MAX_DEPTH = 16
"""Levels of `$and`, `$or` and `$not`."""
MAX_CONDITIONS = 256
MAX_VALUES = 10_000
"""In one list of values."""
MAX_FIELDS = 32
"""Different ones that one filter may name: each becomes a column in memory."""
MAX_PATH_LENGTH = 256

COMPARISONS: Mapping[str, Callable[[Any, Any], Any]] = {
    "$lt": operators.lt,
    "$lte": operators.le,
    "$gt": operators.gt,
    "$gte": operators.ge,
}


class _Missing:
    """The value of a field that an item lacks."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING: Final = _Missing()


@dataclass(frozen=True)
class OneOf:
    """The field equals one of the values."""

    path: str
    values: tuple[Any, ...]

    @cached_property
    def keys(self) -> frozenset[Hashable]:
        """The values as they are compared."""
        return frozenset(map(scalar_key, self.values))

    def holds(self, value: Any) -> bool:
        return is_scalar(value) and scalar_key(value) in self.keys


@dataclass(frozen=True)
class Compared:
    """The field is a number or a string, as the operand is, and compares to it so."""

    path: str
    operator: str
    operand: float | str

    def holds(self, value: Any) -> bool:
        if isinstance(self.operand, str):
            return isinstance(value, str) and bool(COMPARISONS[self.operator](value, self.operand))
        return bool(COMPARISONS[self.operator](as_number(value), self.operand))


@dataclass(frozen=True)
class Contains:
    """The field is a list with this element, or a string with this part."""

    path: str
    operand: Any

    def holds(self, value: Any) -> bool:
        if isinstance(value, str):
            return isinstance(self.operand, str) and self.operand in value
        return isinstance(value, list) and any(OneOf(self.path, (self.operand,)).holds(element) for element in value)


@dataclass(frozen=True)
class Exists:
    """The item has the field, be it null."""

    path: str

    def holds(self, value: Any) -> bool:
        return value is not MISSING


Condition: TypeAlias = OneOf | Compared | Contains | Exists


@dataclass(frozen=True)
class All:
    """Every part matches."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class AnyOf:
    """At least one part matches."""

    parts: "tuple[Filter, ...]"


@dataclass(frozen=True)
class Not:
    """The part does not match."""

    part: "Filter"


Filter: TypeAlias = Condition | All | AnyOf | Not


def matches(filter_: Filter, metadata: Mapping[str, Any]) -> bool:
    """Whether an item with this metadata matches."""
    match filter_:
        case All(parts):
            return all(matches(part, metadata) for part in parts)
        case AnyOf(parts):
            return any(matches(part, metadata) for part in parts)
        case Not(part):
            return not matches(part, metadata)
        case condition:
            return condition.holds(field_value(metadata, condition.path))


def field_value(metadata: Mapping[str, Any], path: str) -> Any:
    """The value of a field, `MISSING` without one; a name that itself has dots goes before what is nested."""
    if path in metadata:
        return metadata[path]
    first, _, rest = path.partition(".")
    inner = metadata.get(first)
    return field_value(inner, rest) if rest and isinstance(inner, dict) else MISSING


def paths(filter_: Filter) -> set[str]:
    """Every field that a filter names."""
    return {condition.path for condition in conditions(filter_)}


def conditions(filter_: Filter) -> Iterator[Condition]:
    """Every condition of a filter."""
    match filter_:
        case All(parts) | AnyOf(parts):
            for part in parts:
                yield from conditions(part)
        case Not(part):
            yield from conditions(part)
        case condition:
            yield condition


def is_scalar(value: Any) -> bool:
    """Whether a value of JSON is neither a list nor an object."""
    return value is None or isinstance(value, bool | int | float | str)


def scalar_key(value: Any) -> Hashable:
    """Equal for equal values: 1 and 1.0 are, 1 and true are not, and integers of any size are compared exactly."""
    return (value,) if isinstance(value, bool) else value


def as_number(value: Any) -> float:
    """A number as it is ordered, NaN for what is none; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def parse_filter(value: Any, pointer: str = "/filter") -> Filter:
    """The filter that JSON says.

    Args:
        pointer: Where in the request it stands, for errors.

    Raises:
        FilterInvalid: It is none; the error points to the operator at fault and says what it takes.
    """
    parsed = _parse_object(value, pointer, MAX_DEPTH)
    if sum(1 for _ in conditions(parsed)) > MAX_CONDITIONS:
        raise FilterInvalid(f"a filter has at most {MAX_CONDITIONS} conditions", pointer)
    if len(paths(parsed)) > MAX_FIELDS:
        raise FilterInvalid(f"a filter names at most {MAX_FIELDS} different fields", pointer)
    return parsed


def check_path(path: str, pointer: str) -> None:
    """Raise `FilterInvalid` unless this can be the name of a field."""
    if not 1 <= len(path) <= MAX_PATH_LENGTH:
        raise FilterInvalid(f"the name of a field has 1 to {MAX_PATH_LENGTH} characters", pointer)


def _parse_object(value: Any, pointer: str, depth: int) -> Filter:
    if not isinstance(value, dict):
        raise FilterInvalid('a filter is an object, such as {"brand": "Puma", "price": {"$lt": 100}}', pointer)
    if depth == 0:
        raise FilterInvalid(f"$and, $or and $not are nested at most {MAX_DEPTH - 1} deep", pointer)
    return _all([_parse_entry(name, part, _below(pointer, name), depth) for name, part in value.items()])


def _parse_entry(name: str, value: Any, pointer: str, depth: int) -> Filter:
    match name:
        case "$and" | "$or":
            if not isinstance(value, list) or not value:
                raise FilterInvalid(f"{name} takes a list of at least one filter", pointer)
            parts = tuple(_parse_object(part, f"{pointer}/{n}", depth - 1) for n, part in enumerate(value))
            return AnyOf(parts) if name == "$or" else All(parts)
        case "$not":
            return Not(_parse_object(value, pointer, depth - 1))
        case _ if name.startswith("$"):
            raise FilterInvalid(f"{name} cannot stand here: {_WHERE}", pointer)
        case _:
            check_path(name, pointer)
            return _parse_field(name, value, pointer)


def _parse_field(path: str, value: Any, pointer: str) -> Filter:
    if not isinstance(value, dict):
        return _parse_condition(path, "$eq", value, pointer)
    if not value:
        raise FilterInvalid('an empty object is no condition; presence is {"$exists": true}', pointer)
    return _all([_parse_condition(path, name, operand, _below(pointer, name)) for name, operand in value.items()])


def _parse_condition(path: str, name: str, operand: Any, pointer: str) -> Filter:
    match name:
        case "$eq":
            return OneOf(path, (_scalar(name, operand, pointer),))
        case "$ne":
            return Not(OneOf(path, (_scalar(name, operand, pointer),)))
        case "$in":
            return OneOf(path, _scalars(name, operand, pointer))
        case "$nin":
            return Not(OneOf(path, _scalars(name, operand, pointer)))
        case "$lt" | "$lte" | "$gt" | "$gte":
            return Compared(path, name, _comparable(name, operand, pointer))
        case "$contains":
            return Contains(path, _scalar(name, operand, pointer))
        case "$exists":
            if not isinstance(operand, bool):
                raise FilterInvalid("$exists takes true or false", pointer)
            return Exists(path) if operand else Not(Exists(path))
        case _ if name.startswith("$"):
            raise FilterInvalid(f"{name} cannot stand here: {_WHERE}", pointer)
        case _:
            raise FilterInvalid(f"{name!r} is no operator; a nested field is named {path + '.' + name!r}", pointer)


_WHERE = (
    "$and, $or and $not stand around conditions, and a field takes $eq, $ne, $lt, $lte, $gt, $gte, $in, $nin, "
    "$exists and $contains"
)


def _all(parts: list[Filter]) -> Filter:
    return parts[0] if len(parts) == 1 else All(tuple(parts))


def _scalar(name: str, operand: Any, pointer: str) -> Any:
    if not is_scalar(operand):
        raise FilterInvalid(
            f"{name} takes a string, a number, true, false or null; one of several values is $in", pointer
        )
    return operand


def _scalars(name: str, operand: Any, pointer: str) -> tuple[Any, ...]:
    if not isinstance(operand, list):
        raise FilterInvalid(f"{name} takes a list of values", pointer)
    if len(operand) > MAX_VALUES:
        raise FilterInvalid(f"{name} takes at most {MAX_VALUES} values", pointer)
    for number, value in enumerate(operand):
        if not is_scalar(value):
            raise FilterInvalid(f"{name} takes strings, numbers, true, false and null", f"{pointer}/{number}")
    return tuple(operand)


def _comparable(name: str, operand: Any, pointer: str) -> float | str:
    if isinstance(operand, str):
        return operand
    if isinstance(operand, bool) or not isinstance(operand, int | float):
        raise FilterInvalid(f"{name} takes a number or a string", pointer)
    return as_number(operand)


def _below(pointer: str, name: str) -> str:
    return f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}"
