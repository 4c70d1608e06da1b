"""Judging: the vectors of items against the queries of watch rules, as one matrix product for each modality."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from indexer.errors import ItemRejected
from indexer.types import MODALITIES, Action, Failed, Modality, Vector


@dataclass(frozen=True)
class Criterion:
    """What judging needs of a watch rule."""

    rule_pk: int
    rule: str
    action: Action
    thresholds: Mapping[Modality, float]
    vectors: NDArray[np.float32]
    """What vectors of each modality are multiplied with: [modalities, dimension], in the order of `MODALITIES`."""


@dataclass(frozen=True)
class Match:
    """A watch rule matches an item: its vector of this modality exceeds the threshold the most."""

    criterion: Criterion
    modality: Modality
    score: float


@dataclass(frozen=True)
class Judgement:
    """The matches of every judged item; of one that is kept out, those of the rules that do so."""

    matches: Mapping[str, Sequence[Match]]

    @property
    def rejected(self) -> dict[str, Failed]:
        """The items that are kept out, and why."""
        return {id_: _rejection(id_, found) for id_, found in self.matches.items() if _rejecting(found)}


class Judge:
    """All rules of a collection as matrices [rules, dimension]."""

    def __init__(self, criteria: Sequence[Criterion]) -> None:
        self.criteria = tuple(criteria)
        self._queries: dict[Modality, NDArray[np.float32]] = {}
        self._thresholds: dict[Modality, NDArray[np.float64]] = {}
        for number, modality in enumerate(MODALITIES if criteria else ()):
            self._queries[modality] = np.stack([criterion.vectors[number] for criterion in criteria])
            self._thresholds[modality] = np.array([c.thresholds.get(modality, np.inf) for c in criteria])

    def judge(self, items: Mapping[str, Mapping[Modality, Vector]]) -> Judgement:
        """Compare each vector of each item with each rule.

        Args:
            items: By id all vectors that the item will have, float32 [dimension], unit length.
        """
        best: dict[str, dict[int, tuple[float, Match]]] = {id_: {} for id_ in items}
        for id_, rule, excess, match in self._matches(items):
            # Strictly: where both modalities exceed alike, it is the picture that is told.
            if rule not in best[id_] or excess > best[id_][rule][0]:
                best[id_][rule] = (excess, match)
        matches = {id_: [match for _, match in found.values()] for id_, found in best.items()}
        return Judgement({id_: _rejecting(found) or found for id_, found in matches.items()})

    def _matches(self, items: Mapping[str, Mapping[Modality, Vector]]) -> Iterator[tuple[str, int, float, Match]]:
        for modality, queries in self._queries.items():
            ids = [id_ for id_, own in items.items() if modality in own]
            if not ids:
                continue
            scores = np.stack([items[id_][modality] for id_ in ids]) @ queries.T
            excess = scores - self._thresholds[modality]
            for row, rule in np.argwhere(excess >= 0).tolist():
                match = Match(self.criteria[rule], modality, float(scores[row, rule]))
                yield ids[row], rule, float(excess[row, rule]), match


def _rejecting(matches: Sequence[Match]) -> list[Match]:
    return [match for match in matches if match.criterion.action == "reject"]


def _rejection(id_: str, matches: Sequence[Match]) -> Failed:
    told = "; ".join(
        f"watch rule {match.criterion.rule!r}: its {match.modality} scores {match.score:.4f}, "
        f"the threshold is {match.criterion.thresholds[match.modality]:g}"
        for match in matches
    )
    return Failed(id_, ItemRejected(f"the item is kept out by {told}"))
