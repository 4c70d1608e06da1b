"""Spelling: the words of texts, found again by the trigrams that they share with a misspelt one."""

import re
import unicodedata
from collections.abc import Iterable, Sequence

MIN_LENGTH = 4
"""Characters from which a word may be misspelt: shorter ones are all alike."""
MAX_LENGTH = 40
TWO_EDITS = 8
"""Characters from which a word may be off by two edits; below, by one."""

_WORD = re.compile(r"\w+")


def words(texts: Iterable[str]) -> set[str]:
    """The words of texts that misspelt ones are corrected to; those with digits mean what they say."""
    return {word for word in set(_WORD.findall(fold("\n".join(texts)))) if is_correctable(word)}


def fold(text: str) -> str:
    """Lower case without accents, much as FTS5 compares."""
    if text.isascii():
        return text.lower()
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def is_correctable(word: str) -> bool:
    """Whether a word may be taken for another."""
    return MIN_LENGTH <= len(word) <= MAX_LENGTH and word.isalpha()


def trigrams(word: str) -> set[str]:
    """All three characters in a row; the blanks around the word count, so that its ends weigh more."""
    padded = f"  {word} "
    return {padded[start : start + 3] for start in range(len(padded) - 2)}


def nearest(word: str, known: Sequence[str]) -> list[str]:
    """Of known words those that the fewest edits make of `word`, where they are few enough; in the order given."""
    allowed = 1 if len(word) < TWO_EDITS else 2
    edits = {other: edit_distance(word, other) for other in known}
    fewest = min(edits.values(), default=allowed + 1)
    return [other for other in known if edits[other] == fewest <= allowed]


def edit_distance(a: str, b: str) -> int:
    """Insertions, deletions, replacements and swaps of neighbours that make b of a (optimal string alignment)."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i in range(1, len(a) + 1):
        before, above, row = row, before, [i]
        for j in range(1, len(b) + 1):
            edits = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (a[i - 1] != b[j - 1]))
            if i > 1 < j and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                edits = min(edits, above[j - 2] + 1)
            row.append(edits)
    return row[-1]
