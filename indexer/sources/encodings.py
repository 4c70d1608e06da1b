"""Which encoding a text is in, and where it is not."""

import codecs
import re
import unicodedata

from charset_normalizer import from_bytes

SAMPLE_BYTES = 2**18

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_BAD_BYTE = re.compile("[\udc00-\udcff]")
_SYMBOL_IN_A_WORD = re.compile("[a-z][¹³¿¥£¼¾¯ª¶º][a-z]", re.IGNORECASE)


def sniff(sample: bytes) -> str | None:
    """The encoding of a text by its first bytes: its mark, else UTF-8 if it is that, else the likeliest; None: no text.

    Of the Windows encodings of Latin letters, cp1252 is taken unless it makes words with symbols in them.
    """
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)  # not final: the sample may end within a letter
    except UnicodeDecodeError:
        return _likeliest(sample)
    return "utf-8"


def bad_byte(text: str) -> int | None:
    """The first byte that could not be decoded, if there is one."""
    found = None if text.isascii() else _BAD_BYTE.search(text)
    return ord(found[0]) - 0xDC00 if found else None


def _likeliest(sample: bytes) -> str | None:
    matches = from_bytes(sample[: sample.rfind(b"\n") + 1] or sample)
    best = matches.best()
    if best is None:
        return None
    if not _is_latin(str(best)):
        return best.encoding
    # The statistics of a few words cannot tell the Windows encodings of Latin letters apart.
    names = {name for match in matches for name in (match.encoding, *match.could_be_from_charset)}
    usual = "cp1250" if _SYMBOL_IN_A_WORD.search(sample.decode("cp1252", "replace")) else "cp1252"
    return usual if usual in names else best.encoding


def _is_latin(text: str) -> bool:
    letters = {letter for letter in text if letter.isalpha() and not letter.isascii()}
    return all("LATIN" in unicodedata.name(letter, "") for letter in letters)


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "".join(chr(0xDC00 + byte) for byte in error.object[error.start : error.end]), error.end


codecs.register_error("sightline.mark", _mark)
