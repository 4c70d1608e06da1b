"""A batch of items into a collection: pictures loaded side by side, memory bounded, one result per item."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from app.dependencies import ImageLoader
from app.errors import FieldFault, problem_of
from app.schemas.items import BatchItem, PutItem, RefusedItem, StoredItem
from indexer.collection import Collection
from indexer.types import Failed, NewItem, Upserted

Result = PutItem | StoredItem | RefusedItem

SIDE_BY_SIDE = 8
"""Pictures loaded at a time; those behind URLs mostly wait for their servers."""

MAX_PENDING_BYTES = 64 * 2**20
"""Loaded pictures that may wait for their transaction."""


def store_batch(
    collection: Collection, items: Sequence[BatchItem], load_image: ImageLoader, *, find_duplicates: bool = False
) -> list[Result]:
    """Store items in order; a bad one is reported in its place and stops no other.

    Args:
        find_duplicates: Also tell of items with the same or nearly the same picture, those of the batch that are
            stored by then among them: of two duplicates in one batch at least the later names the other.
    """
    results: dict[int, Result] = {}
    pending: dict[int, NewItem] = {}
    for number, loaded in enumerate(_load(items, load_image)):
        if isinstance(loaded, FieldFault):
            results[number] = RefusedItem(id=items[number].id, error=problem_of(loaded.error, loaded.pointer))
        else:
            pending[number] = loaded
        if sum(len(item.image or b"") for item in pending.values()) > MAX_PENDING_BYTES:
            results |= _store(collection, pending, find_duplicates)
            pending = {}
    results |= _store(collection, pending, find_duplicates)
    return [results[number] for number in range(len(items))]


def _load(items: Sequence[BatchItem], load_image: ImageLoader) -> Iterator[NewItem | FieldFault]:
    def load(number: int) -> NewItem | FieldFault:
        item = items[number]
        try:
            image = None if item.image is None else load_image(item.image, f"/items/{number}/image")
        except FieldFault as fault:
            return fault
        return item.new_item(item.id, image)

    if all(item.image is None for item in items):  # threads take longer to start than the whole batch to store
        yield from map(load, range(len(items)))
        return
    with ThreadPoolExecutor(SIDE_BY_SIDE, "load-image") as pool:
        for start in range(0, len(items), SIDE_BY_SIDE):
            yield from pool.map(load, range(start, min(start + SIDE_BY_SIDE, len(items))))


def _store(collection: Collection, pending: Mapping[int, NewItem], find_duplicates: bool) -> dict[int, Result]:
    stored = collection.upsert(list(pending.values()), find_duplicates=find_duplicates)
    kind = PutItem if find_duplicates else StoredItem
    return {number: _answer(number, result, kind) for number, result in zip(pending, stored, strict=True)}


def _answer(number: int, result: Upserted | Failed, kind: type[StoredItem]) -> Result:
    if isinstance(result, Upserted):
        return kind.of(result)
    fault = FieldFault.of(result.error, f"/items/{number}")
    return RefusedItem(id=result.id, error=problem_of(fault.error, fault.pointer))
