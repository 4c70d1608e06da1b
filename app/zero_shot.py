"""Zero-shot classification: which words fit a picture."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.encoder import Encoder


def label_probabilities(
    image: NDArray[np.float32], labels: Sequence[str], template: str, encoder: Encoder
) -> NDArray[np.float64]:
    """Softmax over `logit_scale * cosine`, as CLIP classifies (Radford et al., 2021).

    Args:
        image: A picture's embedding, [dimension].
        template: Has `{}` where the label goes.

    Returns:
        float64 [labels], summing to 1.
    """
    texts = encoder.encode_texts([template.replace("{}", label) for label in labels]).vectors
    cosines = texts.astype(np.float64) @ image / np.linalg.norm(image)
    logits = encoder.logit_scale * cosines
    odds = np.exp(logits - logits.max())
    return np.asarray(odds / odds.sum())
