"""Pictures as texts."""

import base64
from pathlib import Path


def data_uri(picture: Path | bytes, media_type: str = "application/octet-stream") -> str:
    """A picture's file, or its bytes, as a `data:` URI; the server judges its type by the bytes."""
    data = picture if isinstance(picture, bytes) else picture.read_bytes()
    return f"data:{media_type};base64,{base64.b64encode(data).decode()}"
