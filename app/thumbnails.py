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
    picture = decode_image(data, limits)
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()
