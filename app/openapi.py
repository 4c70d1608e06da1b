"""The OpenAPI document: every operation names the problems that it answers with."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from app.access.scopes import SCOPES
from app.errors import MEDIA_TYPE
from app.schemas.items import ItemBody
from app.schemas.jobs import IngestBody, RowReport
from app.schemas.problem import Problem

Responses = dict[int | str, dict[str, Any]]

_REFERENCE = "#/components/schemas/{model}"

_MEANINGS = {
    400: "Not a request that can be read.",
    401: "No API key, or one that is unknown, expired or revoked.",
    403: "The API key lacks the scope, or is for other collections; or a page of another site sent it.",
    404: "No such collection, generation, item, watch rule or model.",
    409: "In conflict with what is there.",
    408: "The body came too slowly.",
    413: "The body or a picture is too large.",
    415: "The body is of a type that is not read here.",
    421: "Sent to a name that is not this server's.",
    422: "A field is wrong; `errors` names it.",
    429: "More in a minute than this key may; again after `Retry-After` seconds.",
    503: "Something that serving needs is missing; try again after `Retry-After` seconds.",
    507: "The disk is full or cannot be written to; nothing of the request is stored.",
}


def problems(*statuses: int) -> Responses:
    """What a route answers beside its success, for its `responses`."""
    return {status: {"model": Problem, "description": _MEANINGS[status]} for status in sorted(statuses)}


AT_THE_GATE = problems(400, 401, 403, 421, 429)
"""What every operation answers with that is not open to all; and what one whose body is read, besides."""
READING = problems(404, 422)
ASKING = problems(404, 408, 413, 415, 422, 503)
WRITING = ASKING | problems(507)
ENDING = READING | problems(507)
"""Of what deletes or cancels: no body is read, but something is written."""


class SightlineAPI(FastAPI):
    """FastAPI, with problem documents declared as what they are."""

    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if not self.openapi_schema:
            document = get_openapi(
                title=self.title, version=self.version, description=self.description, routes=self.routes
            )
            for path, operations in document["paths"].items():
                for method, operation in operations.items():
                    _declare_access(operation, SCOPES.get(f"{method.upper()} {path}", "admin"))
                    _declare_problems(operation["responses"])
            for model in (ItemBody, IngestBody, RowReport):
                _declare_schema(document["components"]["schemas"], model)
            document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
            self.openapi_schema = document
        return self.openapi_schema


def refer_to(model: type[BaseModel]) -> dict[str, str]:
    """A reference to a schema, for bodies that FastAPI does not read itself."""
    return {"$ref": _REFERENCE.format(model=model.__name__)}


def fields_of(model: type[BaseModel], *names: str) -> dict[str, Any]:
    """The schemas of some fields, or of all, for forms, which FastAPI does not read itself."""
    properties: dict[str, Any] = model.model_json_schema(ref_template=_REFERENCE)["properties"]
    return {name: schema for name, schema in properties.items() if not names or name in names}


def _declare_schema(schemas: dict[str, Any], model: type[BaseModel]) -> None:
    schema = model.model_json_schema(ref_template=_REFERENCE)
    schemas.update(schema.pop("$defs", {}))
    schemas[model.__name__] = schema


def _declare_access(operation: dict[str, Any], scope: str | None) -> None:
    if scope is None:
        operation["security"] = []
        return
    operation["security"] = [{"key": [scope]}, {}]  # a server without a key asks for none
    for status, response in AT_THE_GATE.items():
        described = {"description": response["description"], "content": {MEDIA_TYPE: {"schema": refer_to(Problem)}}}
        operation["responses"].setdefault(str(status), described)


def _declare_problems(responses: dict[str, Any]) -> None:
    for status, response in responses.items():
        if int(status) >= 400:
            response["content"] = {MEDIA_TYPE: next(iter(response["content"].values()))}
