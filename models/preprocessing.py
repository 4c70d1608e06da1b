"""Pictures to pixels, without torch, exactly as the model was trained: OpenCLIP's evaluation transform.

Resize and crop happen here; scaling to [0, 1], mean and standard deviation are inside the image graph.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict

from models.errors import PreprocessingUnknown

RESAMPLING = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}

_MAX_ASPECT = 8
"""Beyond this ratio of the sides the ends, which the centre crop drops, are cut off before resizing: a picture
of 1 x 50,000,000 pixels would otherwise become 224 x 11,200,000,000."""


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

    def _resize(self, image: Image.Image, size: tuple[int, int]) -> Image.Image:
        height, width = size
        if image.size == (width, height):
            return image
        return image.resize((width, height), RESAMPLING[self.interpolation])

    def _shortest(self, image: Image.Image) -> Image.Image:
        image = _limit_aspect(image)
        if self.size[0] == self.size[1]:
            return _centre(self._resize(image, _shortest_side(image, self.size[0])), self.size, 0)
        # OpenCLIP scales pictures for a target that is not square by ResizeKeepRatio, always bicubic.
        scaled = image.resize(_keep_ratio(image, self.size, min)[::-1], Image.Resampling.BICUBIC)
        return _centre(scaled, self.size, 0)

    def _longest(self, image: Image.Image) -> Image.Image:
        return _centre(self._resize(image, _keep_ratio(image, self.size, max)), self.size, self.fill_color)


def _shortest_side(image: Image.Image, side: int) -> tuple[int, int]:
    """torchvision's `Resize(int)`: the longer side is truncated, not rounded."""
    width, height = image.size
    if width <= height:
        return int(side * height / width), side
    return side, int(side * width / height)


def _keep_ratio(image: Image.Image, size: tuple[int, int], choose: Callable[[float, float], float]) -> tuple[int, int]:
    """(height, width) scaled so that the side picked by `choose` (`min`: shorter, `max`: longer) fits `size`."""
    width, height = image.size
    ratio = choose(height / size[0], width / size[1])
    return max(1, round(height / ratio)), max(1, round(width / ratio))


def _limit_aspect(image: Image.Image) -> Image.Image:
    width, height = image.size
    if max(width, height) <= _MAX_ASPECT * min(width, height):
        return image
    kept_width, kept_height = min(width, _MAX_ASPECT * height), min(height, _MAX_ASPECT * width)
    left, top = (width - kept_width) // 2, (height - kept_height) // 2
    return image.crop((left, top, left + kept_width, top + kept_height))


def _centre(image: Image.Image, size: tuple[int, int], fill: int) -> Image.Image:
    """torchvision's centre crop, which pads first where the picture is smaller (left and top get the smaller half)."""
    height, width = size
    pad_left, pad_top = max(0, width - image.width) // 2, max(0, height - image.height) // 2
    if image.width < width or image.height < height:
        canvas = Image.new("RGB", (max(width, image.width), max(height, image.height)), (fill, fill, fill))
        canvas.paste(image, (pad_left, pad_top))
        image = canvas
    top, left = round((image.height - height) / 2), round((image.width - width) / 2)
    return image.crop((left, top, left + width, top + height))
