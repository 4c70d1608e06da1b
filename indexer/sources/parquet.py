"""Parquet files, row group by row group."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as pq

from indexer.errors import SourceInvalid
from indexer.sources.mapping import Mapping, guess_nested
from indexer.sources.rows import Record
from indexer.sources.streams import FREE_BYTES, MAX_RATIO, BreaksOff, Check, Opener
from indexer.sources.values import as_json, shortened

_BATCH_ROWS = 256
_BATCH_BYTES = 64 * 2**20
_BUFFER_BYTES = 2**20
_ERRORS = (pa.ArrowException, OSError, ValueError)
_ROW_ERRORS = (pa.ArrowException, ValueError, OverflowError)


@dataclass(frozen=True)
class ParquetTable:
    """A Parquet file; `columns` name the fields of structs with dots, `names` what becomes metadata where unnamed."""

    open: Opener
    columns: tuple[str, ...]
    names: tuple[str, ...]
    needed: tuple[str, ...] | None = None

    @classmethod
    def inspect(cls, name: str, open_: Opener) -> Self:
        """Read the schema.

        Raises:
            SourceInvalid: The footer, which holds it, is damaged or missing.
        """
        try:
            with _opened(open_) as file:
                fields = list(file.schema_arrow)
        except BreaksOff as error:
            raise SourceInvalid(f"{name} cannot be read as Parquet: {error}") from error
        columns = [column for field in fields for column in _flat(field, lambda kind: True)]
        binary = {column for field in fields for column in _flat(field, _is_binary)}
        whole = [field.name for field in fields if not any(True for _ in _flat(field, _is_binary))]
        parts = [column for column in columns if column not in binary and column.partition(".")[0] not in whole]
        return cls(open_, tuple(columns), (*whole, *parts))

    def guess_mapping(self) -> Mapping:
        """Columns by their usual names; binary ones hold pictures or are left out."""
        return guess_nested(self.columns, self.names)

    def reading(self, mapping: Mapping) -> Self:
        """The same file, of which only what is mapped is read."""
        named = (mapping.id, mapping.image, mapping.text, *(mapping.metadata or ()))
        needed = tuple(dict.fromkeys(name for name in named if name))
        return type(self)(self.open, self.columns, self.names, needed)

    def records(self, after: int) -> Iterator[Record]:
        """The records after a number; whole row groups before are not read."""
        with _opened(self.open) as file:
            number = 0
            for group in range(file.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if number + rows > after:
                    yield from self._group(file, group, number, after)
                number += rows

    def count(self, check: Check) -> int:
        """The number of rows that the footer tells."""
        with _opened(self.open) as file:
            return sum(file.metadata.row_group(group).num_rows for group in range(file.num_row_groups))

    def value(self, cell: Any) -> Any:
        """Moments and decimals as JSON has them."""
        return as_json(cell)

    def _group(self, file: pq.ParquetFile, group: int, number: int, after: int) -> Iterator[Record]:
        end = number + file.metadata.row_group(group).num_rows
        size = _batch_rows(file.metadata.row_group(group), self.needed)
        batches = file.iter_batches(size, row_groups=[group], columns=self.needed, use_threads=False)
        while True:
            with _telling():
                batch = next(batches, None)
            if batch is None and number == end:
                return
            if batch is None or number + batch.num_rows > end:
                raise BreaksOff(f"row group {group} has not as many rows as it says; write the file again")
            skipped = min(max(after - number, 0), batch.num_rows)
            for place, (cells, fault) in enumerate(_cells(batch.slice(skipped)), start=number + skipped + 1):
                yield Record(place, cells, fault)
            number += batch.num_rows


def _batch_rows(group: pq.RowGroupMetaData, needed: tuple[str, ...] | None) -> int:
    """As many rows as are held in bounded memory even if each has all that its columns hold, as a dictionary allows."""
    size = 0
    for column in map(group.column, range(group.num_columns)):
        if needed is None or any(f"{column.path_in_schema}.".startswith(f"{name}.") for name in needed):
            size += column.total_uncompressed_size
            if column.total_uncompressed_size > MAX_RATIO * column.total_compressed_size + FREE_BYTES:
                raise BreaksOff(f"column {column.path_in_schema!r} grows to more than {MAX_RATIO} times its size")
    return max(1, min(_BATCH_ROWS, _BATCH_BYTES // max(1, size)))


@contextmanager
def _opened(open_: Opener) -> Iterator[pq.ParquetFile]:
    with open_() as stream:
        with _telling():
            file = pq.ParquetFile(pa.PythonFile(stream, mode="r"), buffer_size=_BUFFER_BYTES, pre_buffer=False)
        with file:
            yield file


@contextmanager
def _telling() -> Iterator[None]:
    try:
        yield
    except _ERRORS as error:
        raise BreaksOff(f"the file is damaged or cut off ({shortened(str(error))}); copy it again") from error


def _cells(batch: pa.RecordBatch) -> Iterator[tuple[dict[str, Any], str | None]]:
    """Each row as Python's objects; where one has no such form, in words why."""
    with _telling():
        whole = _without_nanoseconds(batch)
    try:
        rows = whole.to_pylist()
    except _ROW_ERRORS:
        for place in range(whole.num_rows):
            yield _row(whole.slice(place, 1))
    else:
        yield from ((row, None) for row in rows)


def _row(batch: pa.RecordBatch) -> tuple[dict[str, Any], str | None]:
    cells: dict[str, Any] = {}
    fault = None
    for name in batch.schema.names:
        try:
            [cells[name]] = batch.column(name).to_pylist()
        except _ROW_ERRORS as error:
            fault = f"the cell in column {name!r} cannot be read: {shortened(str(error))}"
    return cells, fault


def _without_nanoseconds(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Python's moments have microseconds."""
    fields = [field.with_type(_coarser(field.type)) for field in batch.schema]
    if all(field.type == column.type for field, column in zip(fields, batch.columns, strict=True)):
        return batch
    columns = [column.cast(field.type, safe=False) for field, column in zip(fields, batch.columns, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema(fields))


def _coarser(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind) and kind.unit == "ns":
        return pa.timestamp("us", kind.tz)
    if pa.types.is_time64(kind):
        return pa.time64("us")
    if pa.types.is_duration(kind) and kind.unit == "ns":
        return pa.duration("us")
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_coarser(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(_coarser(kind.value_type)))
    return kind


def _is_binary(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary))


def _flat(field: pa.Field, wanted: Callable[[pa.DataType], bool]) -> Iterator[str]:
    """The leaves of a column that are wanted by their type, with dots; a list is one."""
    kind = field.type
    if pa.types.is_struct(kind) and kind.num_fields:
        for inner in kind:
            yield from (f"{field.name}.{column}" for column in _flat(inner, wanted))
    elif wanted(kind.value_type if pa.types.is_list(kind) else kind):
        yield field.name
