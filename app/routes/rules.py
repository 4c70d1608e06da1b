"""Watch rules: put, listed, deleted; the flags that they made."""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from app.dependencies import LoadImage, RuleName, TheCollection
from app.openapi import ENDING, READING, WRITING, problems
from app.queries import blame_pictures, load_terms
from app.responses import model_response
from app.schemas import rules as schemas
from app.strict_json import StrictRoute

router = APIRouter(prefix="/v1/collections/{name}", tags=["watch rules"], route_class=StrictRoute)


@router.put(
    "/rules/{rule}",
    summary="Put a watch rule",
    response_model=schemas.Rule,
    responses=WRITING | problems(409) | {201: {"model": schemas.Rule, "description": "It was created now."}},
)
def put_rule(rule: RuleName, body: schemas.RuleBody, collection: TheCollection, load_image: LoadImage) -> Response:
    """From now on each new or changed item is judged by it; what is stored already is not judged again.

    The pictures and items of its query are read now. The secret of a webhook is in this answer only.
    """
    with blame_pictures(body.query):
        put = collection.rules.put(body.new_rule(rule, load_terms(body.query, load_image)))
    answer = model_response(schemas.Rule.of(put.rule, put.secret), only_set=True)
    answer.status_code = 201 if put.created else 200
    return answer


@router.get("/rules", summary="List watch rules", response_model=schemas.RuleList, responses=READING)
def list_rules(collection: TheCollection) -> Response:
    """By name."""
    rules = [schemas.Rule.of(rule) for rule in collection.rules.all()]
    return model_response(schemas.RuleList(rules=rules), only_set=True)


@router.get("/rules/{rule}", summary="Read a watch rule", response_model=schemas.Rule, responses=READING)
def get_rule(rule: RuleName, collection: TheCollection) -> Response:
    return model_response(schemas.Rule.of(collection.rules.get(rule)), only_set=True)


@router.delete("/rules/{rule}", summary="Delete a watch rule", status_code=204, responses=ENDING)
def delete_rule(rule: RuleName, collection: TheCollection) -> None:
    """With its flags, and the calls of its webhook that wait."""
    collection.rules.delete(rule)


@router.get("/flags", summary="List flags", responses=READING)
def list_flags(query: Annotated[schemas.FlagsQuery, Query()], collection: TheCollection) -> schemas.FlagPage:
    """Newest first. There is one for each item and rule; it is made anew, or goes, when the item changes."""
    flags, cursor = collection.rules.flags(query.limit, query.cursor, query.rule)
    return schemas.FlagPage(flags=[schemas.Flag.of(flag) for flag in flags], next_cursor=cursor)
