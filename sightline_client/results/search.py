"""What was found, and why."""

from sightline_client.results.base import JsonObject, Modality, Problem, Result, Signal
from sightline_client.vectors import Vector


class SignalShare(Result):
    """What the vectors of a modality, or the words, add to a score."""

    score: float
    share: float
    contribution: float
    standardised: float | None = None
    rank: int | None = None


class TermShare(Result):
    """What a term of the query adds to a score."""

    share: float
    scores: dict[Signal, float]
    contribution: float | None = None


class Explanation(Result):
    """Where a score comes from."""

    base: float
    signals: dict[Signal, SignalShare]
    terms: list[TermShare]


class Hit(Result):
    """One found item; what `include` did not ask for is None."""

    id: str
    score: float
    scores: dict[Signal, float]
    text: str | None = None
    metadata: JsonObject | None = None
    vectors: dict[Modality, Vector] | None = None
    explain: Explanation | None = None
    image_url: str | None


class FacetValue(Result):
    """A value of a field, and how many items have it."""

    value: str | int | float | bool
    count: int


class Plan(Result):
    """How a search was done."""

    vectors: dict[Modality, int]
    matches: int | None
    rounds: int
    candidates: int


class Took(Result):
    """Milliseconds."""

    embed: float
    search: float
    hydrate: float
    total: float


class SearchResults(Result):
    """A page of hits, best first."""

    hits: list[Hit]
    total: int
    facets: dict[str, list[FacetValue]] | None = None
    model: str
    generation: int
    bridged: bool | None = None
    truncated: bool
    plan: Plan | None = None
    took_ms: Took


class FailedSearch(Result):
    """A search of a batch that was refused."""

    problem: Problem


class Box(Result):
    """A rectangle in the upright picture, as fractions of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


class HeatMap(Result):
    """How much each cell of a picture adds to its match with a query; `image` is a `data:` URI that shows it."""

    score: float
    grid: list[list[float]]
    rows: int
    columns: int
    box: Box
    image: str
