"""Cursors: where the next page of a list begins, opaque to clients."""

import base64
import binascii

from indexer.errors import CursorInvalid


def encode_cursor(pk: int) -> str:
    """The cursor of a page that begins beside the row with this primary key."""
    return base64.urlsafe_b64encode(str(pk).encode()).decode()


def decode_cursor(cursor: str | None) -> int:
    """The primary key of a cursor, 0 for none; raises `CursorInvalid`."""
    if cursor is None:
        return 0
    try:
        pk = int(base64.b64decode(cursor, altchars=b"-_", validate=True))
        if 0 <= pk < 2**63:
            return pk
    except (ValueError, binascii.Error):
        pass
    raise CursorInvalid(f"{cursor!r} is not a cursor of this collection", "/cursor")
