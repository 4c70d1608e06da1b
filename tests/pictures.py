"""Small pictures as encoded bytes."""

import base64
import io

from PIL import Image


def picture(colour: str | tuple[int, int, int], size: tuple[int, int] = (24, 16), format_: str = "PNG") -> bytes:
    """A plain picture of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, format_)
    return buffer.getvalue()


def data_uri(data: bytes, mime: str = "image/png") -> str:
    """Bytes as a data: URI."""
    return f"data:{mime};base64,{base64.b64encode(data).decode()}"
