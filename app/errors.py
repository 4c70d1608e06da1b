"""Every error as an RFC 9457 problem document: one table says which class has which status and type.

RequestError            what only the HTTP face can find wrong
├── JsonInvalid             the body is not JSON
├── MediaTypeUnsupported    the body is of a type that this route does not read
├── BodyTooLarge            the body has more bytes than the settings allow
├── BatchTooLarge           more items or inputs in one request than the settings allow
├── BodyTooSlow             the body stopped coming, or comes by the drop
├── Unauthorized            no API key, or a wrong one
├── Forbidden               the API key is not for this
├── OriginForbidden         a page of another site sent it
├── HostUnknown             it was sent to a name that is not this server's
├── RateLimited             more in a minute than one key may
├── DimensionsUnsupported   embeddings of another length than the model's
├── TokensUnsupported       token ids where a text is expected
└── NotReady                something that serving needs is missing
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, TypeGuard

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.schemas.problem import FieldError, Location, Problem
from indexer import errors as indexer_errors
from indexer.errors import IndexerError
from models import errors as model_errors
from models.errors import ImageError, ModelError, RequestAbandoned

logger = logging.getLogger("sightline")

MEDIA_TYPE = "application/problem+json"

_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class RequestError(HTTPException):
    """Base of what only the HTTP face can find wrong.

    It is Starlette's exception because FastAPI lets no other one pass while it reads a body.
    """

    def __init__(self, detail: str, pointer: str | None = None) -> None:
        super().__init__(STATUS_AND_TYPE[type(self)][0], detail)
        self.pointer = pointer


class JsonInvalid(RequestError):
    """The body is not JSON."""


class MediaTypeUnsupported(RequestError):
    """The body is of a type that this route does not read."""


class BodyTooLarge(RequestError):
    """The body has more bytes than the settings allow."""


class BatchTooLarge(RequestError):
    """More items or inputs in one request than the settings allow."""


class BodyTooSlow(RequestError):
    """The body stopped coming, or comes by the drop."""


class Unauthorized(RequestError):
    """No API key, or a wrong one."""


class Forbidden(RequestError):
    """The API key is not for this."""


class OriginForbidden(RequestError):
    """A page of another site sent it."""


class HostUnknown(RequestError):
    """It was sent to a name that is not this server's."""


class RateLimited(RequestError):
    """More in a minute than one key may."""

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": str(retry_after_s)}


class DimensionsUnsupported(RequestError):
    """Embeddings of another length than the model's."""


class TokensUnsupported(RequestError):
    """Token ids where a text is expected."""


class NotReady(RequestError):
    """Something that serving needs is missing."""


STATUS_AND_TYPE: Mapping[type[Exception], tuple[int, str]] = {
    JsonInvalid: (400, "invalid-json"),
    MediaTypeUnsupported: (415, "media-type-unsupported"),
    BodyTooLarge: (413, "body-too-large"),
    BatchTooLarge: (422, "batch-too-large"),
    BodyTooSlow: (408, "body-too-slow"),
    Unauthorized: (401, "unauthorized"),
    Forbidden: (403, "forbidden"),
    OriginForbidden: (403, "origin-forbidden"),
    HostUnknown: (421, "host-unknown"),
    RateLimited: (429, "rate-limited"),
    DimensionsUnsupported: (400, "dimensions-unsupported"),
    TokensUnsupported: (400, "tokens-unsupported"),
    NotReady: (503, "not-ready"),
    indexer_errors.CollectionNotFound: (404, "collection-not-found"),
    indexer_errors.CollectionConflict: (409, "collection-conflict"),
    indexer_errors.CollectionNameInvalid: (422, "collection-name-invalid"),
    indexer_errors.CursorInvalid: (400, "cursor-invalid"),
    indexer_errors.CatalogueIncompatible: (503, "catalogue-incompatible"),
    indexer_errors.DataFolderInUse: (503, "data-folder-in-use"),
    indexer_errors.FilterInvalid: (422, "filter-invalid"),
    indexer_errors.FingerprintMismatch: (409, "fingerprint-mismatch"),
    indexer_errors.GenerationConflict: (409, "generation-conflict"),
    indexer_errors.GenerationIncomplete: (409, "generation-incomplete"),
    indexer_errors.GenerationNotFound: (404, "generation-not-found"),
    indexer_errors.GenerationUnfit: (409, "generation-unfit"),
    indexer_errors.ModelAbsent: (409, "model-absent"),
    indexer_errors.OriginalChanged: (409, "original-changed"),
    indexer_errors.UrlForbidden: (422, "url-forbidden"),
    indexer_errors.FetchFailed: (422, "fetch-failed"),
    indexer_errors.ContentTooLarge: (413, "content-too-large"),
    indexer_errors.ImageFetchFailed: (422, "image-fetch-failed"),
    indexer_errors.ItemInvalid: (422, "item-invalid"),
    indexer_errors.ItemNotFound: (404, "item-not-found"),
    indexer_errors.OriginalMissing: (404, "original-missing"),
    indexer_errors.QueryInvalid: (422, "query-invalid"),
    indexer_errors.SourceInvalid: (422, "source-invalid"),
    indexer_errors.RowInvalid: (422, "row-invalid"),
    indexer_errors.RowRefused: (422, "row-refused"),
    indexer_errors.SourceChanged: (409, "source-changed"),
    indexer_errors.SourceForbidden: (422, "source-forbidden"),
    indexer_errors.SnapshotDamaged: (422, "snapshot-damaged"),
    indexer_errors.SnapshotImpossible: (409, "snapshot-impossible"),
    indexer_errors.StorageUnavailable: (507, "storage-unavailable"),
    indexer_errors.JobNotFound: (404, "job-not-found"),
    indexer_errors.JobConflict: (409, "job-conflict"),
    indexer_errors.JobFinished: (409, "job-finished"),
    indexer_errors.DeletesUnconfirmed: (409, "deletes-unconfirmed"),
    indexer_errors.KeyInvalid: (422, "key-invalid"),
    indexer_errors.KeyNotFound: (404, "key-not-found"),
    indexer_errors.RuleNotFound: (404, "rule-not-found"),
    indexer_errors.RuleInvalid: (422, "rule-invalid"),
    indexer_errors.ItemRejected: (422, "item-rejected"),
    indexer_errors.VectorInvalid: (422, "vector-invalid"),
    model_errors.ModelNotFound: (404, "model-not-found"),
    model_errors.ManifestInvalid: (503, "model-unavailable"),
    model_errors.FileCorrupt: (503, "model-unavailable"),
    model_errors.PreprocessingUnknown: (503, "model-unavailable"),
    model_errors.DeviceUnavailable: (503, "model-unavailable"),
    model_errors.EncoderOverloaded: (503, "overloaded"),
    model_errors.RequestAbandoned: (499, "request-abandoned"),  # nginx's status: nobody reads it, logs and metrics do
    model_errors.ExportFailed: (500, "internal-error"),
    model_errors.TrainingFailed: (500, "internal-error"),
    model_errors.ImageUndecodable: (422, "image-undecodable"),
    model_errors.ImageTooLarge: (413, "image-too-large"),
}
"""Each leaf of the three error trees, with the status and the stable word that clients see."""


class FieldFault(Exception):
    """An error of a lower room, with the place in the request that caused it."""

    def __init__(self, error: IndexerError | ModelError, pointer: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.pointer = pointer

    @classmethod
    def of(cls, error: IndexerError | ModelError, item_pointer: str = "") -> "FieldFault":
        """What is wrong with the item that is at `item_pointer`."""
        field = "/image" if isinstance(error, ImageError) else ""
        return cls(error, item_pointer + (error_pointer(error) or field))


@contextmanager
def blame(pointer: str) -> Iterator[None]:
    """Name the field of the request that any error raised inside comes from, unless the error knows it."""
    try:
        yield
    except (IndexerError, ModelError) as error:
        raise FieldFault(error, error_pointer(error) or pointer) from error


def error_pointer(error: Exception) -> str | None:
    """The field that an error knows to be at fault."""
    return getattr(error, "pointer", None)


ProblemError = IndexerError | ModelError | RequestError

_HEADERS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    408: {"Connection": "close"},  # what else comes of the body is not waited for
    503: {"Retry-After": "5"},
    507: {"Retry-After": "30"},
}
_WORDS = {404: "not-found", 405: "method-not-allowed", 400: "bad-request"}


def problem_of(error: ProblemError, pointer: str | None = None, location: Location = "body") -> Problem:
    """Describe an error to the client; of a fault on the server's side only the kind is told.

    Args:
        pointer: Where in the request the fault is, when the error does not know.
        location: Part of the request that pointers are for.
    """
    status, word = STATUS_AND_TYPE[type(error)]
    told = status < 500 or isinstance(error, RequestError | indexer_errors.StorageUnavailable)
    detail = error.detail if told else "the server's log says why"
    pointer = error_pointer(error) if pointer is None else pointer
    errors = (
        None if pointer is None or status >= 500 else [FieldError(location=location, pointer=pointer, detail=detail)]
    )
    return Problem(type=word, title=_title(word), status=status, detail=detail, errors=errors)


class ProblemResponse(JSONResponse):
    """A response that carries a problem document; who measures the request finds its type in the scope."""

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.model_dump(mode="json", exclude_none=True), problem.status, headers, MEDIA_TYPE)
        self._type = problem.type

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["problem"] = self._type
        await super().__call__(scope, receive, send)


async def answer_error(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for the errors of `STATUS_AND_TYPE`."""
    location: Location = "query" if request.method == "GET" else "body"
    if isinstance(error, FieldFault):
        problem = problem_of(error.error, error.pointer, location)
    else:
        assert isinstance(error, ProblemError)
        problem = problem_of(error, location=location)
    if problem.status >= 500:
        logger.error("%s %s: %s", request.method, request.url.path, error)
    return ProblemResponse(problem, getattr(error, "headers", None) or _HEADERS.get(problem.status))


async def answer_departure(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for a body that breaks off as its client went away; nobody reads it, logs and metrics do."""
    return ProblemResponse(problem_of(RequestAbandoned("the client went away before all of the request had come")))


def refusal(error: RequestError) -> JSONResponse:
    """The answer to a request that gets no further than the middleware."""
    return ProblemResponse(problem_of(error), error.headers or _HEADERS.get(error.status_code))


async def answer_http_exception(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for what Starlette and FastAPI raise themselves: no route, wrong method, bad form."""
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    word = _WORDS.get(error.status_code, phrase.lower().replace(" ", "-"))
    detail = str(error.detail)
    if error.status_code in (404, 405) and detail == phrase:
        detail = f"there is no {request.method} {request.url.path}; /docs lists what there is"
    headers = {"Allow": ", ".join(_allowed(request))} if error.status_code == 405 else error.headers
    return ProblemResponse(Problem(type=word, title=_title(word), status=error.status_code, detail=detail), headers)


def _allowed(request: Request) -> list[str]:
    """The methods that there are for the path; Starlette tells those of one route, and there may be several."""
    routes = request.app.router.routes
    return [
        method
        for method in _METHODS
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]


async def answer_validation_error(request: Request, error: Exception) -> JSONResponse:
    """Exception handler for a request that breaks its schema: names each field at fault."""
    assert isinstance(error, RequestValidationError)
    return ProblemResponse(invalid_request(error.errors(), error.body))


def invalid_request(errors: Sequence[Any], body: object) -> Problem:
    """Describe what pydantic found wrong with a request whose parsed body is `body`."""
    fields = [_field_error(error, body) for error in errors]
    detail = "; ".join(f"{field.pointer or field.location}: {field.detail}" for field in fields[:3])
    more = f" (and {len(fields) - 3} more)" if len(fields) > 3 else ""
    word = "invalid-request"
    return Problem(type=word, title=_title(word), status=422, detail=detail + more, errors=fields)


def _field_error(error: Any, body: object) -> FieldError:
    location, *path = error["loc"]
    missing = error["type"] in ("missing", "extra_forbidden")
    if location != "body":
        pointer = "".join(f"/{_escape(part)}" for part in path[:1])
    else:
        pointer = _pointer(path, body, missing=missing)
    detail = "unknown field" if error["type"] == "extra_forbidden" else str(error["msg"]).removeprefix("Value error, ")
    return FieldError(location=location, pointer=pointer, detail=detail[:1].lower() + detail[1:])


def _pointer(path: Sequence[str | int], body: object, *, missing: bool) -> str:
    """JSON pointer of a pydantic location: parts that the body does not have are names of types, and left out."""
    pointer = ""
    for number, part in enumerate(path):
        last = number == len(path) - 1
        if _has(body, part):
            body = body[part]
        elif not (last and missing):
            continue
        pointer += f"/{_escape(part)}"
    return pointer


def _has(body: object, part: str | int) -> TypeGuard[Any]:
    if isinstance(body, list):
        return isinstance(part, int) and part < len(body)
    return isinstance(body, Mapping) and part in body


def _escape(part: str | int) -> str:
    return str(part).replace("~", "~0").replace("/", "~1")


def _title(word: str) -> str:
    return word.replace("-", " ").capitalize().replace("json", "JSON").replace("Url", "URL")
