"""Embeddings and zero-shot labels."""

import numpy as np
from numpy.typing import NDArray

from sightline_client.results.base import Result
from sightline_client.vectors import Vector


class Embedding(Result):
    """One embedding, of unit length."""

    index: int
    embedding: Vector
    truncated: bool


class Usage(Result):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Result):
    """Embeddings in the order of the inputs."""

    data: list[Embedding]
    model: str
    usage: Usage

    @property
    def vectors(self) -> NDArray[np.float32]:
        """All of them, float32 [inputs, dimension]."""
        return np.stack([part.embedding for part in self.data])


class LabelScore(Result):
    """A label and its probability among the labels given."""

    label: str
    score: float


class Classification(Result):
    """Labels, the most probable first."""

    labels: list[LabelScore]
    model: str
