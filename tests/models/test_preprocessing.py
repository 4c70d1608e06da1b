"""Preprocessing alone; its equality with OpenCLIP is tested in tests/train."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from models.errors import PreprocessingUnknown
from models.preprocessing import Preprocessing

HALF = (0.5, 0.5, 0.5)


def make(mode: str, size: tuple[int, int] = (32, 32), fill: int = 255) -> Preprocessing:
    return Preprocessing(size=size, mean=HALF, std=HALF, resize_mode=mode, fill_color=fill)


@given(
    mode=st.sampled_from(["shortest", "longest", "squash"]),
    width=st.integers(1, 400),
    height=st.integers(1, 400),
    size=st.tuples(st.integers(8, 48), st.integers(8, 48)),
)
def test_any_picture_gets_the_size_of_the_model(mode: str, width: int, height: int, size: tuple[int, int]) -> None:
    pixels = make(mode, size).pixels(Image.new("RGB", (width, height), "red"))
    assert pixels.shape == (*size, 3)
    assert pixels.dtype == np.uint8


def test_longest_pads_with_the_fill_colour_and_shows_the_whole_picture() -> None:
    pixels = make("longest").pixels(Image.new("RGB", (100, 50), "black"))
    assert (pixels[:8] == 255).all()
    assert (pixels[8:24] == 0).all()
    assert (pixels[24:] == 255).all()


def test_shortest_crops_the_centre() -> None:
    picture = Image.new("RGB", (96, 32), "red")
    picture.paste((0, 0, 255), (32, 0, 64, 32))
    assert (make("shortest").pixels(picture)[:, 2:-2] == (0, 0, 255)).all()


def test_squash_ignores_the_aspect_ratio() -> None:
    picture = Image.new("RGB", (100, 10), "red")
    picture.paste((0, 0, 255), (50, 0, 100, 10))
    pixels = make("squash").pixels(picture)
    assert (pixels[:, :14] == (255, 0, 0)).all()
    assert (pixels[:, -14:] == (0, 0, 255)).all()


def test_a_picture_a_million_times_longer_than_wide_costs_no_memory() -> None:
    assert make("shortest", (224, 224)).pixels(Image.new("RGB", (1, 1_000_000), "red")).shape == (224, 224, 3)


@given(
    mode=st.sampled_from(["shortest", "longest", "squash"]),
    sides=st.tuples(st.integers(40, 400), st.integers(40, 400)),
    size=st.tuples(st.integers(16, 48), st.integers(16, 48)),
)
def test_the_region_tells_where_the_pixels_come_from(mode: str, sides: tuple[int, int], size: tuple[int, int]) -> None:
    width, height = sides
    ramp = np.zeros((height, width, 3), dtype=np.uint8)
    ramp[..., 0] = np.linspace(0, 255, width)[None]
    ramp[..., 1] = np.linspace(0, 255, height)[:, None]
    preprocessing = make(mode, size)

    pixels = preprocessing.pixels(Image.fromarray(ramp))
    left, top, right, bottom = preprocessing.region(sides)

    x, y = (left + right) / 2, (top + bottom) / 2
    middle = pixels[size[0] // 2, size[1] // 2]
    assert middle[0] == pytest.approx(255 * x, abs=255 / size[1] * (right - left) + 3)
    assert middle[1] == pytest.approx(255 * y, abs=255 / size[0] * (bottom - top) + 3)


@pytest.mark.parametrize(
    ("mode", "size", "region"),
    [
        ("squash", (300, 100), (0, 0, 1, 1)),
        ("shortest", (200, 100), (0.25, 0, 0.75, 1)),
        ("shortest", (100, 400), (0, 0.375, 1, 0.625)),
        ("shortest", (3200, 100), (0.5 - 1 / 64, 0, 0.5 + 1 / 64, 1)),
        ("longest", (200, 100), (0, -0.5, 1, 1.5)),
        ("longest", (50, 100), (-0.5, 0, 1.5, 1)),
    ],
)
def test_the_region_of_a_crop_lies_within_and_of_padding_beyond_the_picture(
    mode: str, size: tuple[int, int], region: tuple[float, ...]
) -> None:
    assert make(mode).region(size) == pytest.approx(region)


@pytest.mark.parametrize("field", [{"resize_mode": "stretch"}, {"interpolation": "lanczos"}])
def test_an_unknown_mode_raises(field: dict[str, str]) -> None:
    with pytest.raises(PreprocessingUnknown, match=next(iter(field.values()))):
        Preprocessing.from_open_clip({"size": 32, "mean": HALF, "std": HALF, **field})


@given(
    mode=st.sampled_from(["shortest", "longest", "squash"]),
    sides=st.tuples(st.integers(1, 4000), st.integers(1, 4000)),
    size=st.tuples(st.integers(8, 300), st.integers(8, 300)),
)
@example(mode="shortest", sides=(421, 634), size=(8, 168))  # one side stays: its share of a pixel is rounded up
def test_what_is_enough_is_twice_as_large_as_what_the_model_sees_of_it(
    mode: str, sides: tuple[int, int], size: tuple[int, int]
) -> None:
    preprocessing = make(mode, size)
    enough = preprocessing.enough(sides)
    if enough != sides:
        seen = preprocessing.region(sides)
        across, down = (seen.right - seen.left) * enough[0], (seen.bottom - seen.top) * enough[1]
        assert all(small <= whole for small, whole in zip(enough, sides, strict=True))
        assert across >= 2 * size[1]
        assert down >= 2 * size[0]
