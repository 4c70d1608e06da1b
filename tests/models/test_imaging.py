"""Pictures from outside: what is decoded, what is refused, and that nothing else can happen."""

import contextlib
import io
import random

import numpy as np
import pytest
from PIL import Image

from models.errors import ImageError, ImageTooLarge, ImageUndecodable
from models.imaging import ImageLimits, decode_image, image_type

LIMITS = ImageLimits(max_bytes=200_000, max_pixels=1_000_000, max_frames=3)


def encode(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def photo(size: tuple[int, int] = (60, 40)) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size[::-1], 3), dtype=np.uint8))


@pytest.mark.parametrize("format_", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_allowed_format_is_decoded_as_rgb(format_: str) -> None:
    image = decode_image(encode(photo(), format_), LIMITS)
    assert (image.mode, image.size) == ("RGB", (60, 40))
    assert image_type(encode(photo(), format_)) == f"image/{format_.lower()}"


def test_the_picture_is_upright_as_its_exif_orientation_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(encode(photo(), "JPEG", exif=exif), LIMITS).size == (40, 60)


def test_transparent_parts_become_white() -> None:
    assert decode_image(encode(Image.new("RGBA", (4, 4), (255, 0, 0, 0))), LIMITS).getpixel((0, 0)) == (255, 255, 255)


def test_sixteen_bit_grey_keeps_its_range() -> None:
    grey = Image.fromarray(np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16))
    pixels = np.asarray(decode_image(encode(grey), LIMITS))
    assert pixels[0, 0, 0] == 0
    assert pixels[-1, -1, 0] == 255
    assert abs(int(pixels[8, 0, 0]) - 128) <= 1


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "RGBA", "I;16", "I", "F"])
def test_every_mode_becomes_rgb(mode: str) -> None:
    format_ = {"CMYK": "JPEG", "F": "TIFF", "I": "TIFF"}.get(mode, "PNG")
    image = Image.new(mode, (8, 8))
    assert decode_image(encode(image, format_), LIMITS).mode == "RGB"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        encode(photo())[:-200],
        encode(photo(), "JPEG")[:300],
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    ],
)
def test_what_is_not_a_complete_picture_is_refused(data: bytes) -> None:
    with pytest.raises(ImageUndecodable):
        decode_image(data, LIMITS)


def test_limits_on_bytes_pixels_and_frames() -> None:
    animated = encode(
        photo(),
        "GIF",
        save_all=True,
        append_images=[photo((60, 41)).resize((60, 40))] * 1
        + [Image.new("RGB", (60, 40), colour) for colour in ("red", "green", "blue")],
    )
    for data in (b"x" * 200_001, encode(Image.new("RGB", (1001, 1000))), animated):
        with pytest.raises(ImageTooLarge):
            decode_image(data, LIMITS)


def test_mutated_pictures_raise_an_image_error_or_decode() -> None:
    draw = random.Random(1)
    originals = [encode(photo(), format_) for format_ in ("JPEG", "PNG", "WEBP", "GIF", "TIFF")]
    for _ in range(300):
        data = bytearray(draw.choice(originals))
        for _ in range(draw.randint(1, 8)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        with contextlib.suppress(ImageError):
            decode_image(bytes(data[: draw.randint(1, len(data))]), LIMITS)


@pytest.mark.parametrize(
    ("enough", "decoded"),
    [((301, 201), (301, 201)), ((151, 101), (301, 201)), ((150, 100), (151, 101)), ((10, 10), (38, 26))],
)
def test_a_jpeg_is_decoded_no_smaller_than_is_enough(enough: tuple[int, int], decoded: tuple[int, int]) -> None:
    image = decode_image(encode(photo((301, 201)), "JPEG"), LIMITS, lambda size: enough)
    assert (image.mode, image.size) == ("RGB", decoded)


def test_other_formats_are_decoded_whole() -> None:
    assert decode_image(encode(photo(), "PNG"), LIMITS, lambda size: (1, 1)).size == (60, 40)


def test_a_jpeg_that_is_turned_is_turned_when_it_is_decoded_smaller() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert decode_image(encode(photo((64, 32)), "JPEG", exif=exif), LIMITS, lambda size: (32, 16)).size == (16, 32)


def test_a_truncated_jpeg_is_refused_when_it_is_decoded_smaller() -> None:
    data = encode(photo((301, 201)), "JPEG")
    with pytest.raises(ImageUndecodable):
        decode_image(data[: len(data) // 2], LIMITS, lambda size: (30, 20))
