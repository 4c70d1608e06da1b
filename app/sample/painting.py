"""Filling the parts of a shape: colours, patterns, shading, shadow."""

from collections.abc import Callable
from random import Random

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from app.sample.shapes import Part

SIZE = 384
_SCALE = 3
"""Everything is drawn this much larger, so that edges come out smooth."""
_CANVAS = SIZE * _SCALE

Rgb = tuple[int, int, int]

COLOURS: dict[str, Rgb] = {
    "Black": (34, 34, 38), "White": (240, 240, 238), "Grey": (140, 143, 148), "Red": (200, 32, 44), "Maroon": (112, 24, 40),
    "Pink": (238, 130, 168), "Orange": (238, 126, 34), "Yellow": (246, 205, 52), "Beige": (218, 198, 164), "Brown": (112, 72, 42),
    "Olive": (110, 114, 54), "Green": (38, 142, 76), "Teal": (16, 128, 130), "Sky Blue": (124, 186, 232), "Blue": (38, 88, 190),
    "Navy Blue": (26, 38, 84), "Purple": (110, 56, 150), "Lavender": (184, 164, 220),
}  # fmt: skip

Pattern = Callable[[ImageDraw.ImageDraw, Random], None]
"""Draws white on black over a square of _CANVAS pixels."""


def _stripes(pen: ImageDraw.ImageDraw, draw: Random) -> None:
    height = _CANVAS / draw.randint(9, 16)
    for top in np.arange(0, _CANVAS, height):
        pen.rectangle((0, top, _CANVAS, top + 0.45 * height), fill=255)


def _dots(pen: ImageDraw.ImageDraw, draw: Random) -> None:
    count = draw.randint(10, 15)
    pitch = _CANVAS / count
    for row in range(count):
        for column in range(count + 1):
            pen.circle(((column + 0.5 * (row % 2)) * pitch, (row + 0.5) * pitch), 0.27 * pitch, fill=255)


def _checks(pen: ImageDraw.ImageDraw, draw: Random) -> None:
    pitch = _CANVAS / draw.randint(8, 12)
    starts = np.arange(0, _CANVAS, pitch)
    for start in starts:
        pen.rectangle((0, start, _CANVAS, start + 0.3 * pitch), fill=255)
        pen.rectangle((start, 0, start + 0.3 * pitch, _CANVAS), fill=255)
    for left in starts:
        for top in starts:
            pen.rectangle((left, top, left + 0.3 * pitch, top + 0.3 * pitch), fill=0)


def _flowers(pen: ImageDraw.ImageDraw, draw: Random) -> None:
    petal = 0.013 * _CANVAS
    for row in range(7):
        for column in range(7):
            x, y = ((place + draw.uniform(0.2, 0.8)) / 7 * _CANVAS for place in (column, row))
            turn = draw.uniform(0, 6)
            for angle in np.arange(5) * 2 * np.pi / 5 + turn:
                pen.circle((x + 1.5 * petal * np.cos(angle), y + 1.5 * petal * np.sin(angle)), petal, fill=255)
            pen.circle((x, y), 0.8 * petal, fill=0)


PATTERNS: dict[str, Pattern | None] = {
    "Plain": None, "Striped": _stripes, "Polka Dot": _dots, "Checked": _checks, "Floral": _flowers,
}  # fmt: skip


def paint(parts: list[Part], colour: str, second: str, pattern: str, draw: Random) -> Image.Image:
    """Draw a product on a light studio background: RGB, SIZE x SIZE.

    Args:
        colour: Main colour, a key of `COLOURS`.
        second: Colour of the pattern.
        pattern: A key of `PATTERNS`.
    """
    fabric = _fabric(colour, second, pattern, draw)
    product = Image.new("RGBA", (_CANVAS, _CANVAS))
    turn = np.radians(draw.uniform(-3, 3))
    for part in parts:
        left, top, mask = _mask(part, turn)
        filling = _fill(part.material, fabric, COLOURS[colour]).crop((left, top, left + mask.width, top + mask.height))
        product.paste(filling, (left, top), mask)
    product = product.reduce(_SCALE)
    scene = _background(draw)
    scene.paste(Image.new("RGB", scene.size, (70, 70, 78)), (0, 0), _shadow(product))
    scene.paste(_shade(product), (0, 0), product.getchannel("A"))
    return scene


def _fabric(colour: str, second: str, pattern: str, draw: Random) -> Image.Image:
    fabric = Image.new("RGB", (_CANVAS, _CANVAS), COLOURS[colour])
    if (made := PATTERNS[pattern]) is not None:
        mask = Image.new("L", fabric.size)
        made(ImageDraw.Draw(mask), draw)
        fabric.paste(Image.new("RGB", fabric.size, COLOURS[second]), (0, 0), mask)
    return fabric


def _fill(material: str, fabric: Image.Image, colour: Rgb) -> Image.Image:
    if material == "fabric":
        return fabric
    plain = {
        "trim": _mix(colour, (0, 0, 0), 0.22),
        "seam": _mix(colour, (0, 0, 0) if sum(colour) > 240 else (255, 255, 255), 0.3),
        "inside": _mix(colour, (0, 0, 0), 0.5),
        "denim": _mix(colour, (52, 82, 140), 0.25),
        "stitch": (214, 164, 92),
        "button": (236, 232, 222),
        "metal": (190, 186, 176),
        "light": (246, 246, 246),
        "sole": (236, 234, 230),
        "dark": (48, 46, 50),
        "glass": (38, 40, 50),
        "glint": (120, 128, 142),
        "dial": (250, 250, 246),
        "paper": (246, 246, 247),
    }[material]
    return Image.new("RGB", fabric.size, plain)


def _mix(colour: Rgb, other: Rgb, share: float) -> Rgb:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _mask(part: Part, turn: float) -> tuple[int, int, Image.Image]:
    """Left, top and coverage of a part, no larger than it is, turned by an angle in radians about the centre."""
    rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points = ((np.array(part.points) - 0.5) @ rotation + 0.5) * _CANVAS
    edge = part.width * _CANVAS / 2 + 2
    left, top = (max(0, int(low)) for low in points.min(axis=0) - edge)
    right, bottom = (min(_CANVAS, int(high) + 1) for high in points.max(axis=0) + edge)
    mask = Image.new("L", (right - left, bottom - top))
    pen = ImageDraw.Draw(mask)
    outline = [(float(x) - left, float(y) - top) for x, y in points]
    if part.width:
        pen.line(outline, fill=255, width=max(2, round(part.width * _CANVAS)), joint="curve")
    else:
        pen.polygon(outline, fill=255)
    return left, top, mask


def _shadow(product: Image.Image) -> Image.Image:
    blurred = product.getchannel("A").filter(ImageFilter.GaussianBlur(9))
    moved = Image.new("L", blurred.size)
    moved.paste(blurred, (7, 11))
    return moved.point([round(value * 0.4) for value in range(256)])


def _shade(product: Image.Image) -> Image.Image:
    """Light from the upper left, and darker towards the outline, as on a body."""
    depth = np.asarray(product.getchannel("A").filter(ImageFilter.GaussianBlur(14)), dtype=np.float32) / 255
    steps = np.linspace(0, 1, SIZE, dtype=np.float32)
    light = 1.07 - 0.14 * (steps[None, :] + steps[:, None]) / 2
    factor = light * (0.72 + 0.32 * np.clip((depth - 0.4) / 0.55, 0, 1))
    pixels = np.asarray(product.convert("RGB"), dtype=np.float32) * factor[..., None]
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def _background(draw: Random) -> Image.Image:
    tint = np.array([draw.uniform(243, 252) for _ in range(3)])
    fall = np.linspace(1.0, 0.955, SIZE)[:, None, None]
    return Image.fromarray(np.broadcast_to(tint * fall, (SIZE, SIZE, 3)).astype(np.uint8))
