"""One call of the API, as data: what is sent, and how its answer is read."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import numpy as np
from pydantic import TypeAdapter, ValidationError

from sightline_client.errors import AnswerInvalid

T = TypeVar("T")


@dataclass(frozen=True)
class Upload:
    """A form with a file."""

    file: Path
    fields: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """Sent by a client, sync or async.

    Args:
        answer: What the answer holds: a type that pydantic reads from JSON, `bytes`, or None.
        give: Makes of that what the caller gets.
        idempotent: Whether it may be sent again when it is not known whether it arrived.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    upload: Upload | None = None
    answer: Any = None
    give: Callable[[Any], T]
    idempotent: bool = True

    @contextmanager
    def parts(self) -> Iterator[dict[str, Any]]:
        """What httpx takes, for as long as it takes to send it."""
        parts = {"method": self.method, "url": self.path, "params": self.query, "headers": self.headers}
        if self.upload:
            with self.upload.file.open("rb") as file:
                yield parts | {"files": {"file": (self.upload.file.name, file)}, "data": self.upload.fields}
        elif self.body is not None:
            headers = {"Content-Type": "application/json", **self.headers}
            yield parts | {"headers": headers, "content": self.body}
        else:
            yield parts

    def read(self, content: bytes) -> T:
        """The answer; raises `AnswerInvalid`."""
        if self.answer in (None, bytes):
            return self.give(content)
        return self.give(read_json(self.answer, content))


def get(path: str, answer: Any, give: Callable[[Any], Any] | None = None, **query: Any) -> Call[Any]:
    """A call that reads; `give` takes what is wanted out of the answer, and what is None in `query` is left out."""
    return Call(method="GET", path=path, query=write_query(query), answer=answer, give=give or _same)


def post(path: str, document: Any, answer: Any, give: Callable[[Any], Any] | None = None, **options: Any) -> Call[Any]:
    """A call with a JSON body, unless the document is None."""
    body = None if document is None else write_json(document)
    return Call(method="POST", path=path, body=body, answer=answer, give=give or _same, **options)


def put(path: str, document: Any, answer: Any) -> Call[Any]:
    """A call that makes something what the JSON body says."""
    return Call(method="PUT", path=path, body=write_json(document), answer=answer, give=_same)


def delete(path: str) -> Call[None]:
    """A call that ends something."""
    return Call(method="DELETE", path=path, give=_nothing)


def once() -> dict[str, str]:
    """A header by which the server does it once, however often it is sent."""
    return {"Idempotency-Key": uuid.uuid4().hex}


def read_json(kind: Any, content: bytes | str) -> Any:
    """JSON as a type that pydantic knows; raises `AnswerInvalid`."""
    try:
        return _adapter(kind).validate_json(content)
    except ValidationError as error:
        raise AnswerInvalid(f"this is no answer of a Sightline server of this version: {error}") from error


def write_json(document: Any) -> bytes:
    """JSON as the server takes it.

    Raises:
        TypeError, ValueError: Something in it has no place in JSON: an object, NaN, half of a surrogate pair.
    """
    return json.dumps(document, ensure_ascii=False, allow_nan=False, default=_plain).encode()


def path_of(*parts: str) -> str:
    """A path below /v1, each part percent-encoded; one of dots alone would lead elsewhere."""
    return "/v1/" + "/".join(quote(part, safe="") if part.strip(".") else "%2E" * len(part) for part in parts)


def write_query(values: Mapping[str, Any]) -> dict[str, str]:
    """The values that are not None; objects as JSON."""
    return {
        name: value if isinstance(value, str) else write_json(value).decode()
        for name, value in values.items()
        if value is not None
    }


def _same(answer: Any) -> Any:
    return answer


def _nothing(_: object) -> None:
    return None


@lru_cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no place in JSON")
