"""Many questions at once: where they ask for the best of all vectors, an index is searched for all of them together."""

from collections.abc import Mapping, Sequence

import numpy as np

from indexer.index.vector_index import VectorIndex
from indexer.search.query import first_depth
from indexer.search.ranking import Question
from indexer.search.sources import First
from indexer.types import Modality

MAX_DEPTH = 1024
"""Questions that go deeper are searched for alone, so that none of the others pays for it."""


def search_together(
    questions: Sequence[Question], indexes: Mapping[Modality, VectorIndex]
) -> list[dict[Modality, First]]:
    """What was found first for each question, in the modalities in which it has company."""
    firsts: list[dict[Modality, First]] = [{} for _ in questions]
    if len(questions) < 2:
        return firsts
    for modality, index in indexes.items():
        places = [place for place, one in enumerate(questions) if modality in one.composed and _has_company(one)]
        if len(places) < 2:
            continue
        searched, depth = index.select(), max(_depth(questions[place]) for place in places)
        vectors = np.stack([questions[place].composed[modality].vector for place in places])
        for place, found in zip(places, searched.search_many(vectors, depth), strict=True):
            firsts[place][modality] = First(searched, depth, found)
    return firsts


def _has_company(question: Question) -> bool:
    return question.searches_all and not question.by_ranks and _depth(question) <= MAX_DEPTH


def _depth(question: Question) -> int:
    return first_depth(len(question.signals), question.wanted, len(question.own))
