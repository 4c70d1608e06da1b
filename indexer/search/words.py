"""The language of a lexical query: words, "phrases" and prefixes* as FTS5 takes them, and nothing else of FTS5."""

import re
import unicodedata
from dataclasses import dataclass

from indexer.stores.texts import Texts
from indexer.stores.vocabulary import fold, is_correctable

MAX_WORDS = 64
"""Of a query text; the rest of a longer one is not looked for."""
MAX_CORRECTED = 8
"""Words of a query text that are looked up in the vocabulary."""

_PART = re.compile(r'"([^"]*)"|(\w+)(\*?)')
_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Part:
    """Words in a row; several are a phrase."""

    words: tuple[str, ...]
    is_prefix: bool = False
    """Whether the last word may go on."""
    is_exact: bool = False
    """Whether it was quoted, and is not corrected."""

    @property
    def expression(self) -> str:
        """As FTS5 takes it: within double quotes nothing has a meaning."""
        return f'"{" ".join(self.words)}"' + "*" * self.is_prefix


def parse(text: str) -> list[Part]:
    """What a text asks for, each part once; any text is a query, though one without a letter or digit of nothing."""
    parts: dict[Part, None] = {}
    left = MAX_WORDS
    for found in _PART.finditer(unicodedata.normalize("NFC", text)):
        quoted, word, star = found.groups()
        words = (word,) if word else tuple(_WORD.findall(quoted)[:left])
        if words:
            parts[Part(words, bool(star), is_exact=not word)] = None
            left -= len(words)
        if left <= 0:
            break
    return list(parts)


def expression(text: str, texts: Texts) -> str | None:
    """What to match: any part of the text, a word that no item has corrected to one that items have.

    None where no item can match.
    """
    parts, corrections = [], 0
    for part in parse(text):
        if corrections < MAX_CORRECTED and _may_be_misspelt(part) and not texts.count(part.expression, most=1):
            corrections += 1
            parts += _corrected(part, texts)
        else:
            parts.append(part)
    return " OR ".join(part.expression for part in parts) or None


def _may_be_misspelt(part: Part) -> bool:
    return not (part.is_exact or part.is_prefix) and is_correctable(fold(part.words[0]))


def _corrected(part: Part, texts: Texts) -> list[Part]:
    """The word that most items have, of those that the fewest edits make of it."""
    counts = {word: texts.count(Part((word,)).expression) for word in texts.similar_words(fold(part.words[0]))}
    best = max(counts, key=lambda word: counts[word], default=None)
    return [Part((best,))] if best is not None and counts[best] else []
