"""Pictures as requests hold them."""

import base64
import os
from pathlib import Path

Picture = str | bytes | os.PathLike[str]
"""An `http(s)` URL that the server fetches or a `data:` URI; the bytes of a picture; or its file here, as a `Path`."""

_URLS = ("http://", "https://", "data:")


def reference(picture: Picture) -> str:
    """A picture as an URL or `data:` URI; the server judges what it is by the bytes.

    Raises:
        OSError: The file cannot be read; it names the file.
        ValueError: A text that is no URL: the path of a file is told from one by being a `Path`.
    """
    if isinstance(picture, str):
        if not picture.lower().startswith(_URLS):
            raise ValueError(f"{picture[:200]!r} is no http(s) URL and no data: URI; a file is given as a pathlib.Path")
        return picture
    data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
    return f"data:application/octet-stream;base64,{base64.b64encode(data).decode()}"
