"""A large JPEG is decoded at a fraction of its size, and no search is the worse for it."""

from io import BytesIO

import pytest
from PIL import Image

from app.sample.catalogue import draw_sample
from models.encoder import DualEncoder
from models.imaging import ImageLimits, decode_image
from models.store import EMBEDDED


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    """The embedded model."""
    return DualEncoder.open(EMBEDDED, device="cpu", threads=1)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Image.Image]:
    """Drawn products."""
    folder = tmp_path_factory.mktemp("drawn")
    draw_sample(folder, items=12)
    return [Image.open(path).convert("RGB") for path in sorted((folder / "images").iterdir())]


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("size", [(641, 641), (961, 700), (1300, 2000), (2000, 1300)])
def test_the_embedding_is_that_of_the_whole_picture(
    size: tuple[int, int], turn: int, encoder: DualEncoder, pictures: list[Image.Image]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    for picture in pictures:
        file = BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(file, "JPEG", quality=90, exif=exif)
        whole, scaled = (decode_image(file.getvalue(), ImageLimits(), enough) for enough in (None, encoder.enough))
        vectors = encoder.encode_images([whole, scaled])

        assert scaled.width <= whole.width // 2 + 1
        assert vectors[0] @ vectors[1] >= 0.999
