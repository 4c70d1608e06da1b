"""What a server acknowledged, and what it must therefore still have."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.fakes import FakeEncoder
from tests.pictures import data_uri, picture

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Content:
    """An item without its id; texts and colours are each item's own, so that a search for them finds it first."""

    text: str | None
    colour: Colour | None
    number: int

    def body(self) -> dict[str, Any]:
        """As a request has it."""
        image = {} if self.colour is None else {"image": data_uri(picture(self.colour))}
        text = {} if self.text is None else {"text": self.text}
        return image | text | {"metadata": {"number": self.number}}

    def told(self) -> dict[str, Any]:
        """As the API tells it, but for what it adds."""
        halves = {"image": self.colour, "text": self.text}
        modalities = [name for name, half in halves.items() if half is not None]
        return {"text": self.text, "metadata": {"number": self.number}, "modalities": modalities}

    def vectors(self, encoder: FakeEncoder) -> dict[str, NDArray[np.float32]]:
        """As they were computed before they were stored."""
        found = {}
        if self.colour is not None:
            drawn = Image.new("RGB", (24, 16), self.colour)
            [found["image"]] = encoder.encode_pixels([encoder.preprocess(drawn)])
        if self.text is not None:
            [found["text"]] = encoder.encode_texts([self.text]).vectors
        return found


State = Content | None
"""None: there is no such item."""


class Ledger:
    """What each item may be: one state once its last write is acknowledged, any of several until then."""

    def __init__(self, states: Mapping[str, list[State]] | None = None) -> None:
        self.states = dict(states or {})
        self.acknowledged = 0

    @contextmanager
    def writing(self, changes: Mapping[str, State]) -> Iterator[None]:
        """A request that brings items to these states; the block ends when it was acknowledged."""
        for id_, state in changes.items():
            self.states[id_] = [*self.states.get(id_, [None]), state]
        yield
        for id_, state in changes.items():
            self.states[id_] = [state]
        self.acknowledged += len(changes)

    def settle(self, told: Mapping[str, dict[str, Any]]) -> None:
        """Hold what the server tells of its items against what may be; what it tells is so from now on."""
        for id_, states in self.states.items():
            possible = {None if state is None else json.dumps(state.told()): state for state in states}
            key = json.dumps(told[id_]) if id_ in told else None
            assert key in possible, f"item {id_} is {key}, which is none of {list(possible)}"
            self.states[id_] = [possible[key]]


class Client:
    """Asks a collection what it has."""

    collection = "/v1/collections/default"

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    @classmethod
    @contextmanager
    def to(cls, url: str) -> Iterator["Client"]:
        """A client of a server."""
        with httpx.Client(base_url=url, timeout=60) as http:
            yield cls(http)

    def send(self, method: str, path: str, **options: Any) -> Any:
        """The body of a good answer."""
        answer = self.http.request(method, path, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def items(self) -> dict[str, dict[str, Any]]:
        """All items by id, as `Content.told`."""
        found: dict[str, dict[str, Any]] = {}
        cursor: dict[str, str] = {}
        while True:
            page = self.send("GET", f"{self.collection}/items", params={"limit": 1000} | cursor)
            for item in page["items"]:
                found[item["id"]] = {name: item[name] for name in ("text", "metadata", "modalities")}
            if page["next_cursor"] is None:
                return found
            cursor = {"cursor": page["next_cursor"]}

    def check_searchable(self, id_: str, content: Content, encoders: Mapping[str, FakeEncoder]) -> None:
        """A search for each half of an item finds the item, and has the vectors and the picture that it was given.

        Args:
            encoders: By the name of the model that an answer may be from.
        """
        for modality, query in content.body().items():
            if modality == "metadata":
                continue
            body = {"query": {modality: query}, "target": {modality: 1.0}, "limit": 1, "include": ["vector"]}
            answer = self.send("POST", f"{self.collection}/search", json=body)
            [hit] = answer["hits"]
            assert hit["id"] == id_, f"a search for the {modality} of {id_} finds {hit['id']}"
            expected = content.vectors(encoders[answer["model"]])
            assert set(hit["vectors"]) == set(expected)
            for name, vector in hit["vectors"].items():
                np.testing.assert_allclose(vector, expected[name], atol=1e-3)
        if content.colour is not None:
            assert self.http.get(f"{self.collection}/items/{id_}/image").content == picture(content.colour)
