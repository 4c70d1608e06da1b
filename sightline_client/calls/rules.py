"""Watch rules: put, read, deleted; their flags."""

from collections.abc import Mapping
from operator import attrgetter

from sightline_client.call import Call, delete, get, path_of, put
from sightline_client.inputs import Query, given, query_document
from sightline_client.results import Flag, Modality, Rule
from sightline_client.results.base import Result
from sightline_client.results.rules import Action


class FlagPage(Result):
    """A page of flags; None as its cursor ends the list."""

    flags: list[Flag]
    next_cursor: str | None


class _Rules(Result):
    rules: list[Rule]


def put_rule(
    name: str,
    query: Query,
    *,
    threshold: float | Mapping[Modality, float],
    action: Action = "flag",
    webhook: str | None = None,
    collection: str = "default",
) -> Call[Rule]:
    """Judge each item that enters from now on by its nearness to a query."""
    body = {"query": query_document(query), "threshold": threshold, "action": action, "webhook": webhook}
    return put(path_of("collections", collection, "rules", name), given(body), Rule)


def rules(*, collection: str = "default") -> Call[list[Rule]]:
    """List the watch rules of a collection."""
    return get(path_of("collections", collection, "rules"), _Rules, attrgetter("rules"))


def rule(name: str, *, collection: str = "default") -> Call[Rule]:
    """Read a watch rule."""
    return get(path_of("collections", collection, "rules", name), Rule)


def delete_rule(name: str, *, collection: str = "default") -> Call[None]:
    """Delete a watch rule with its flags."""
    return delete(path_of("collections", collection, "rules", name))


def flag_page(collection: str, rule: str | None, cursor: str | None) -> Call[FlagPage]:
    """Read a page of a collection's flags, newest first."""
    return get(path_of("collections", collection, "flags"), FlagPage, rule=rule, cursor=cursor)
