"""A look at the structure of an encoded picture before a decoder sees it.

Decoders take time and memory for each part of a file, be it a strip, a scan, a comment or a frame, and some of them in
Python. A file of few bytes and few pixels can have millions of such parts; no picture that anyone made has.
"""

import re
import struct
from collections.abc import Iterator

from models.errors import ImageTooLarge

MAX_PARTS = 100_000
"""Segments (JPEG), chunks (PNG), blocks (GIF), strips or tiles (TIFF)."""

MAX_SCANS = 100
"""Of a progressive JPEG, as libtiff allows: each costs a pass over all pixels. Cameras and encoders make about ten."""

_MAX_JUNK_BYTES = 2**16
_MAX_RUN_LENGTH_BYTES = 2 * 2**20
_OFFSETS_AND_COUNTS = (273, 279, 324, 325)
_MARKER = re.compile(rb"\xff[^\xff]")
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")


def check_structure(data: bytes, max_frames: int) -> None:
    """Raise `ImageTooLarge` if a picture has far more parts than pictures have, or (GIF, TIFF) too many frames.

    What is malformed is left to the decoder, which stops at the same place.
    """
    if data.startswith(b"\xff\xd8"):
        _check_jpeg(data)
    elif data.startswith(b"\x89PNG"):
        _check_count(_png_chunks(data))
    elif data.startswith(b"GIF8"):
        _check_frames(sum(_check_count(_gif_blocks(data))), max_frames)
    elif data.startswith((b"II", b"MM")):
        _check_tiff(data, max_frames)
    elif data.startswith(b"BM") and len(data) > _MAX_RUN_LENGTH_BYTES and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
        # The decoder of run lengths is written in Python.
        raise ImageTooLarge(f"a run-length encoded BMP may have at most {_MAX_RUN_LENGTH_BYTES:,} bytes")


def _check_count(parts: Iterator[bool]) -> Iterator[bool]:
    found = []
    for part in parts:
        found.append(part)
        if len(found) > MAX_PARTS:
            raise _too_many("parts", MAX_PARTS)
    return iter(found)


def _check_frames(frames: int, limit: int) -> None:
    if frames > limit:
        raise ImageTooLarge(f"the picture has {frames} frames; at most {limit} are allowed")


def _too_many(what: str, limit: int) -> ImageTooLarge:
    return ImageTooLarge(f"the picture has too many {what} for a picture; at most {limit:,} are allowed")


def _check_jpeg(data: bytes) -> None:
    position, junk, scans = 2, 0, 0
    for _ in range(MAX_PARTS):
        found = (_MARKER_IN_SCAN if scans else _MARKER).search(data, position)
        if not scans:  # up to the first scan the decoder goes on byte by byte, in Python
            junk += (found.start() if found else len(data)) - position
        if junk > _MAX_JUNK_BYTES:
            raise ImageTooLarge(f"the picture has more than {_MAX_JUNK_BYTES:,} bytes between its segments")
        if found is None:
            return
        position, marker = found.end(), data[found.end() - 1]
        if marker == 0xD9 and scans:
            return
        scans += marker == 0xDA
        if scans > MAX_SCANS:
            raise _too_many("scans", MAX_SCANS)
        if marker > 0x01 and not 0xD0 <= marker <= 0xD9:
            position += int.from_bytes(data[position : position + 2], "big")
    raise _too_many("segments", MAX_PARTS)


def _png_chunks(data: bytes) -> Iterator[bool]:
    position = 8
    while position + 8 <= len(data) and data[position + 4 : position + 8] != b"IEND":
        yield True
        position += 12 + int.from_bytes(data[position : position + 4], "big")


def _gif_blocks(data: bytes) -> Iterator[bool]:
    """Each block and each part of one, as whether it begins a frame."""
    position = 13 + _colours(data, 10)
    while position < len(data) and data[position] != 0x3B:
        is_frame = data[position] == 0x2C
        yield is_frame
        if is_frame:
            position += 11 + _colours(data, position + 9)  # descriptor, colours, size of the codes
        elif data[position] == 0x21:
            position += 2
        else:
            position += 1  # the decoder skips what it does not know, byte by byte
            continue
        while position < len(data) and data[position]:
            yield False
            position += 1 + data[position]
        position += 1


def _colours(data: bytes, position: int) -> int:
    """Bytes of the colour table that the flags at a position tell of."""
    flags = data[position] if position < len(data) else 0
    return 3 << (1 + (flags & 7)) if flags & 0x80 else 0


def _check_tiff(data: bytes, max_frames: int) -> None:
    order = "<" if data.startswith(b"II") else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    # Of a directory: how its number of entries is written, its entries (tag, type, count, value), offsets.
    count, entry, offset = (
        (f"{order}Q", f"{order}HHQQ", f"{order}Q") if big else (f"{order}H", f"{order}HHII", f"{order}I")
    )
    seen: set[int] = set()
    parts = 0
    try:
        (position,) = struct.unpack_from(offset, data, 8 if big else 4)
        while position and position not in seen:
            seen.add(position)
            _check_frames(len(seen), max_frames)
            (entries,) = struct.unpack_from(count, data, position)
            start, size = position + struct.calcsize(count), struct.calcsize(entry)
            parts += entries
            if parts > MAX_PARTS:
                raise _too_many("parts", MAX_PARTS)
            for number in range(entries):
                tag, _, values, _ = struct.unpack_from(entry, data, start + number * size)
                if tag in _OFFSETS_AND_COUNTS and values > MAX_PARTS:
                    raise _too_many("parts", MAX_PARTS)
            (position,) = struct.unpack_from(offset, data, start + entries * size)
    except (struct.error, OverflowError):  # an offset beyond the end, or beyond any end
        return
