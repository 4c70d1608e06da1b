"""Heat maps as pictures: a grid of numbers laid over what it tells about."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from models.preprocessing import Region

MEDIA_TYPE = "image/png"
MAX_SIDE = 512
"""Pixels along the longer side."""
OPACITY = 0.6
"""Of the heat, over the picture in grey: colours of the picture would be taken for heat."""

_COLOURS = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ]
)
"""Inferno at ninths from 0 to 1: even steps look even, also in grey and to colour-blind eyes (S. van der Walt and
N. Smith 2015, https://bids.github.io/colormap, CC0)."""


def make_heatmap(picture: Image.Image, grid: NDArray[np.float32], region: Region) -> bytes:
    """A PNG of an upright picture, at most `MAX_SIDE` pixels long, under the heat of a grid.

    Args:
        grid: [rows, columns]; 0 and less is cold, the highest is hot.
        region: Where the grid lies in the picture.
    """
    scale = min(1, MAX_SIDE / max(picture.size))
    size = (max(1, round(scale * picture.width)), max(1, round(scale * picture.height)))
    grey = picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0).convert("L").convert("RGB")
    blended = Image.blend(grey, Image.fromarray(_coloured(_over(size, grid, region))), OPACITY)
    file = io.BytesIO()
    blended.save(file, "PNG")
    return file.getvalue()


def _over(size: tuple[int, int], grid: NDArray[np.float32], region: Region) -> NDArray[np.float32]:
    """Heat 0 to 1 of each pixel of a picture; what the model does not see is cold."""
    heat = np.maximum(grid, 0)
    heat = heat / (heat.max() or 1)
    (width, height), (rows, columns) = size, grid.shape
    # From a pixel of the picture to a place in the grid; beyond its edge, an affine transform fills with 0.
    across, down = columns / (region.right - region.left) / width, rows / (region.bottom - region.top) / height
    to_grid = (across, 0, -region.left * width * across, 0, down, -region.top * height * down)
    image = Image.fromarray(heat.astype(np.float32))
    placed = image.transform(size, Image.Transform.AFFINE, to_grid, Image.Resampling.BICUBIC)
    return np.asarray(np.clip(np.asarray(placed), 0, 1), dtype=np.float32)


def _coloured(heat: NDArray[np.float32]) -> NDArray[np.uint8]:
    steps = np.linspace(0, 1, len(_COLOURS))
    return np.stack([np.interp(heat, steps, channel) for channel in _COLOURS.T], axis=-1).round().astype(np.uint8)
