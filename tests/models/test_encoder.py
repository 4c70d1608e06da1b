"""The embedded model behind its batchers."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_equal

from models.encoder import DualEncoder
from models.errors import ManifestInvalid
from models.manifest import MANIFEST, read_manifest
from models.store import EMBEDDED

TEXTS = ["red", "a red dress", "men's black leather shoes with white soles", "", "sunglasses", "blue jeans " * 30]
WORDS = " ".join(TEXTS).split()


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    """The embedded model, which is int8."""
    return DualEncoder.open(EMBEDDED, device="cpu", threads=1)


def test_a_batch_gives_what_singles_give_bit_for_bit(encoder: DualEncoder) -> None:
    pixels = list(np.random.default_rng(0).integers(0, 256, (5, 128, 128, 3), dtype=np.uint8))
    texts = TEXTS + [" ".join(random.Random(seed).choices(WORDS, k=3 + seed % 20)) for seed in range(60)]
    together, images = encoder.encode_texts(texts).vectors, encoder.encode_pixels(pixels)
    assert_equal(together, np.concatenate([encoder.encode_texts([text]).vectors for text in texts]))
    assert_equal(images, np.concatenate([encoder.encode_pixels([picture]) for picture in pixels]))


def test_who_asks_at_the_same_time_gets_what_he_would_get_alone(encoder: DualEncoder) -> None:
    alone = {text: encoder.encode_texts([text]).vectors for text in TEXTS}
    with ThreadPoolExecutor(8) as pool:
        asked = [(text, pool.submit(lane.encode_texts, [text])) for text in TEXTS for lane in (encoder, encoder.bulk)]
        for text, answer in asked:
            assert_equal(answer.result().vectors, alone[text])


def test_int8_graphs_that_scale_by_batch_are_refused(tmp_path: Path) -> None:
    content = json.loads((EMBEDDED / MANIFEST).read_text())
    (tmp_path / MANIFEST).write_text(json.dumps(content | {"format": 1, "precision": "fp32"}))
    assert read_manifest(tmp_path).fingerprint == read_manifest(EMBEDDED).fingerprint
    (tmp_path / MANIFEST).write_text(json.dumps(content | {"format": 1}))
    with pytest.raises(ManifestInvalid, match="add the model anew"):
        read_manifest(tmp_path)
