"""Pictures to pixels, without torch, exactly as the model was trained: OpenCLIP's evaluation transform.

Resize and crop happen here; scaling to [0, 1], mean and standard deviation are inside the image graph.
"""

from collections.abc import Callable
from math import ceil
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from models.errors import PreprocessingUnknown

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

_MAX_ASPECT = 8
"""Beyond this ratio of the sides the ends, which the centre crop drops, are cut off before resizing: a picture
of 1 x 50,000,000 pixels would otherwise become 224 x 11,200,000,000."""

_DETAIL = 2.5
"""How much larger than what `pixels` gives a picture is still worth decoding: docs/adr/0013-scaled-jpeg-decoding.md."""


class Region(NamedTuple):
    """A rectangle in a picture, as fractions of its width and height; below 0 and above 1 lies padding."""

    left: float
    top: float
    right: float
    bottom: float


class Preprocessing(BaseModel):
    """How a model's pictures are made; the fields are those of OpenCLIP's `preprocess_cfg`.

    `resize_mode`: `shortest` scales the shorter side to `size` and crops the centre; `longest` scales the longer
    side and pads with `fill_color`; `squash` scales both and ignores the aspect ratio.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: tuple[int, int]
    """(height, width) in pixels."""
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    resize_mode: str = "shortest"
    fill_color: int = 0

    @classmethod
    def from_open_clip(cls, config: dict[str, object]) -> "Preprocessing":
        """From OpenCLIP's `preprocess_cfg`.

        Raises:
            PreprocessingUnknown: A mode or interpolation that is not implemented here.
        """
        size = config["size"]
        known = {key: config[key] for key in cls.model_fields if config.get(key) is not None}
        made = cls.model_validate(known | {"size": (size, size) if isinstance(size, int) else size})
        made.check()
        return made

    def check(self) -> None:
        """Raise `PreprocessingUnknown` unless `pixels` can do what is asked for."""
        if self.resize_mode not in ("shortest", "longest", "squash"):
            raise PreprocessingUnknown(
                f"resize_mode {self.resize_mode!r} is unknown; known are shortest, longest, squash"
            )
        if self.interpolation not in RESAMPLING:
            raise PreprocessingUnknown(
                f"interpolation {self.interpolation!r} is unknown; known are {', '.join(RESAMPLING)}"
            )

    def pixels(self, image: Image.Image) -> NDArray[np.uint8]:
        """Resize and crop one RGB picture.

        Returns:
            uint8 [height, width, 3], values 0 to 255.

        Raises:
            PreprocessingUnknown: See `check`.
        """
        self.check()
        match self.resize_mode:
            case "shortest":
                return np.asarray(self._shortest(image))
            case "longest":
                return np.asarray(self._longest(image))
            case _:
                return np.asarray(self._resize(image, self.size))

    def enough(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) from which `pixels` gives what it gives from `size`, as far as an encoder can tell."""
        # Only after decoding it is known whether EXIF turns the picture.
        surplus = min(map(self._reduction, (size, size[::-1]))) / _DETAIL
        return size if surplus <= 1 else (ceil(size[0] / surplus), ceil(size[1] / surplus))

    def region(self, size: tuple[int, int]) -> Region:
        """Where the pixels that `pixels` gives lie in a picture of `size` (width, height)."""
        if self.resize_mode == "squash":
            return Region(0, 0, 1, 1)
        left, top, right, bottom = self._kept(size)
        kept = right - left, bottom - top
        scaled = self._scaled(kept)
        x, width = _along(scaled[0], self.size[1], left, kept[0], size[0])
        y, height = _along(scaled[1], self.size[0], top, kept[1], size[1])
        return Region(x, y, x + width, y + height)

    def _resize(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        height, width = size
        if image.size == (width, height):
            return image
        return image.resize((width, height), RESAMPLING[self.interpolation])

    def _shortest(self, image: Image.Image) -> Image.Image:
        kept = self._kept(image.size)
        if kept != (0, 0, *image.size):
            image = image.crop(kept)
        scaled = self._scaled(image.size)
        if self.size[0] == self.size[1]:
            return _centre(self._resize(image, scaled[::-1]), self.size, 0)
        # OpenCLIP scales pictures for a target that is not square by ResizeKeepRatio, always bicubic.
        return _centre(image.resize(scaled, Image.Resampling.BICUBIC), self.size, 0)

    def _longest(self, image: Image.Image) -> Image.Image:
        return _centre(self._resize(image, self._scaled(image.size)[::-1]), self.size, self.fill_color)

    def _kept(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """What is scaled of a picture: left, top, right, bottom in pixels."""
        return _limit_aspect(size) if self.resize_mode == "shortest" else (0, 0, *size)

    def _reduction(self, size: tuple[int, int]) -> float:
        """How many times smaller a picture becomes, along the side where it shrinks less."""
        left, top, right, bottom = self._kept(size)
        kept = right - left, bottom - top
        width, height = self.size[::-1] if self.resize_mode == "squash" else self._scaled(kept)
        return min(kept[0] / width, kept[1] / height)

    def _scaled(self, size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) to which a picture of `size` is scaled before it is cropped or padded."""
        if self.resize_mode == "longest":
            return _keep_ratio(size, self.size, max)
        if self.size[0] == self.size[1]:
            return _shortest_side(size, self.size[0])
        return _keep_ratio(size, self.size, min)


def _shortest_side(size: tuple[int, int], side: int) -> tuple[int, int]:
    """(width, height) by torchvision's `Resize(int)`: the longer side is truncated, not rounded."""
    width, height = size
    if width <= height:
        return side, int(side * height / width)
    return int(side * width / height), side


def _keep_ratio(
    size: tuple[int, int], target: tuple[int, int], choose: Callable[[float, float], float]
) -> tuple[int, int]:
    """(width, height) scaled so that the side picked by `choose` (`min`: shorter, `max`: longer) fits `target`."""
    width, height = size
    ratio = choose(height / target[0], width / target[1])
    return max(1, round(width / ratio)), max(1, round(height / ratio))


def _limit_aspect(size: tuple[int, int]) -> tuple[int, int, int, int]:
    width, height = size
    kept_width, kept_height = min(width, _MAX_ASPECT * height), min(height, _MAX_ASPECT * width)
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return left, top, left + kept_width, top + kept_height


def _start(extent: int, wanted: int) -> int:
    """Where torchvision's centre crop begins along one side; negative where it pads (the smaller half comes first)."""
    return -((wanted - extent) // 2) if extent < wanted else round((extent - wanted) / 2)


def _along(scaled: int, wanted: int, first: int, kept: int, whole: int) -> tuple[float, float]:
    """Along one side: where the centre crop of the scaled part begins and how long it is, as fractions of the whole."""
    return (first + _start(scaled, wanted) / scaled * kept) / whole, wanted / scaled * kept / whole


def _centre(image: Image.Image, size: tuple[int, int], fill: int) -> Image.Image:
    """torchvision's centre crop, which pads first where the picture is smaller."""
    height, width = size
    left, top = _start(image.width, width), _start(image.height, height)
    if image.width < width or image.height < height:
        canvas = Image.new("RGB", (max(width, image.width), max(height, image.height)), (fill, fill, fill))
        canvas.paste(image, (max(0, -left), max(0, -top)))
        image = canvas
    left, top = max(0, left), max(0, top)
    return image.crop((left, top, left + width, top + height))
