"""Bytes from outside become pictures here, and nowhere else: hostile until decoded within limits."""

import io
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image, ImageFile

from models.errors import ImageTooLarge, ImageUndecodable
from models.screening import check_structure

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "MPO")
"""Decoders that are ever tried; MPO is what many cameras write under the name of JPEG."""

_OPENED = tuple(name for name in FORMATS if name != "MPO")  # an MPO is opened as a JPEG, and then found to be one

MIME_TYPES = {"MPO": "image/jpeg"} | {name: f"image/{name.lower()}" for name in FORMATS if name != "MPO"}


_TURNS: dict[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation (CIPA DC-008, 4.6.5)."""


@dataclass(frozen=True)
class ImageLimits:
    """What one picture may cost: encoded bytes, decoded pixels (width x height), animation frames."""

    max_bytes: int = 20 * 2**20
    max_pixels: int = 50_000_000
    max_frames: int = 100


Size = tuple[int, int]
"""(width, height) in pixels."""


def decode_image(data: bytes, limits: ImageLimits, enough: Callable[[Size], Size] | None = None) -> Image.Image:
    """Decode the first frame as RGB, upright according to its EXIF orientation, transparency on white.

    The declared type is never asked for: the bytes alone decide.

    Args:
        enough: Of a picture's size, the smallest one that serves the caller: a JPEG is then decoded at a half, a
            quarter or an eighth of its size where that is no smaller, at a fraction of the cost.

    Raises:
        ImageTooLarge: More bytes, pixels or frames than `limits` allow; nothing was decoded.
        ImageUndecodable: Not a complete picture in one of `FORMATS`.
    """
    if len(data) > limits.max_bytes:
        raise ImageTooLarge(f"the picture has {len(data):,} bytes; at most {limits.max_bytes:,} are allowed")
    check_structure(data, limits.max_frames)
    try:
        # Pillow's own bomb warning is replaced by our limit, which is checked before any pixel is decoded.
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_OPENED) as image:
            _check_dimensions(image, limits)
            if enough:
                image.draft(None, enough(image.size))
            return _upright_rgb(image)
    except ImageTooLarge:
        raise
    except Image.DecompressionBombError as error:
        raise ImageTooLarge(f"the picture has more than the {limits.max_pixels:,} pixels allowed") from error
    except MemoryError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds of error on hostile bytes
        raise ImageUndecodable(f"not a complete picture in a supported format ({', '.join(FORMATS[:-1])})") from error


def image_type(data: bytes) -> str:
    """MIME type judged by the bytes of an already decoded picture, e.g. `image/png`."""
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data), formats=_OPENED) as image:
        return MIME_TYPES[image.format or ""]


def _check_dimensions(image: Image.Image, limits: ImageLimits) -> None:
    width, height = image.size
    if width * height > limits.max_pixels:
        raise ImageTooLarge(f"the picture has {width} x {height} pixels; at most {limits.max_pixels:,} are allowed")
    # Those of GIF and TIFF were counted: Pillow counts them by reading the whole file, in quadratic time for a TIFF.
    frames = 1 if image.format in ("GIF", "TIFF") else getattr(image, "n_frames", 1)
    if frames > limits.max_frames:
        raise ImageTooLarge(f"the picture has {frames} frames; at most {limits.max_frames} are allowed")


def _upright_rgb(image: Image.Image) -> Image.Image:
    image.load()
    turn = _TURNS.get(_orientation(image))
    upright = image if turn is None else image.transpose(turn)
    if upright.has_transparency_data:
        layer, opaque = upright.convert("RGBA"), Image.new("RGB", upright.size, "white")
        opaque.paste(layer, mask=layer)  # what alpha_composite gives, in half the memory
        return opaque
    if upright.mode.startswith("I;16"):
        # Pillow clips 16-bit grey to 255 when it converts; scaling keeps the picture.
        upright = upright.convert("I").point([round(value / 257) for value in range(65536)], "L")
    return upright if upright.mode == "RGB" else upright.convert("RGB")  # what is RGB already, it would copy


def _orientation(image: Image.Image) -> object:
    """What EXIF says, 1 to 8; None where it says nothing, or is damaged, which is no reason to refuse the picture."""
    try:
        return image.getexif().get(0x0112)
    except Exception:  # as many kinds of error as the decoders have
        return None


assert not ImageFile.LOAD_TRUNCATED_IMAGES  # a truncated picture must raise, never be filled with grey
