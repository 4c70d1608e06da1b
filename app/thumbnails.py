"""Small pictures for galleries."""

import io

from PIL import Image

from models.imaging import ImageLimits, decode_image

QUALITY = 85
MEDIA_TYPE = "image/jpeg"


def make_thumbnail(data: bytes, width: int, limits: ImageLimits) -> bytes:
    """A JPEG at most `width` pixels wide, upright, never larger than the picture itself.

    Raises:
        ImageError: The stored bytes are no picture within the limits (any more).
    """
    picture = decode_image(data, limits, lambda size: _at_least(2 * width, size))
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def _at_least(side: int, size: tuple[int, int]) -> tuple[int, int]:
    """A picture's (width, height), scaled down until its shorter side is `side`."""
    return size if min(size) <= side else (side * size[0] // min(size), side * size[1] // min(size))
