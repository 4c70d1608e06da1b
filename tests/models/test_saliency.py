from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.encoder import DualEncoder, Encoder
from models.saliency import GRID, occlusion_map
from tests.fakes import FakeEncoder

DEFAULT = Path(__file__).parents[2] / "models" / "default"


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    """The embedded model."""
    return DualEncoder.open(DEFAULT, device="cpu", threads=1)


def square(colour: str, place: tuple[int, int], ground: str = "white", size: int = 128) -> Image.Image:
    """A square of a third of the picture's side, in one of its corners."""
    image = Image.new("RGB", (size, size), ground)
    side = size // 3
    left, top = (corner * (size - side) for corner in place)
    image.paste(Image.new("RGB", (side, side), colour), (left, top))
    return image


def hottest(image: Image.Image, text: str, encoder: Encoder) -> tuple[int, ...]:
    """Row and column of the cell that counts most."""
    [query] = encoder.encode_texts([text]).vectors
    grid = occlusion_map(encoder.preprocess(image), query, encoder).grid
    return tuple(int(at) for at in np.unravel_index(grid.argmax(), grid.shape))


@pytest.mark.parametrize("place", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_the_hottest_cell_is_where_the_red_square_is(encoder: DualEncoder, place: tuple[int, int]) -> None:
    row, column = hottest(square("red", place), "red", encoder)

    assert column >= GRID * 2 // 3 if place[0] else column <= GRID // 3, (row, column)
    assert row >= GRID * 2 // 3 if place[1] else row <= GRID // 3, (row, column)


def test_the_query_decides_which_of_two_squares_is_hot() -> None:
    encoder, image = FakeEncoder(), square("red", (0, 0), "black")
    image.paste((0, 0, 255), (86, 86, 128, 128))

    assert max(hottest(image, "red", encoder)) < 4
    assert min(hottest(image, "blue", encoder)) >= 4


def test_the_grid_is_the_mean_loss_of_the_windows_over_each_cell(encoder: DualEncoder) -> None:
    pixels = encoder.preprocess(square("red", (0, 0)))
    [query] = encoder.encode_texts(["red"]).vectors

    found = occlusion_map(pixels, query, encoder)

    edges = np.linspace(0, 128, GRID + 1).round().astype(int)
    losses = []
    for row, column in np.ndindex(3, 3):  # the windows that hide the first cell
        hidden = pixels.copy()
        hidden[: edges[row + 3], : edges[column + 3]] = pixels.mean(axis=(0, 1)).round()
        losses.append(found.score - float((encoder.encode_pixels([hidden]) @ query)[0]))
    assert found.score == pytest.approx(float((encoder.encode_pixels([pixels]) @ query)[0]))
    assert (found.grid.shape, found.grid.dtype) == ((GRID, GRID), np.float32)
    assert found.grid[0, 0] == pytest.approx(np.mean(losses), abs=1e-5)


def test_the_same_picture_gives_the_same_map(encoder: DualEncoder) -> None:
    pixels = encoder.preprocess(square("red", (1, 0)))
    [query] = encoder.encode_texts(["a red square"]).vectors

    first, second = (occlusion_map(pixels, query, encoder) for _ in range(2))

    assert first.score == second.score
    assert (first.grid == second.grid).all()


def test_a_picture_with_fewer_pixels_than_cells_has_a_cell_for_each() -> None:
    pixels = np.zeros((5, 20, 3), dtype=np.uint8)

    assert occlusion_map(pixels, np.ones(16, dtype=np.float32), FakeEncoder()).grid.shape == (5, GRID)


def test_few_pictures_are_held_at_a_time() -> None:
    encoder = FakeEncoder()
    calls: list[int] = []
    encode = encoder.encode_pixels
    encoder.encode_pixels = lambda pixels: (calls.append(len(pixels)), encode(pixels))[1]  # type: ignore[method-assign]

    occlusion_map(np.zeros((28, 28, 3), dtype=np.uint8), np.ones(16, dtype=np.float32), encoder)

    assert sum(calls) == GRID * GRID + 1
    assert max(calls) <= 32
