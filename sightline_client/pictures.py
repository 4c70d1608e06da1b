"""Pictures as requests hold them."""

import base64
import os
from pathlib import Path

Picture = str | bytes | os.PathLike[str]
"""An `http(s)` URL that the server fetches or a `data:` URI; the bytes of a picture; or its file here."""


def reference(picture: Picture) -> str:
    """A picture as an URL or `data:` URI; the server judges what it is by the bytes.

    Raises:
        OSError: The file cannot be read.
    """
    if isinstance(picture, str):
        return picture
    data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
