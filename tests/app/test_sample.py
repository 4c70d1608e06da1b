import csv
from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
from numpy.typing import NDArray

from app.sample import draw_sample, painting
from app.sample.catalogue import COLUMNS
from app.sample.painting import COLOURS, PATTERNS, SIZE, paint
from app.sample.shapes import SHAPES
from indexer.sources import Row, read_source
from models.imaging import ImageLimits, decode_image

Table = list[dict[str, str]]


@pytest.fixture(scope="module")
def one_of_each(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue as users get it, with one product of every category."""
    return draw_sample(tmp_path_factory.mktemp("one_of_each"), items=len(SHAPES)).parent


@pytest.fixture(scope="module")
def default_rows(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """The rows of the default catalogue: they do not depend on how large the pictures are, so those are tiny."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("SIZE", 32), ("_SCALE", 1), ("_CANVAS", 32)):
            patch.setattr(painting, name, value)
        return _rows(draw_sample(tmp_path_factory.mktemp("default")))


@pytest.fixture
def _without_supersampling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of full size with rough edges, several times faster."""
    monkeypatch.setattr(painting, "_SCALE", 1)
    monkeypatch.setattr(painting, "_CANVAS", SIZE)


def _rows(catalogue: Path) -> Table:
    with catalogue.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _pixels(category: str, colour: str, second: str, pattern: str) -> NDArray[np.int32]:
    parts = SHAPES[category][0](Random(1))
    return np.asarray(paint(parts, colour, second, pattern, Random(2))).astype(np.int32)


def _share_of_blue(pixels: NDArray[np.int32]) -> float:
    return float((pixels[..., 2] - pixels[..., 0] > 40).mean())


def test_the_same_seed_draws_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    for folder, seed in (("one", 3), ("again", 3), ("other", 4)):
        draw_sample(tmp_path / folder, items=4, seed=seed)

    one, again, other = (_files(tmp_path / folder) for folder in ("one", "again", "other"))
    assert one == again
    assert one.keys() == other.keys()
    assert all(one[name] != other[name] for name in one)


def test_the_tiny_pictures_of_these_tests_leave_the_rows_as_they_are(one_of_each: Path, default_rows: Table) -> None:
    assert _rows(one_of_each / "catalog.csv") == default_rows[: len(SHAPES)]


def test_the_default_catalogue_has_360_rows_of_the_promised_columns(default_rows: Table) -> None:
    assert len(default_rows) == 360
    assert all(tuple(row) == COLUMNS for row in default_rows)
    assert len({row["id"] for row in default_rows}) == len({row["image"] for row in default_rows}) == 360


def test_a_row_describes_its_product(default_rows: Table) -> None:
    for row in default_rows:
        look = row["colour"] if row["pattern"] == "Plain" else f"{row['colour']} {row['pattern']}"
        assert row["title"] == f"{row['brand']} {look} {row['category']}"
        cheapest, dearest = SHAPES[row["category"]][1]
        assert cheapest - 1 < float(row["price"]) < dearest


def test_every_category_and_colour_is_there_often(default_rows: Table) -> None:
    categories = Counter(row["category"] for row in default_rows)
    colours = Counter(row["colour"] for row in default_rows)

    assert categories.keys() == SHAPES.keys()
    assert max(categories.values()) - min(categories.values()) <= 1
    assert colours.keys() == COLOURS.keys()
    assert min(colours.values()) >= 8


@pytest.mark.parametrize("sought", ["Red Dress", "Black Sneakers", "Blue Jeans", "Striped Shirt", "Yellow Umbrella"])
def test_what_people_look_for_first_is_there(sought: str, default_rows: Table) -> None:
    words = set(sought.split())

    assert any(words <= set(row["title"].split()) for row in default_rows)


def test_every_pattern_is_there_often(default_rows: Table) -> None:
    counts = Counter(row["pattern"] for row in default_rows)

    assert counts.keys() == PATTERNS.keys()
    assert min(counts.values()) >= 20


def test_every_picture_decodes_at_its_size(one_of_each: Path) -> None:
    rows = _rows(one_of_each / "catalog.csv")

    assert {row["image"] for row in rows} == {str(path.relative_to(one_of_each)) for path in one_of_each.rglob("*.jpg")}
    for row in rows:
        data = (one_of_each / row["image"]).read_bytes()
        assert data.startswith(b"\xff\xd8\xff")
        assert decode_image(data, ImageLimits()).size == (384, 384)


def test_the_indexer_reads_the_folder_without_being_told_its_columns(one_of_each: Path) -> None:
    rows = list(read_source(one_of_each))

    assert len(rows) == len(SHAPES)
    for row in rows:
        assert isinstance(row, Row)
        assert isinstance(row.image, Path)
        assert row.image.is_file()
        assert row.text
        assert row.metadata.keys() >= {"brand", "price", "category", "colour", "pattern"}


@pytest.mark.usefixtures("_without_supersampling")
@pytest.mark.parametrize("category", SHAPES)
def test_a_shape_shows_its_colour_and_each_pattern_inside_the_frame(category: str) -> None:
    # Denim has a colour of its own, over which no pattern shows; the catalogue draws jeans plain.
    patterned = category != "Jeans"
    for pattern in PATTERNS:
        pixels = _pixels(category, "Red", "Blue", pattern)

        frame = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
        assert frame.min() > 200, "the product is cut off"
        assert (pixels[..., 0] - pixels[..., 1] > 60).mean() > 0.02
        assert (_share_of_blue(pixels) > 0.005) == (patterned and pattern != "Plain")


@pytest.mark.usefixtures("_without_supersampling")
@pytest.mark.parametrize("colour", COLOURS)
def test_a_plain_shirt_has_about_its_named_colour(colour: str) -> None:
    pixels = _pixels("T-shirt", colour, "Black", "Plain")
    middle = np.median(pixels[150:250, 150:230].reshape(-1, 3), axis=0)

    nearest = min(COLOURS, key=lambda name: float(np.abs(middle - COLOURS[name]).sum()))
    assert nearest == colour


def test_progress_counts_up_to_the_total(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    draw_sample(tmp_path, items=3, on_progress=lambda done, total: seen.append((done, total)))

    assert seen == [(1, 3), (2, 3), (3, 3)]
