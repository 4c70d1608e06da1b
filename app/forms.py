"""Bodies that come as JSON or as a form with a picture's file."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from anyio import to_thread
from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from app.access.caller import caller_of
from app.errors import JsonInvalid
from app.schemas.base import JsonObject
from app.strict_json import parse_json
from indexer.errors import StorageUnavailable

_Body = TypeVar("_Body", bound=BaseModel)


async def read_body(request: Request, model: type[_Body], json_fields: frozenset[str]) -> tuple[_Body, bytes | None]:
    """Read a body as `model`, and the file `image` where it is a form that has one.

    Args:
        json_fields: Fields of a form whose text is JSON.

    Raises:
        JsonInvalid: The body, or such a field, is not JSON.
        RequestValidationError: The body does not fit the model.
        StorageUnavailable: There is no room for the form's files.
    """
    if is_form(request):
        fields, image = await _read_form(request, json_fields)
        if image is not None:
            caller_of(request.scope).take("pictures")
        return await to_thread.run_sync(check_fields, model, fields), image
    return await to_thread.run_sync(check_body, model, await request.json()), None


def is_form(request: Request) -> bool:
    """Whether the body is declared as multipart."""
    return request.headers.get("content-type", "").lower().startswith("multipart/form-data")


@asynccontextmanager
async def open_form(request: Request, *, max_files: int, max_fields: int) -> AsyncIterator[FormData]:
    """The fields of a form; large files lie in the folder for temporary files until the block ends.

    Raises:
        StorageUnavailable: They cannot be written there.
    """
    try:
        form = await request.form(max_files=max_files, max_fields=max_fields)
    except OSError as error:
        raise StorageUnavailable(f"the form cannot be kept while it is read: {error.strerror}") from error
    try:
        yield form
    finally:
        await form.close()


PICTURE = {"type": "string", "format": "binary", "description": "The picture's file; its bytes decide what it is."}


def form_document(properties: JsonObject, required: list[str], json_fields: frozenset[str]) -> JsonObject:
    """OpenAPI's description of a form.

    Args:
        json_fields: Fields whose text is JSON.
    """
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"schema": schema, "encoding": {name: {"contentType": "application/json"} for name in sorted(json_fields)}}


async def _read_form(request: Request, json_fields: frozenset[str]) -> tuple[JsonObject, bytes | None]:
    async with open_form(request, max_files=4, max_fields=32) as form:
        fields: JsonObject = dict(form)
        upload = fields.get("image")
        image = await fields.pop("image").read() if isinstance(upload, UploadFile) else None
    return parse_fields(fields, json_fields), image


def parse_fields(fields: JsonObject, json_fields: frozenset[str]) -> JsonObject:
    """A form's fields, with those that are JSON parsed; raises `JsonInvalid`."""
    return fields | {name: _parse_field(name, fields[name]) for name in json_fields & fields.keys()}


def _parse_field(name: str, value: Any) -> Any:
    try:
        return parse_json(value.encode()) if isinstance(value, str) else value
    except JsonInvalid as error:
        raise JsonInvalid(f"the form's field {name} is not JSON: {error.detail}", f"/{name}") from error


def check_fields(model: type[_Body], fields: JsonObject) -> _Body:
    """A form's fields, all of which are texts, as `model`; raises `RequestValidationError`."""
    return check_body(model, fields, strict=False)


def check_body(model: type[_Body], fields: object, *, strict: bool | None = None) -> _Body:
    """Fields as `model`; raises `RequestValidationError`."""
    try:
        return model.model_validate(fields, strict=strict)
    except ValidationError as error:
        errors = [{**found, "loc": ("body", *found["loc"])} for found in error.errors(include_url=False)]
        raise RequestValidationError(errors, body=fields) from error
