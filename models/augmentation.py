"""Random changes to training pictures, a whole batch at a time (torch; only for training)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from models.recipe import Augmentation


def augment(pixels: Tensor, settings: Augmentation, fill: float, generator: torch.Generator) -> Tensor:
    """Mirror, shift, scale, rotate and brighten each picture of a batch on its own.

    Args:
        pixels: float32 [n, 3, h, w], values 0 to 1.
        fill: value, 0 to 1, of what is moved in from outside.

    Returns:
        The same shape and range.
    """
    grid = functional.affine_grid(_affine(len(pixels), settings, generator), list(pixels.shape), align_corners=False)
    # grid_sample pads with zero, so the padding colour is moved to zero and back.
    moved = functional.grid_sample(pixels - fill, grid, align_corners=False) + fill
    bright = 1 + _uniform(len(pixels), settings.brightness, generator)
    return (moved * bright[:, None, None, None]).clamp(0, 1)


def _uniform(n: int, extent: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=generator) * 2 - 1) * extent


def _affine(n: int, settings: Augmentation, generator: torch.Generator) -> Tensor:
    """Inverse affine maps [n, 2, 3] in grid_sample's coordinates (-1 to 1)."""
    angle = _uniform(n, math.radians(settings.rotate_degrees), generator)
    scale = 1 + _uniform(n, settings.scale, generator)
    mirror = 1 - 2 * (torch.rand(n, generator=generator) < settings.flip).float()
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    shift_x, shift_y = (_uniform(n, 2 * settings.shift, generator) for _ in range(2))
    rows = [cos * mirror, -sin, shift_x, sin * mirror, cos, shift_y]
    return torch.stack(rows, dim=1).view(n, 2, 3)
