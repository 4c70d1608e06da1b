"""What is wrong with a catalogue, told from its stored vectors: coverage, alignment, duplicates, suspicious vectors."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from indexer.index.snapshot import Snapshot, lengths
from indexer.quality.alignment import Distribution, align, describe
from indexer.quality.duplicates import MAX_LISTED, Group, Groups, group_duplicates
from indexer.quality.gap import Gap, measure_gap
from indexer.quality.neighbours import Rows, equal_sets, first_equals
from indexer.stores.catalogue import Catalogue, CollectionRow
from indexer.types import MODALITIES, Modality

MAX_WORST = 1000
"""Pairs that a report lists."""
MIN_COLLAPSED = 5
"""Different pictures or texts with exactly one vector from which this is suspicious."""
_CANDIDATES = 100
_LOOKED_AT = 10_000
_LENGTHS = (0.9, 1.1)
"""Of an embedding, which has length 1 but for the rounding of its values to float16."""

Kind = Literal["collapsed", "degenerate"]


@dataclass(frozen=True)
class Coverage:
    """How many items there are, and how many carry which vectors."""

    items: int
    image: int
    text: int
    both: int
    neither: int


@dataclass(frozen=True)
class Pair:
    """An item by the cosine of its picture and its text."""

    id: str
    alignment: float
    misaligned: bool
    """Below `Distribution.flagged_below`."""


@dataclass(frozen=True)
class Suspicious:
    """Items whose vectors cannot be right.

    `collapsed`: at least `MIN_COLLAPSED` different pictures or texts have exactly one vector, so that the model cannot
    tell them apart (blank or broken input, texts without a known word). `degenerate`: the length is far from 1.
    """

    kind: Kind
    modality: Modality
    items: int
    ids: tuple[str, ...]
    """The first 50."""


@dataclass(frozen=True)
class DuplicateGroup:
    """A `Group` by the ids of its items."""

    ids: tuple[str, ...]
    size: int
    min_score: float | None
    identical: bool


@dataclass(frozen=True)
class Quality:
    """A report on one state of a collection."""

    coverage: Coverage
    alignment: Distribution
    worst: tuple[Pair, ...]
    """The lowest `MAX_WORST`, lowest first."""
    gap: Gap | None
    """None where there are no vectors of one modality."""
    duplicate_threshold: float
    duplicates: Groups
    duplicate_groups: tuple[DuplicateGroup, ...]
    suspicious: tuple[Suspicious, ...]
    measured_at: datetime

    def page(self, offset: int, limit: int) -> "Quality":
        """The same with only a part of the worst pairs and of the largest groups."""
        part = slice(offset, offset + limit)
        return replace(self, worst=self.worst[part], duplicate_groups=self.duplicate_groups[part])


def measure(
    row: CollectionRow,
    catalogue: Catalogue,
    snapshots: Mapping[Modality, Snapshot],
    items: int,
    threshold: float,
    go_on: Callable[[], None] = lambda: None,
) -> Quality:
    """Read all vectors, some blocks at a time, and report.

    Args:
        items: Number of items when the snapshots were taken.
        threshold: Cosine from which two pictures are near duplicates.
        go_on: Called again and again; it may raise to end this.
    """
    image, text = snapshots["image"], snapshots["text"]
    firsts = {modality: first_equals(snapshot, go_on) for modality, snapshot in snapshots.items()}
    both, cosines = align(image, text)
    distribution = describe(cosines)
    groups = group_duplicates(image, firsts["image"], catalogue.shared_images(row.pk), threshold, go_on)
    return Quality(
        coverage=Coverage(items, len(image), len(text), len(both), items - len(image) - len(text) + len(both)),
        alignment=distribution,
        worst=_worst(catalogue, both, cosines, distribution.flagged_below),
        gap=measure_gap(snapshots),
        duplicate_threshold=threshold,
        duplicates=replace(groups, largest=()),
        duplicate_groups=_with_ids(catalogue, groups.largest),
        suspicious=tuple(
            found
            for modality in MODALITIES
            for found in _suspicious(catalogue, modality, snapshots[modality], firsts[modality])
        ),
        measured_at=datetime.now(UTC),
    )


def _worst(
    catalogue: Catalogue, items: NDArray[np.int64], cosines: NDArray[np.float32], bound: float | None
) -> tuple[Pair, ...]:
    order = np.lexsort((items, cosines))[:MAX_WORST]
    ids = catalogue.ids(items[order].tolist())
    return tuple(
        Pair(ids[item], cosine, bound is not None and cosine < bound)
        for item, cosine in zip(items[order].tolist(), cosines[order].tolist(), strict=True)
        if item in ids
    )


def _with_ids(catalogue: Catalogue, groups: tuple[Group, ...]) -> tuple[DuplicateGroup, ...]:
    ids = catalogue.ids([item for group in groups for item in group.items])
    return tuple(
        DuplicateGroup(
            tuple(ids[item] for item in group.items if item in ids), group.size, group.min_score, group.identical
        )
        for group in groups
    )


def _suspicious(catalogue: Catalogue, modality: Modality, snapshot: Snapshot, first: Rows) -> Iterator[Suspicious]:
    degenerate = _degenerate(snapshot)
    found: list[tuple[Kind, Rows]] = [("degenerate", degenerate)] if len(degenerate) else []
    for rows in equal_sets(first, _CANDIDATES).largest:
        looked_at = snapshot.items[rows[:_LOOKED_AT]].tolist()
        if len(rows) >= MIN_COLLAPSED and catalogue.count_contents(modality, looked_at) >= MIN_COLLAPSED:
            found.append(("collapsed", rows))
    for kind, rows in found:
        listed = snapshot.items[rows[:MAX_LISTED]].tolist()
        ids = catalogue.ids(listed)
        yield Suspicious(kind, modality, len(rows), tuple(ids[item] for item in listed if item in ids))


def _degenerate(snapshot: Snapshot) -> Rows:
    found = np.concatenate([np.empty(0), *map(lengths, snapshot.blocks())])
    low, high = _LENGTHS
    return np.flatnonzero((found < low) | (found > high))
