"""Items: stored, read, listed, deleted."""

from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Literal

from sightline_client.call import Call, delete, get, path_of, post, put
from sightline_client.inputs import NewItem, given, item_document
from sightline_client.results import Item, JsonObject, PutItem, RefusedItem, SelectedItem, StoredItem
from sightline_client.results.base import Result

PAGE_ITEMS = 1000


class ItemPage(Result):
    """A page of items; None as its cursor ends the list."""

    items: list[Item]
    next_cursor: str | None


class BatchResults(Result):
    """One result for each item of a batch, in their order."""

    results: list[PutItem | StoredItem | RefusedItem]


class _Deleted(Result):
    deleted: int


class _Selected(Result):
    items: list[SelectedItem]


def put_item(item: NewItem, *, collection: str = "default") -> Call[PutItem]:
    """Store an item; when this returns, it is durable, and the next search finds it."""
    return put(path_of("collections", collection, "items", item.id), item_document(item), PutItem)


def put_items(
    items: Sequence[NewItem], *, collection: str = "default", duplicates: bool = False
) -> Call[list[PutItem | StoredItem | RefusedItem]]:
    """Store at most 512 items at once; each is answered for itself, in order. `ingest_items` takes any number.

    Args:
        duplicates: Also tell of items with nearly the same picture.
    """
    body = {"items": [{"id": item.id, **item_document(item)} for item in items]}
    call = post(path_of("collections", collection, "items"), body, BatchResults, attrgetter("results"))
    return replace(call, query={"duplicates": "true"}) if duplicates else call


def item(item_id: str, *, collection: str = "default") -> Call[Item]:
    """Read an item."""
    return get(path_of("collections", collection, "items", item_id), Item)


def image(item_id: str, *, collection: str = "default", width: int | None = None) -> Call[bytes]:
    """Get an item's picture: the original, or a JPEG thumbnail of a width."""
    return get(path_of("collections", collection, "items", item_id, "image"), bytes, width=width)


def item_page(collection: str, filter: JsonObject | None, cursor: str | None) -> Call[ItemPage]:
    """Read a page of a collection's items."""
    path = path_of("collections", collection, "items")
    return get(path, ItemPage, filter=filter, cursor=cursor, limit=PAGE_ITEMS)


def delete_item(item_id: str, *, collection: str = "default") -> Call[None]:
    """Delete an item."""
    return delete(path_of("collections", collection, "items", item_id))


def delete_items(
    ids: Sequence[str] | None = None, *, filter: JsonObject | None = None, collection: str = "default"
) -> Call[int]:
    """Delete items by their ids, or all that match a filter; gives how many there were."""
    path = path_of("collections", collection, "items", "delete")
    # Sent again after a lost answer, it would count what is gone already.
    return post(path, given({"ids": ids, "filter": filter}), _Deleted, attrgetter("deleted"), idempotent=False)


def select(
    k: int,
    *,
    collection: str = "default",
    method: Literal["diverse", "representative"] = "diverse",
    filter: JsonObject | None = None,
) -> Call[list[SelectedItem]]:
    """Select at most `k` items that stand for a collection."""
    body = given({"k": k, "method": method, "filter": filter})
    return post(path_of("collections", collection, "select"), body, _Selected, attrgetter("items"))
