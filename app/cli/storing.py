"""A batch of a catalogue's rows, stored by a running server as a job would store them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote

from app.cli.client import Client, RequestRefused
from app.data_uris import data_uri

Problem = dict[str, Any]
"""What is wrong, with `type` and `detail`, as the API tells it."""


@dataclass(frozen=True)
class Entry:
    """A row as the server takes it; `item` is None where it names none, `fault` tells of the row or its picture."""

    number: int
    id: str
    item: dict[str, Any] | None
    fault: Problem | None = None

    @property
    def size(self) -> int:
        """About the bytes of its picture and text."""
        return sum(len(self.item.get(name, "")) for name in ("image", "text")) if self.item else 0


Outcome = list[tuple[Entry, dict[str, Any]]]
"""Rows in order, each with the server's answer: a `status`, or an `error`."""


def store(client: Client, path: str, batch: Sequence[Entry]) -> Outcome:
    """Store rows with different ids; what is left of one whose picture cannot be used is stored without it."""
    results = _post(client, path, [entry for entry in batch if not entry.fault])
    judged = [_judged(entry, results.get(entry.number)) for entry in batch]
    halves = [_half(client, path, entry) for entry in judged if entry.fault and entry.item]
    results |= _post(client, path, [entry for entry in halves if entry.size])
    return [(entry, results.get(entry.number) or {"error": entry.fault}) for entry in judged]


def _judged(entry: Entry, result: dict[str, Any] | None) -> Entry:
    """The entry without its picture, and with what is wrong with that, if the server says so."""
    if entry.item and result and "error" in result and _blames_picture(entry, result["error"]):
        item = {name: value for name, value in entry.item.items() if name != "image"}
        return replace(entry, item=item, fault=result["error"])
    return entry


def _blames_picture(entry: Entry, problem: Problem) -> bool:
    if entry.item is None or "image" not in entry.item:
        return False
    pointers = [field["pointer"] for field in problem.get("errors") or ()]
    return problem["type"] == "body-too-large" or any(re.fullmatch(r"/items/\d+/image", each) for each in pointers)


def _half(client: Client, path: str, entry: Entry) -> Entry:
    """The entry with the picture that its item has already, which an update without one would take away.

    Nothing is left to store where that picture cannot be had.
    """
    assert entry.item is not None
    stored: dict[str, Any] = {}
    try:
        named = quote(entry.id, safe="").replace(".", "%2E")  # an id of dots alone would lead elsewhere
        stored = client.send("GET", f"{path}/{named}")
        if "image" not in stored["modalities"]:
            return entry
        if stored["image_url"] is None:
            return replace(entry, item=None)
        return replace(entry, item=entry.item | {"image": data_uri(client.content(stored["image_url"]))})
    except RequestRefused as refusal:
        if refusal.status != 404:
            raise
        return replace(entry, item=None) if stored else entry


def _post(client: Client, path: str, batch: Sequence[Entry]) -> dict[int, dict[str, Any]]:
    """Results by the rows' numbers; a batch that is refused as a whole is halved until the bad row stands alone."""
    if not batch:
        return {}
    try:
        answer = client.send("POST", path, json={"items": [entry.item for entry in batch]})
    except RequestRefused as refusal:
        if refusal.status not in (400, 413, 422):
            raise
        if len(batch) == 1:
            return {batch[0].number: {"error": {"type": "row-refused"} | refusal.problem | {"detail": str(refusal)}}}
        middle = len(batch) // 2
        return _post(client, path, batch[:middle]) | _post(client, path, batch[middle:])
    return {entry.number: result for entry, result in zip(batch, answer["results"], strict=True)}
