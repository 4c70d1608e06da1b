"""Texts that tokenisers disagree on, made from a seed."""

import random
import unicodedata

_PIECES = [
    "red", "Dress", "CAN'T", "don't", "we'll", "I'VE", "it’s", "men's", "&amp;", "&lt;b&gt;", "&amp;amp;", "&eacute;",
    "caf\u00e9", "cafe\u0301", "\ufb01ne", "\u00c3\u00a9t\u00c3\u00a9", "\u65b0\u6b3e\u8fde\u8863\u88d9", "\uff21\uff22\uff23", "\u041f\u043b\u0430\u0442\u044c\u0435", "\u0641\u0633\u062a\u0627\u0646", "\u0939\u093f\u0928\u094d\u0926\u0940",
    "\U0001f457", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\U0001f1eb\U0001f1f7", "\u2764\ufe0f", "\x00", "\x07", "\x1b[31m", "\x1c", "\x85", "\u00a0", "\u2003", "\u200b", "\ufeff",
    "\t", "\n", "\r\n", "123", "4.99", "\u00bd", "\u2167", "\u0663", "$", "___", "--", "!!!", "?!", "...", "\u2026", "\u201cquoted\u201d", "<start_of_text>", "<end_of_text>", "[CLS]", "</w>",
    "#hash", "@at", "a/b", "C++", "\u00df", "\u0130", "\u017f", "'\u017f", "\u212a", "x" * 40, "supercalifragilisticexpialidocious", "\ud7a3", "\u1112\u1161\u11ab", "\u0e01\u0e33", "\ufffd",
]  # fmt: skip


def hard_texts(count: int, seed: int = 0) -> list[str]:
    """`count` texts: the empty one, every piece alone, long ones, random mixtures and random code points."""
    draw = random.Random(seed)
    texts = ["", " ", "\n\t ", "word " * 500, "\u65b0\u6b3e" * 300, "a" * 5000, *_PIECES]
    while len(texts) < count:
        if draw.random() < 0.8:
            glue = draw.choice([" ", "", "  ", "-"])
            texts.append(glue.join(draw.choice(_PIECES) for _ in range(draw.randint(1, 14))))
        else:
            texts.append("".join(_code_point(draw) for _ in range(draw.randint(1, 30))))
    return texts[:count]


def _code_point(draw: random.Random) -> str:
    """An assigned code point: what a letter is among the others depends on the Unicode version of each library."""
    while True:
        point = chr(draw.choice([draw.randint(1, 0x24F), draw.randint(1, 0xD7FF), draw.randint(0x1F000, 0x1FAFF)]))
        if unicodedata.category(point) != "Cn":
            return point
