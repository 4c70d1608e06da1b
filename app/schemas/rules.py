"""Watch rules and flags."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated

from pydantic import ConfigDict, Field

from app.schemas.base import Body, JsonObject, Schema
from app.schemas.search import Query, Term
from indexer import types
from indexer.rules.stored_query import data_uri
from indexer.types import MODALITIES, Action, Modality

Cosine = Annotated[float, Field(ge=-1, le=1)]
Threshold = Annotated[
    Cosine | Annotated[dict[Modality, Cosine], Field(min_length=1)],
    Field(
        description="The cosine from which an item is matched: one number for its image and its text, or one for each. "
        "Texts are nearer to texts than to pictures, so their thresholds differ.",
        examples=[{"image": 0.27, "text": 0.8}],
    ),
]
_EXAMPLE: JsonObject = {
    "query": "a weapon",
    "threshold": {"image": 0.27, "text": 0.8},
    "action": "flag",
    "webhook": "https://shop.example/hooks/sightline",
}
_STORED_EXAMPLE: JsonObject = {
    **_EXAMPLE,
    "name": "weapons",
    "query": [{"text": "a weapon", "weight": 1.0}],
    "created_at": "2026-07-01T08:00:00Z",
}


class RuleBody(Body):
    """What to watch for, and what to do about it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    query: Query
    threshold: Threshold
    action: Action = Field(
        description="`flag` stores the item and a flag; `reject` keeps the item out, and notes that as a flag."
    )
    webhook: str | None = Field(
        default=None,
        min_length=1,
        max_length=2048,
        description="An `http(s)` URL that is told of each flag, signed after the Standard Webhooks specification.",
        examples=["https://shop.example/hooks/sightline"],
    )

    def new_rule(self, name: str, terms: tuple[types.Term, ...]) -> types.NewRule:
        """As the indexer takes it, with the terms that `query` refers to."""
        each = self.threshold if isinstance(self.threshold, dict) else dict.fromkeys(MODALITIES, self.threshold)
        return types.NewRule(name, terms, each, self.action, self.webhook)


class Rule(Schema):
    """A watch rule, with what it takes to put it again."""

    model_config = ConfigDict(json_schema_extra={"examples": [_STORED_EXAMPLE]})

    name: str
    query: list[Term] = Field(description="Its pictures as `data:` URIs, also those that came by URL.")
    threshold: Threshold
    action: Action
    webhook: str | None
    secret: str | None = Field(
        default=None,
        description="What the webhook's calls are signed with; only in the answer to the request that set its URL.",
        examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    created_at: datetime

    @classmethod
    def of(cls, rule: types.Rule, secret: str | None = None) -> "Rule":
        """From what the indexer tells."""
        return cls(
            name=rule.name,
            query=[_term(term) for term in rule.terms],
            threshold=_threshold(rule.thresholds),
            action=rule.action,
            webhook=rule.webhook,
            created_at=rule.created_at,
            **({} if secret is None else {"secret": secret}),
        )


class RuleList(Schema):
    """All watch rules of a collection, by name."""

    rules: list[Rule]


class Flag(Schema):
    """What a watch rule found."""

    item: str = Field(examples=["sku-1042"])
    rule: str = Field(examples=["weapons"])
    action: Action = Field(description="`reject`: the item, or this version of it, was kept out.")
    modality: Modality = Field(description="Whose vector exceeds its threshold the most.")
    score: float = Field(description="Cosine, as search tells it in `scores`.", examples=[0.31])
    created_at: datetime

    @classmethod
    def of(cls, flag: types.Flag) -> "Flag":
        """From what the indexer tells."""
        return cls(
            item=flag.item,
            rule=flag.rule,
            action=flag.action,
            modality=flag.modality,
            score=flag.score,
            created_at=flag.created_at,
        )


class FlagPage(Schema):
    """A page of flags, newest first."""

    flags: list[Flag]
    next_cursor: str | None = Field(description="Give it as `cursor` for the next page; null on the last one.")


class FlagsQuery(Schema):
    """Which flags."""

    rule: str | None = Field(default=None, description="Only those of this rule.")
    limit: int = Field(default=100, ge=1, le=1000)
    cursor: str | None = Field(default=None, max_length=2048)


def _term(term: types.Term) -> Term:
    """With the fields that are there only, so that the others are left out of the answer."""
    image = None if term.image is None else data_uri(term.image)
    vector = term.vector and list(term.vector)
    parts: JsonObject = {"text": term.text, "image": image, "item": term.item, "vector": vector}
    return Term(weight=term.weight, **{name: part for name, part in parts.items() if part is not None})


def _threshold(each: Mapping[Modality, float]) -> float | dict[Modality, float]:
    levels = set(each.values())
    return levels.pop() if len(levels) == 1 and len(each) == len(MODALITIES) else dict(each)
