"""OpenCLIP's tokenisers as `tokenizer.json` files (needs open_clip; not needed for serving)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import open_clip
from tokenizers import Regex, Tokenizer, pre_tokenizers, processors
from tokenizers.models import BPE

from models.errors import ExportFailed

CLIP_PATTERN = r"(?i:<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d)|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
"""From open_clip.tokenizer.SimpleTokenizer, which ignores case."""


@dataclass(frozen=True)
class TextSettings:
    """What the text side needs beside its weights."""

    tokenizer: Any
    """OpenCLIP's tokeniser: list[str] -> ids [n, context_length]."""
    context_length: int
    clean: Any
    pad_id: int

    @classmethod
    def of(cls, tokenizer: Any) -> "TextSettings":
        """Read them off OpenCLIP's tokeniser; raises `ExportFailed` for a mode it cannot mirror."""
        if getattr(tokenizer, "reduction_fn", None) or getattr(tokenizer, "tokenizer_mode", ""):
            raise ExportFailed("tokenisers with a reduction mask or a special mode cannot be exported")
        if getattr(tokenizer, "strip_sep_token", False):
            raise ExportFailed("tokenisers that strip the separator cannot be exported")
        simple = isinstance(tokenizer, open_clip.SimpleTokenizer)
        return cls(
            tokenizer=tokenizer,
            context_length=tokenizer.context_length,
            clean=_clean_name(tokenizer),
            pad_id=0 if simple else int(tokenizer.tokenizer.pad_token_id),
        )


def save_tokenizer(settings: TextSettings, file: Path) -> None:
    """Write the tokeniser as a `tokenizer.json`, which `models.tokenizing` reads."""
    if isinstance(settings.tokenizer, open_clip.SimpleTokenizer):
        clip_tokenizer(settings.tokenizer).save(str(file))
        return
    fast = getattr(settings.tokenizer.tokenizer, "backend_tokenizer", None)
    if fast is None:
        raise ExportFailed("the Hugging Face tokeniser has no fast form, so it cannot be exported")
    fast.save(str(file))


def clip_tokenizer(simple: Any) -> Tokenizer:
    """CLIP's byte-level BPE, equal to `open_clip.SimpleTokenizer` id for id."""
    start, end = (simple.decoder[index] for index in (simple.sot_token_id, simple.eot_token_id))
    vocabulary = dict(simple.encoder)
    merges = sorted(simple.bpe_ranks, key=simple.bpe_ranks.__getitem__)
    for special in (start, end):
        merges += _special_merges(simple, special, vocabulary)
    fast = Tokenizer(BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>"))
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(CLIP_PATTERN), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    fast.post_processor = processors.TemplateProcessing(
        single=f"{start} $A {end}",
        special_tokens=[(start, simple.sot_token_id), (end, simple.eot_token_id)],
    )
    return fast


def _special_merges(simple: Any, special: str, vocabulary: dict[str, int]) -> list[tuple[str, str]]:
    """Merges by which BPE makes a special token of its literal spelling in a text, as the reference does.

    An added token of `tokenizers` would be found anywhere; the reference finds it only where its pattern starts a
    new word. No other word of the pattern mixes letters with punctuation, so no other word meets these merges.
    """
    whole = simple.cache.pop(special)
    left, *others = simple.bpe(special).split(" ")
    simple.cache[special] = whole
    merges = []
    for right in others:
        merges.append((left, right))
        left += right
        vocabulary.setdefault(left, len(vocabulary))
    vocabulary[left] = vocabulary.pop(special)
    return merges


def _clean_name(tokenizer: Any) -> str:
    """The name of OpenCLIP's cleaning function, which the tokeniser keeps only as a function."""
    return str(tokenizer.clean_fn.__name__).removeprefix("_clean_")
