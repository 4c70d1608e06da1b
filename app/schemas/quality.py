"""Quality: what is wrong with a catalogue."""

from collections.abc import Mapping
from datetime import datetime

from pydantic import Field

from app.schemas.base import Schema
from indexer.collection import NEAR_DUPLICATE
from indexer.quality import alignment, duplicates
from indexer.quality import report as quality
from indexer.types import Item, Modality

_URL = "/v1/collections/default/items/sku-1042/image"


class QualityQuery(Schema):
    """Which of the worst pairs and of the largest groups, and what counts as a duplicate."""

    limit: int = Field(default=20, ge=1, le=100, description="Worst pairs and duplicate groups to list, of each.")
    offset: int = Field(default=0, ge=0, le=quality.MAX_WORST - 100, description="How many of each to pass over.")
    duplicate_threshold: float = Field(
        default=NEAR_DUPLICATE,
        ge=0.9,
        le=1,
        description="Cosine of two pictures' vectors from which they are near duplicates.",
    )


class Coverage(Schema):
    """How many items there are, and how many carry which vectors."""

    items: int = Field(examples=[10072])
    image: int = Field(description="With an image vector.", examples=[10050])
    text: int = Field(description="With a text vector.", examples=[10072])
    both: int = Field(examples=[10050])
    neither: int = Field(examples=[0])


class Histogram(Schema):
    """Equal bins over the range of the values; `edges` has one number more than `counts`."""

    edges: list[float] = Field(examples=[[0.05, 0.2, 0.35]])
    counts: list[int] = Field(examples=[[71, 9979]])


class ModalityHistogram(Schema):
    """Where vectors lie along the line through both centroids: how many in each bin, of each modality.

    0 is the middle between the centroids, that of the image vectors on the negative side.
    """

    edges: list[float] = Field(description="One more than bins.", examples=[[-0.6, 0.0, 0.6]])
    image: list[int] = Field(examples=[[10040, 10]])
    text: list[int] = Field(examples=[[32, 10040]])


class Pair(Schema):
    """An item whose picture and text go badly together."""

    id: str = Field(examples=["sku-1042"])
    alignment: float = Field(description="Cosine of its picture and its text.", examples=[0.071])
    misaligned: bool = Field(description="Whether `alignment` is less than `flagged_below`.")
    text: str | None = Field(examples=["Red summer dress"])
    image_url: str | None = Field(description="Where its picture is, relative to this server.", examples=[_URL])


class Alignment(Schema):
    """The cosines of items' pictures and texts, over the items with both; null where there are none."""

    count: int = Field(examples=[10050])
    mean: float | None = Field(examples=[0.291])
    std: float | None = Field(examples=[0.034])
    median: float | None = Field(examples=[0.293])
    histogram: Histogram | None
    flagged_below: float | None = Field(
        description=f"Pairs below it are misaligned: median - {alignment.DEVIATIONS} x {alignment.MAD_TO_STD} x MAD, "
        "MAD being the median distance from the median (Iglewicz and Hoaglin 1993). Null for fewer than "
        f"{alignment.MIN_PAIRS} pairs, or when most are equal.",
        examples=[0.176],
    )
    flagged: int = Field(description="How many are below it.", examples=[71])
    worst: list[Pair] = Field(description=f"Lowest first; `offset` reaches the lowest {quality.MAX_WORST:,}.")


class DuplicateGroup(Schema):
    """Items with the same or nearly the same picture, each near to at least one other of the group."""

    ids: list[str] = Field(description=f"The first {duplicates.MAX_LISTED}.", examples=[["sku-1042", "sku-7"]])
    size: int = Field(examples=[2])
    min_score: float | None = Field(
        description="Lowest cosine between any two of `ids`; null when fewer than two have a vector.", examples=[0.987]
    )
    identical: bool = Field(description="Whether the pictures of all of them have the same bytes.")


class Duplicates(Schema):
    """Items grouped by their pictures: the same bytes, or a cosine of at least `threshold`."""

    threshold: float = Field(examples=[NEAR_DUPLICATE])
    exact: bool = Field(description="False for large collections, where a few pairs in a thousand may be missed.")
    groups: int = Field(examples=[120])
    items: int = Field(description="Items in groups.", examples=[263])
    largest: list[DuplicateGroup] = Field(
        description=f"Largest first; `offset` reaches the largest {duplicates.MAX_GROUPS:,}."
    )


class Suspicious(Schema):
    """Items whose vectors cannot be right."""

    kind: quality.Kind = Field(
        description="`collapsed`: different pictures or texts have exactly one vector, so that the model cannot tell "
        "them apart. `degenerate`: the length of the vectors is far from 1."
    )
    modality: Modality
    items: int = Field(examples=[12])
    ids: list[str] = Field(description=f"The first {duplicates.MAX_LISTED}.", examples=[["sku-1042"]])


class Quality(Schema):
    """A report on one state of a collection."""

    coverage: Coverage
    alignment: Alignment
    modality_gap: float | None = Field(
        description="Euclidean distance between the centroids of image and text vectors (Liang et al. 2022); null when "
        "there are none of one.",
        examples=[0.81],
    )
    modality_histogram: ModalityHistogram | None = Field(description="Null when there are none of one.")
    duplicates: Duplicates
    suspicious: list[Suspicious]
    measured_at: datetime

    @classmethod
    def of(cls, found: quality.Quality, items: Mapping[str, tuple[Item, str | None]]) -> "Quality":
        """From what the indexer tells, and the items of its worst pairs with the addresses of their pictures."""
        return cls(
            coverage=Coverage(**vars(found.coverage)),
            alignment=_alignment(found, items),
            modality_gap=None if found.gap is None else found.gap.distance,
            modality_histogram=None
            if found.gap is None
            else ModalityHistogram(edges=list(found.gap.edges), **{m: list(n) for m, n in found.gap.counts.items()}),
            duplicates=Duplicates(
                threshold=found.duplicate_threshold,
                exact=found.duplicates.exact,
                groups=found.duplicates.count,
                items=found.duplicates.items,
                largest=[
                    DuplicateGroup(
                        ids=list(group.ids), size=group.size, min_score=group.min_score, identical=group.identical
                    )
                    for group in found.duplicate_groups
                ],
            ),
            suspicious=[
                Suspicious(kind=odd.kind, modality=odd.modality, items=odd.items, ids=list(odd.ids))
                for odd in found.suspicious
            ],
            measured_at=found.measured_at,
        )


def _alignment(found: quality.Quality, items: Mapping[str, tuple[Item, str | None]]) -> Alignment:
    told, bins = found.alignment, found.alignment.histogram
    return Alignment(
        count=told.count,
        mean=told.mean,
        std=told.std,
        median=told.median,
        histogram=None if bins is None else Histogram(edges=list(bins.edges), counts=list(bins.counts)),
        flagged_below=told.flagged_below,
        flagged=told.flagged,
        worst=[
            Pair(
                id=pair.id,
                alignment=pair.alignment,
                misaligned=pair.misaligned,
                text=items[pair.id][0].text,
                image_url=items[pair.id][1],
            )
            for pair in found.worst
            if pair.id in items  # else it was deleted since
        ],
    )
