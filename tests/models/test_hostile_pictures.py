"""Hostile and unusual pictures: the decoder refuses or decodes, in bounded time and memory, and decodes rightly."""

import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models import screening
from models.errors import ImageError, ImageTooLarge, ImageUndecodable
from models.imaging import ImageLimits, decode_image, image_type
from tests.hostile_pictures import (
    LIMITS,
    SIZE,
    crafted,
    encode,
    mutated,
    oriented,
    photo,
    png_rgb16,
    polyglots,
    reference,
    rgb16,
    whole,
    ycck,
)

ROOT = Path(__file__).parents[2]
MAX_ADDRESS_BYTES = 1200 * 2**20
"""Of the whole child; the interpreter and NumPy's threads reserve most of it without using it."""
MAX_GROWN_BYTES = 200 * 2**20
"""What decoding may add to the resident memory of the child, whose pictures have at most 2 million pixels."""
MAX_SECONDS = 2.0
"""Processor time of one picture of at most 2 MB; on an idle machine the slowest takes about 0.2 s."""

CRAFTED, POLYGLOTS, WHOLE = crafted(), polyglots(), whole()

TOO_LARGE = [
    "png of chunks", "png of empty data", "png huge", "png wide", "jpeg huge", "jpeg of scans",
    "jpeg of segments", "jpeg of fill bytes", "jpeg of fill bytes without end", "jpeg of junk", "gif of frames",
    "gif of comments", "gif of one comment", "gif of unknown blocks", "gif large frame", "tiff of directories",
    "tiff of strips", "tiff of tiles", "tiff huge", "bmp huge", "bmp upside down", "webp of frames",
]  # fmt: skip
FINE = ["png data bomb", "png exif bomb", "jpeg large and short", "jpeg exif bomb", "jpeg exif circle"]
"""What costs little, because Pillow stops reading where the pixels are complete, or never looks at it."""


# Damaged


def test_damage_is_the_same_for_the_same_seed() -> None:
    assert list(mutated(60, seed=3)) == list(mutated(60, seed=3))
    assert list(mutated(60, seed=3)) != list(mutated(60, seed=4))


def test_damaged_pictures_are_refused_or_decoded() -> None:
    for name, data in mutated(200, seed=2):
        try:
            with contextlib.suppress(ImageError):
                assert decode_image(data, LIMITS).mode == "RGB"
                assert image_type(data).startswith("image/")
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error


@pytest.mark.parametrize("count", [400, pytest.param(5000, marks=pytest.mark.faults)])
def test_in_a_process_of_its_own_none_crashes_it_or_costs_more_than_it_may(count: int) -> None:
    command = [sys.executable, "-m", "tests.hostile_pictures", str(count), str(MAX_ADDRESS_BYTES)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    report = json.loads(run.stdout)
    assert sum(report["outcomes"].values()) == count + len(CRAFTED)
    assert set(report["outcomes"]) == {"decoded", "ImageUndecodable", "ImageTooLarge"}
    assert report["slowest"][0] < MAX_SECONDS, report["slowest"]
    assert report["grown_bytes"] < MAX_GROWN_BYTES


# Crafted


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_file_costs_little(name: str) -> None:
    data, started = CRAFTED[name], time.process_time()
    if name in FINE:
        decode_image(data, LIMITS)
    elif name in TOO_LARGE:
        with pytest.raises(ImageTooLarge):
            decode_image(data, LIMITS)
    elif name == "tiff in a circle":
        assert decode_image(data, LIMITS).size == (64, 64)
    else:
        with pytest.raises(ImageUndecodable):
            decode_image(data, LIMITS)
    assert time.process_time() - started < MAX_SECONDS


@pytest.mark.parametrize("name", POLYGLOTS)
def test_a_polyglot_is_the_picture_that_it_begins_with(name: str) -> None:
    assert decode_image(POLYGLOTS[name], LIMITS).size == SIZE
    assert image_type(POLYGLOTS[name]) == f"image/{name.partition(' ')[0]}"


@pytest.mark.parametrize("name", WHOLE)
def test_no_whole_picture_comes_near_the_limits_of_structure(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(screening, "MAX_PARTS", 60)
    monkeypatch.setattr(screening, "MAX_SCANS", 12)
    decode_image(WHOLE[name], LIMITS)


def test_frames_are_counted_whatever_the_format() -> None:
    for name in ("apng", "gif animated", "webp animated", "tiff pages", "mpo"):
        decode_image(WHOLE[name], ImageLimits(max_frames=4))
        with pytest.raises(ImageTooLarge, match="4 frames"):
            decode_image(WHOLE[name], ImageLimits(max_frames=3))


def test_a_run_length_encoded_bitmap_is_small() -> None:
    head = b"BM" + bytes(28) + b"\1\0\0\0"
    with pytest.raises(ImageTooLarge, match="run-length"):
        decode_image(head + bytes(2_100_000), ImageLimits())
    with pytest.raises(ImageUndecodable):
        decode_image(head + bytes(1_000_000), ImageLimits())


# Whole


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_picture_is_decoded_as_another_way_does(name: str) -> None:
    decoded = np.asarray(decode_image(WHOLE[name], LIMITS)).astype(float)
    assert np.abs(decoded - reference(WHOLE[name])).max() <= 1


@pytest.mark.parametrize("name", ["png grey 16", "tiff grey 16"])
def test_sixteen_bit_grey_is_scaled(name: str) -> None:
    expected = np.linspace(0, 65535, SIZE[0] * SIZE[1]).reshape(SIZE[::-1]) / 257
    assert np.abs(np.asarray(decode_image(WHOLE[name], LIMITS)) - expected[..., None]).max() <= 1


def test_sixteen_bit_colours_keep_their_upper_half() -> None:
    values = rgb16()
    assert np.array_equal(np.asarray(decode_image(png_rgb16(values), LIMITS)), values >> 8)


CORNERS = {(0, 0): (255, 0, 0), (0, -1): (0, 255, 0), (-1, 0): (0, 0, 255), (-1, -1): (255, 255, 0)}
STORED = {
    1: lambda upright: upright,
    2: np.fliplr,
    3: lambda upright: np.rot90(upright, 2),
    4: np.flipud,
    5: lambda upright: upright.swapaxes(0, 1),
    6: np.rot90,  # to be turned clockwise by whoever shows it
    7: lambda upright: np.rot90(upright, 2).swapaxes(0, 1),
    8: lambda upright: np.rot90(upright, -1),
}
"""How the rows of an upright picture are stored under each EXIF orientation."""


@pytest.mark.parametrize("format_", ["PNG", "JPEG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", STORED)
def test_each_exif_orientation_is_turned_upright(orientation: int, format_: str) -> None:
    upright = np.full((32, 48, 3), 128, np.uint8)
    for (row, column), colour in CORNERS.items():
        upright[(slice(16) if row == 0 else slice(-16, None)), (slice(16) if column == 0 else slice(-16, None))] = (
            colour
        )
    stored = Image.fromarray(np.ascontiguousarray(STORED[orientation](upright)))
    options = (
        {"quality": 100, "subsampling": 0} if format_ == "JPEG" else {"lossless": True} if format_ == "WEBP" else {}
    )
    decoded = np.asarray(decode_image(encode(stored, format_, exif=oriented(orientation), **options), LIMITS))
    assert decoded.shape == upright.shape
    for corner, colour in CORNERS.items():
        assert np.abs(decoded[corner].astype(int) - colour).max() <= 3
    assert np.abs(decoded.astype(int) - upright).mean() < 2


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_changes_nothing(orientation: int) -> None:
    data = encode(photo(), exif=oriented(orientation))
    assert np.array_equal(np.asarray(decode_image(data, LIMITS)), np.asarray(photo()))


@pytest.mark.parametrize("exif", [b"Exif\0\0nonsense", b"Exif\0\0II*\0\xff\xff\xff\x7f", b"Exif\0\0", b"\0"])
def test_damaged_exif_is_no_reason_to_refuse_a_picture(exif: bytes) -> None:
    for format_ in ("PNG", "JPEG", "WEBP"):
        assert decode_image(encode(photo(), format_, exif=exif), LIMITS).size == SIZE


def test_exif_that_cannot_be_written_again_is_no_reason_to_refuse_a_picture() -> None:
    exif = oriented(6)
    data = bytearray(encode(photo(), "JPEG", exif=exif))
    at = data.index(b"Exif\0\0") + 16
    data[at + 2 : at + 4] = b"\x77\x77"  # a type that there is not, of the tag `Make`
    assert decode_image(bytes(data), LIMITS).size == SIZE[::-1]


@pytest.mark.parametrize(
    "colour", [(0, 0, 0, 0), (255, 0, 0, 0), (0, 200, 100, 40), (90, 30, 200, 128), (0, 0, 0, 255)]
)
def test_cmyk_becomes_rgb(colour: tuple[int, int, int, int]) -> None:
    cyan, magenta, yellow, black = colour
    expected = np.array([255 - cyan, 255 - magenta, 255 - yellow]) * (255 - black) / 255
    image = Image.new("CMYK", SIZE, colour)
    for data in (encode(image, "JPEG", quality=100), encode(image, "TIFF")):
        assert np.abs(np.asarray(decode_image(data, LIMITS)) - expected).max() <= 4


@pytest.mark.parametrize("components", [(100, 128, 128, 0), (140, 90, 160, 0), (120, 150, 100, 80)])
def test_ycck_becomes_rgb(components: tuple[int, int, int, int]) -> None:
    """Adobe stores the complement of all four, the first three of them as luminance and chrominance (T.871)."""
    luma, blue, red, black = components
    # Pillow stores the complement, so that these are what the file holds for Y, Cb, Cr and K.
    image = Image.new("CMYK", SIZE, (*(255 - value for value in (luma, blue, red)), black))
    rgb = np.array([
        luma + 1.402 * (red - 128),
        luma - 0.344136 * (blue - 128) - 0.714136 * (red - 128),
        luma + 1.772 * (blue - 128),
    ])  # fmt: skip
    cmy = 255 - rgb.clip(0, 255)  # what libjpeg makes of them: complements, which Pillow complements again
    expected = (255 - (255 - cmy)) * (255 - black) / 255
    decoded = np.asarray(decode_image(ycck(encode(image, "JPEG", quality=100)), LIMITS))
    assert np.abs(decoded - expected).max() <= 5
