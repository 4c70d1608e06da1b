"""Texts to token ids, equal to OpenCLIP's tokenisers id for id."""

import html
import string
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ftfy
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer as FastTokenizer

_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


class Tokens(NamedTuple):
    """Token ids of n texts."""

    ids: list[NDArray[np.int64]]
    """n arrays, each as long as its text, special tokens included, at most the context."""
    truncated: NDArray[np.bool_]
    """[n], whether the text was longer than the context."""


def clean_text(text: str, mode: str) -> str:
    """OpenCLIP's cleaning (`open_clip.tokenizer.get_clean_fn`): repair mojibake, unescape HTML, collapse space.

    Args:
        mode: `lower` also lowers the case; `canonicalize` also drops ASCII punctuation (SigLIP); `whitespace` neither.
    """
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    if mode == "canonicalize":
        text = text.replace("_", " ").translate(_NO_PUNCTUATION).lower()
    text = " ".join(text.split())
    return text.lower() if mode == "lower" else text


class TextTokenizer:
    """A model's tokeniser: cleaning, Hugging Face `tokenizers`, truncation to the context.

    Args:
        file: `tokenizer.json`.
        context_length: tokens at most, special ones included.
    """

    def __init__(self, file: Path, *, context_length: int, clean: str) -> None:
        self._fast = FastTokenizer.from_file(str(file))
        self._fast.no_padding()
        self._fast.enable_truncation(context_length)
        self._clean = clean

    def __call__(self, texts: Sequence[str]) -> Tokens:
        """Tokenise texts, each to its own length; a longer text than the context is cut as the reference cuts it."""
        encodings = self._fast.encode_batch([clean_text(text, self._clean) for text in texts])
        return Tokens(
            [np.array(encoding.ids, dtype=np.int64) for encoding in encodings],
            np.array([bool(encoding.overflowing) for encoding in encodings], dtype=bool),
        )
