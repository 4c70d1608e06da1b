import pytest
from fastapi.testclient import TestClient
from pydantic import BaseModel, ValidationError

from app.errors import STATUS_AND_TYPE, RequestError, invalid_request, problem_of
from indexer.errors import IndexerError, ItemNotFound
from models.errors import FileCorrupt, ModelError


def leaves(root: type[Exception]) -> list[type[Exception]]:
    below = root.__subclasses__()
    return [leaf for kind in below for leaf in leaves(kind)] if below else [root]


@pytest.mark.parametrize("root", [IndexerError, ModelError, RequestError])
def test_every_leaf_of_the_error_trees_has_a_status_and_a_type(root: type[Exception]) -> None:
    assert [leaf.__name__ for leaf in leaves(root) if leaf not in STATUS_AND_TYPE] == []


def test_an_error_becomes_a_problem() -> None:
    problem = problem_of(ItemNotFound("no item 'x'", "/query/item"))

    assert (problem.status, problem.type, problem.detail) == (404, "item-not-found", "no item 'x'")
    assert problem.errors
    assert problem.errors[0].pointer == "/query/item"


def test_a_fault_of_the_server_tells_no_paths() -> None:
    problem = problem_of(FileCorrupt("/srv/secret/image.onnx has SHA-256 0"))

    assert problem.status == 503
    assert "secret" not in problem.model_dump_json()


class Inner(BaseModel):
    size: int


class Outer(BaseModel):
    part: int | Inner


def test_a_pointer_names_fields_of_the_request_and_no_types_of_the_schema() -> None:
    body = {"part": {"size": "x"}}
    with pytest.raises(ValidationError) as caught:
        Outer.model_validate(body)
    errors = [{**error, "loc": ("body", *error["loc"])} for error in caught.value.errors()]

    pointers = {error.pointer for error in invalid_request(errors, body).errors or []}

    assert pointers == {"/part", "/part/size"}


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/collections/default", "DELETE, GET, PUT"),
        ("/v1/collections/default/items", "GET, POST"),
        ("/v1/collections/default/items/a", "DELETE, GET, PUT"),
        ("/v1/collections/default/search", "GET, POST"),
        ("/readyz", "GET"),
    ],
)
def test_a_wrong_method_is_told_all_that_are_right(client: TestClient, path: str, allowed: str) -> None:
    answer = client.request("OPTIONS", path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
