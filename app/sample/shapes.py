"""Outlines of products as polygons in a unit square: x to the right, y down.

Every shape is a function of a random generator, which varies its proportions a little, and returns its parts from back to
front. A part is filled with one of the materials of `app.sample.painting`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

Point = tuple[float, float]


@dataclass(frozen=True)
class Part:
    """A filled outline, or with `width` an open line of that width."""

    points: list[Point]
    material: str = "fabric"
    width: float = 0.0


Shape = Callable[[Random], list[Part]]


def smooth(points: list[Point], closed: bool = True, steps: int = 10) -> list[Point]:
    """Catmull-Rom spline through the points."""
    control = np.array(points)
    if not closed:
        control = np.vstack([control[0], control, control[-1]])
    made = []
    count = len(control)
    for index in range(count if closed else count - 3):
        p0, p1, p2, p3 = (control[(index + offset) % count] for offset in ((-1, 0, 1, 2) if closed else (0, 1, 2, 3)))
        for t in np.linspace(0, 1, steps, endpoint=False):
            made.append(
                0.5
                * (2 * p1 + (p2 - p0) * t + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2 + (3 * p1 - p0 - 3 * p2 + p3) * t**3)
            )
    return [(float(x), float(y)) for x, y in made]


def mirrored(right: list[Point]) -> list[Point]:
    """A symmetric outline from its right half, given from top to bottom."""
    return right + [(1 - x, y) for x, y in reversed(right)]


def ellipse(x: float, y: float, rx: float, ry: float, start: float = 0, end: float = 360) -> list[Point]:
    """Points on an ellipse, in degrees clockwise from the right."""
    angles = np.radians(np.linspace(start, end, 40))
    return [(float(x + rx * np.cos(a)), float(y + ry * np.sin(a))) for a in angles]


def rounded(left: float, top: float, right: float, bottom: float, radius: float) -> list[Point]:
    """A rectangle with round corners."""
    corners = [(right - radius, top + radius, 270), (right - radius, bottom - radius, 0),
               (left + radius, bottom - radius, 90), (left + radius, top + radius, 180)]  # fmt: skip
    return [point for x, y, start in corners for point in ellipse(x, y, radius, radius, start, start + 90)]


def line(*points: Point, width: float = 0.006, material: str = "seam") -> Part:
    """A smooth open line."""
    return Part([*smooth(list(points), closed=False), points[-1]], material, width)


def _top(draw: Random, sleeve: float, length: float) -> list[Point]:
    """A garment for the upper body; `sleeve` 0.2 (short) to 1 (long)."""
    spread = draw.uniform(-0.01, 0.01)
    hem = 0.29 + spread
    reach, drop = 0.74 + 0.13 * sleeve**0.5, 0.24 + 0.5 * sleeve
    arm = [(0.74, 0.215), (reach + 0.03, drop), (reach - 0.075, drop + 0.035), (0.71, 0.36)]
    return mirrored([(0.58, 0.15), *arm, (0.5 + hem - 0.085, 0.55), (0.5 + hem - 0.08, length)])


def _neck(depth: float) -> Part:
    return Part([(0.42, 0.15), *ellipse(0.5, 0.15, 0.08, depth, 180, 0)[::1], (0.58, 0.15)], "inside")


def t_shirt(draw: Random) -> list[Part]:
    """Short sleeves, round neck."""
    length = draw.uniform(0.82, 0.86)
    return [
        Part(_top(draw, 0.22, length)), _neck(0.05), line(*ellipse(0.5, 0.15, 0.095, 0.068, 180, 0)[::8], width=0.016, material="trim"),
        line((0.31, length - 0.025), (0.69, length - 0.025), width=0.004), line((0.285, 0.34), (0.31, 0.22)), line((0.715, 0.34), (0.69, 0.22)),
    ]  # fmt: skip


def shirt(draw: Random) -> list[Part]:
    """Long sleeves, collar, buttons."""
    parts = [Part(_top(draw, 0.9, 0.84)), Part([(0.44, 0.14), (0.56, 0.14), (0.5, 0.22)], "inside")]
    for side in (1, -1):
        collar = [(0.5 + side * 0.075, 0.125), (0.5 + side * 0.1, 0.2), (0.5 + side * 0.045, 0.25), (0.5, 0.2)]
        parts.append(Part(collar, "trim"))
    parts += [line((0.5, 0.21), (0.5, 0.5), (0.5, 0.84)), line((0.475, 0.24), (0.475, 0.84), width=0.003)]
    parts += [Part(ellipse(0.488, y, 0.008, 0.008), "button") for y in np.linspace(0.28, 0.78, 6)]
    pocket = rounded(0.57, 0.36, 0.67, 0.47, 0.01)
    return [*parts, Part([*pocket, pocket[0]], "seam", 0.005)]


def sweater(draw: Random) -> list[Part]:
    """Long sleeves, ribbed hem."""
    length = draw.uniform(0.82, 0.86)
    parts = [Part(_top(draw, 0.95, length)), _neck(0.035)]
    parts.append(line(*ellipse(0.5, 0.155, 0.1, 0.06, 180, 0)[::8], width=0.03, material="trim"))
    parts.append(Part([(0.305, length - 0.05), (0.695, length - 0.05), (0.7, length), (0.3, length)], "trim"))
    return parts + [line((x, length - 0.05), (x, length), width=0.003) for x in np.linspace(0.33, 0.67, 18)]


def jacket(draw: Random) -> list[Part]:
    """Long sleeves, open collar, zip and pockets."""
    parts = [Part(_top(draw, 0.9, 0.82)), Part([(0.41, 0.15), (0.59, 0.15), (0.5, 0.4)], "inside")]
    for side in (1, -1):
        parts.append(
            Part([(0.5 + side * 0.09, 0.13), (0.5 + side * 0.15, 0.25), (0.5 + side * 0.02, 0.42), (0.5, 0.4)], "trim")
        )
        parts.append(line((0.5 + side * 0.08, 0.6), (0.5 + side * 0.16, 0.67), width=0.012, material="metal"))
    return [*parts, line((0.5, 0.4), (0.5, 0.82), width=0.014, material="metal"), line((0.3, 0.78), (0.7, 0.78))]


def dress(draw: Random) -> list[Part]:
    """Fitted above, wide below."""
    flare, length = draw.uniform(0.24, 0.36), draw.uniform(0.82, 0.93)
    sleeve = draw.choice([0, 0.2])
    arm = (
        [(0.635, 0.1), (0.62, 0.2), (0.645, 0.27)]
        if sleeve == 0
        else [(0.66, 0.11), (0.74, 0.25), (0.67, 0.28), (0.645, 0.25)]
    )
    skirt_side = [
        (0.6, 0.42),
        (0.5 + flare * 0.7, 0.68),
        (0.5 + flare, length - 0.02),
        (0.5 + flare * 0.5, length + 0.01),
        (0.5, length + 0.02),
    ]
    parts = [
        Part(mirrored([(0.575, 0.09), *arm, *skirt_side])),
        Part([(0.43, 0.09), *ellipse(0.5, 0.09, 0.075, 0.075, 180, 0), (0.57, 0.09)], "paper"),
    ]
    parts.append(Part([(0.4, 0.4), (0.6, 0.4), (0.602, 0.435), (0.398, 0.435)], "trim"))
    folds = [(-0.5, -0.7), (-0.15, -0.2), (0.2, 0.25), (0.55, 0.7)]
    return parts + [
        line((0.5 + 0.16 * a, 0.45), (0.5 + flare * b * 0.75, 0.7), (0.5 + flare * b, length - 0.03), width=0.004)
        for a, b in folds
    ]


def skirt(draw: Random) -> list[Part]:
    """A-line skirt."""
    flare, length = draw.uniform(0.28, 0.38), draw.uniform(0.72, 0.86)
    outline = mirrored([(0.62, 0.2), (0.5 + flare * 0.75, 0.5), (0.5 + flare, length - 0.02), (0.5, length + 0.02)])
    folds = [
        line((0.5 + 0.1 * t, 0.28), (0.5 + flare * t * 0.95, length - 0.01), width=0.004)
        for t in (-0.75, -0.4, 0, 0.4, 0.75)
    ]
    return [Part(outline), Part([(0.38, 0.19), (0.62, 0.19), (0.627, 0.25), (0.373, 0.25)], "trim"), *folds]


def _legs(length: float, cuff: float, rise: float = 0.36) -> list[Point]:
    return mirrored([(0.64, 0.1), (0.67, rise), (0.6 + cuff, length), (0.535, length), (0.505, rise + 0.02)])


def trousers(draw: Random) -> list[Part]:
    """Long legs with a crease."""
    cuff = draw.uniform(0.05, 0.09)
    parts = [Part(_legs(0.93, cuff)), Part([(0.36, 0.1), (0.64, 0.1), (0.645, 0.135), (0.355, 0.135)], "trim")]
    parts += [line((0.5, 0.135), (0.5, 0.36)), Part(ellipse(0.5, 0.118, 0.01, 0.01), "button")]
    return parts + [
        line((0.5 + side * 0.085, 0.2), (0.5 + side * (0.07 + cuff / 2), 0.92), width=0.004) for side in (1, -1)
    ]


def jeans(draw: Random) -> list[Part]:
    """Trousers with pockets and light stitches."""
    parts = [
        Part(_legs(0.93, draw.uniform(0.02, 0.06)), "denim"),
        Part([(0.36, 0.1), (0.64, 0.1), (0.645, 0.14), (0.355, 0.14)], "denim"),
    ]
    parts += [
        line((0.355, 0.14), (0.645, 0.14), width=0.005, material="stitch"),
        line((0.5, 0.14), (0.5, 0.37), width=0.005, material="stitch"),
    ]
    for side in (1, -1):
        parts.append(
            line(
                (0.5 + side * 0.06, 0.145),
                (0.5 + side * 0.075, 0.21),
                (0.5 + side * 0.155, 0.23),
                width=0.005,
                material="stitch",
            )
        )
        parts.append(line((0.5 + side * 0.16, 0.26), (0.5 + side * 0.13, 0.92), width=0.004, material="stitch"))
    return [*parts, Part(ellipse(0.5, 0.12, 0.011, 0.011), "metal")]


def shorts(draw: Random) -> list[Part]:
    """Short legs."""
    length = draw.uniform(0.62, 0.72)
    outline = mirrored([(0.65, 0.22), (0.7, 0.45), (0.75, length), (0.54, length + 0.01), (0.505, 0.5)])
    parts = [
        Part(outline),
        Part([(0.35, 0.22), (0.65, 0.22), (0.655, 0.27), (0.345, 0.27)], "trim"),
        line((0.5, 0.27), (0.5, 0.5)),
    ]
    return [
        *parts,
        line((0.48, 0.27), (0.47, 0.38), width=0.01, material="light"),
        line((0.52, 0.27), (0.54, 0.37), width=0.01, material="light"),
    ]


def sneakers(draw: Random) -> list[Part]:
    """Low sports shoe from the side."""
    tongue = draw.uniform(0.3, 0.34)
    upper = smooth(
        [
            (0.1, 0.62),
            (0.11, 0.42),
            (0.17, 0.36),
            (0.25, 0.41),
            (0.36, tongue),
            (0.43, 0.36),
            (0.6, 0.5),
            (0.8, 0.55),
            (0.9, 0.64),
            (0.5, 0.66),
        ]
    )
    sole = smooth(
        [(0.08, 0.62), (0.3, 0.65), (0.6, 0.645), (0.92, 0.63), (0.93, 0.69), (0.85, 0.725), (0.3, 0.73), (0.1, 0.715)]
    )
    laces = [
        line((0.39 + 0.055 * i, 0.375 + 0.04 * i), (0.45 + 0.055 * i, 0.35 + 0.045 * i), width=0.016, material="light")
        for i in range(4)
    ]
    stripe = [
        line((0.34 + 0.05 * i, 0.62), (0.4 + 0.05 * i, 0.47 + 0.02 * i), width=0.018, material="trim")
        for i in range(draw.randint(1, 3))
    ]
    toe = Part(smooth([(0.74, 0.535), (0.83, 0.56), (0.91, 0.64), (0.75, 0.65)]), "trim")
    return [
        Part(upper),
        toe,
        *stripe,
        *laces,
        Part(sole, "sole"),
        line((0.1, 0.69), (0.5, 0.7), (0.92, 0.67), width=0.004),
    ]


def boots(draw: Random) -> list[Part]:
    """Ankle to calf, with a heel."""
    top = draw.uniform(0.12, 0.3)
    upper = [(0.27, top), (0.53, top), (0.54, 0.5), (0.62, 0.62), (0.83, 0.7), (0.88, 0.8), (0.25, 0.81), (0.25, 0.6)]
    sole = [(0.24, 0.79), (0.89, 0.79), (0.9, 0.84), (0.42, 0.84), (0.4, 0.885), (0.24, 0.885)]
    laces = [line((0.5, y), (0.6, y - 0.02), width=0.012, material="light") for y in np.linspace(top + 0.12, 0.58, 4)]
    return [
        Part([*upper[:2], *smooth(upper[1:7], closed=False), *upper[6:]]),
        Part([(0.27, top), (0.53, top), (0.53, top + 0.05), (0.27, top + 0.05)], "trim"),
        *laces,
        Part(sole, "sole"),
        line((0.3, 0.55), (0.42, 0.62), (0.5, 0.8)),
    ]


def heels(draw: Random) -> list[Part]:
    """A pump with a high heel."""
    back = draw.uniform(0.36, 0.44)
    upper = smooth(
        [
            (0.16, back),
            (0.22, back + 0.02),
            (0.33, back + 0.13),
            (0.5, 0.6),
            (0.66, 0.6),
            (0.8, 0.63),
            (0.93, 0.715),
            (0.9, 0.735),
            (0.66, 0.73),
            (0.45, 0.685),
            (0.28, back + 0.21),
            (0.17, back + 0.15),
        ]
    )
    heel = [
        (0.165, back + 0.12),
        (0.29, back + 0.21),
        (0.225, back + 0.26),
        (0.205, 0.745),
        (0.17, 0.745),
        (0.18, back + 0.24),
    ]
    return [
        Part(heel, "trim"),
        Part(upper),
        line(
            (0.19, back + 0.17),
            (0.29, back + 0.22),
            (0.45, 0.695),
            (0.66, 0.738),
            (0.92, 0.74),
            width=0.012,
            material="dark",
        ),
        line((0.23, back + 0.03), (0.36, back + 0.14), (0.52, 0.61), (0.64, 0.605)),
    ]


def handbag(draw: Random) -> list[Part]:
    """Trapezoid with a round handle and a clasp."""
    handle = line(
        *ellipse(0.5, 0.42, 0.17, draw.uniform(0.2, 0.28), 180, 360)[::5], (0.67, 0.42), width=0.028, material="trim"
    )
    body = mirrored([(0.74, 0.4), (0.82, 0.78), (0.78, 0.82)])
    flap = mirrored([(0.74, 0.4), (0.76, 0.52), (0.5, draw.uniform(0.58, 0.66))])
    return [
        handle,
        Part(body),
        Part(flap, "trim"),
        Part(rounded(0.465, 0.55, 0.535, 0.62, 0.012), "metal"),
        line((0.22, 0.79), (0.78, 0.79), width=0.004),
    ]


def backpack(draw: Random) -> list[Part]:
    """Rounded body, pocket, straps."""
    loop = line(*ellipse(0.5, 0.16, 0.07, 0.07, 180, 360)[::5], (0.57, 0.16), width=0.022, material="dark")
    straps = [
        Part(
            smooth([(0.5 + s * 0.23, 0.3), (0.5 + s * 0.3, 0.45), (0.5 + s * 0.29, 0.75), (0.5 + s * 0.22, 0.8)]),
            "dark",
        )
        for s in (1, -1)
    ]
    parts = [loop, *straps, Part(rounded(0.24, 0.14, 0.76, 0.88, draw.uniform(0.12, 0.2)))]
    parts += [line(*ellipse(0.5, 0.4, 0.25, 0.2, 180, 360)[::5], (0.75, 0.4), width=0.01, material="dark")]
    return [
        *parts,
        Part(rounded(0.31, 0.54, 0.69, 0.82, 0.05), "trim"),
        line((0.33, 0.6), (0.67, 0.6), width=0.012, material="metal"),
    ]


def wallet(draw: Random) -> list[Part]:
    """A folded wallet."""
    top = draw.uniform(0.3, 0.34)
    body = rounded(0.18, top, 0.82, 0.72, 0.03)
    inner = rounded(0.2, top + 0.02, 0.8, 0.7, 0.025)
    return [
        Part(body),
        Part([*inner, inner[0]], "stitch", 0.004),
        Part(rounded(0.68, 0.47, 0.85, 0.56, 0.03), "trim"),
        Part(ellipse(0.72, 0.515, 0.018, 0.018), "metal"),
    ]


def cap(draw: Random) -> list[Part]:
    """Baseball cap from the side."""
    crown = [*ellipse(0.45, 0.6, 0.29, draw.uniform(0.29, 0.33), 180, 360), (0.74, 0.62), (0.16, 0.62)]
    peak = smooth([(0.62, 0.57), (0.8, 0.575), (0.95, 0.65), (0.78, 0.665), (0.6, 0.64)])
    seams = [line((0.45, 0.3), (0.36, 0.42), (0.33, 0.61)), line((0.45, 0.3), (0.58, 0.42), (0.62, 0.6))]
    return [Part(crown), *seams, Part(peak, "trim"), Part(ellipse(0.45, 0.295, 0.022, 0.014), "trim")]


def hat(draw: Random) -> list[Part]:
    """Brimmed hat with a band."""
    crown = [*ellipse(0.5, 0.5, 0.22, draw.uniform(0.2, 0.27), 180, 360), (0.73, 0.62), (0.27, 0.62)]
    return [
        Part(ellipse(0.5, 0.63, 0.4, 0.075)),
        Part(crown),
        Part(
            [(0.278, 0.53), (0.722, 0.53), (0.73, 0.61), *ellipse(0.5, 0.61, 0.23, 0.03, 0, 180), (0.27, 0.61)], "trim"
        ),
    ]


def scarf(draw: Random) -> list[Part]:
    """Looped scarf with fringes."""
    long = draw.uniform(0.8, 0.88)
    tails = [
        Part([(0.36, 0.42), (0.5, 0.42), (0.48, long), (0.32, long)]),
        Part([(0.5, 0.42), (0.63, 0.42), (0.69, long - 0.1), (0.54, long - 0.1)]),
    ]
    fringes = [
        line((x, long), (x - 0.004, long + 0.05), width=0.006, material="trim") for x in np.linspace(0.325, 0.475, 12)
    ]
    fringes += [
        line((x, long - 0.1), (x + 0.004, long - 0.05), width=0.006, material="trim")
        for x in np.linspace(0.545, 0.685, 12)
    ]
    ring = Part(ellipse(0.5, 0.28, 0.24, 0.17)), Part(ellipse(0.5, 0.23, 0.13, 0.07), "inside")
    return [*tails, *fringes, *ring, line((0.28, 0.33), (0.5, 0.42), (0.72, 0.33), width=0.005)]


def tie(draw: Random) -> list[Part]:
    """Necktie with a knot."""
    width = draw.uniform(0.085, 0.12)
    blade = [(0.465, 0.18), (0.535, 0.18), (0.5 + width, 0.8), (0.5, 0.93), (0.5 - width, 0.8)]
    return [
        Part(blade),
        Part([(0.44, 0.07), (0.56, 0.07), (0.535, 0.185), (0.465, 0.185)], "trim"),
        line((0.465, 0.19), (0.535, 0.19), width=0.004),
    ]


def belt(draw: Random) -> list[Part]:
    """A belt rolled out, with a buckle."""
    half = draw.uniform(0.045, 0.06)
    strap = [(0.2, 0.5 - half), (0.9, 0.5 - half), (0.95, 0.5), (0.9, 0.5 + half), (0.2, 0.5 + half)]
    holes = [Part(ellipse(x, 0.5, 0.009, 0.009), "dark") for x in np.linspace(0.68, 0.86, 5)]
    frame = rounded(0.06, 0.5 - half - 0.035, 0.21, 0.5 + half + 0.035, 0.02)
    stitches = [
        line((0.22, 0.5 + s * (half - 0.012)), (0.89, 0.5 + s * (half - 0.012)), width=0.003, material="stitch")
        for s in (1, -1)
    ]
    return [
        Part(strap),
        *stitches,
        *holes,
        Part([*frame, frame[0]], "metal", 0.025),
        line((0.1, 0.5), (0.26, 0.5), width=0.014, material="metal"),
        Part(rounded(0.27, 0.49 - half, 0.31, 0.51 + half, 0.008), "trim"),
    ]


def socks(draw: Random) -> list[Part]:
    """A pair of socks."""
    top = draw.uniform(0.12, 0.25)

    def one(dx: float, dy: float) -> list[Part]:
        outline = [
            (0.2, top),
            (0.38, top),
            (0.385, 0.5),
            (0.44, 0.62),
            (0.62, 0.7),
            (0.66, 0.78),
            (0.58, 0.83),
            (0.34, 0.78),
            (0.21, 0.66),
            (0.2, 0.5),
        ]
        cuff = [(0.195, top), (0.385, top), (0.385, top + 0.06), (0.195, top + 0.06)]
        toe = smooth([(0.55, 0.68), (0.64, 0.715), (0.665, 0.78), (0.58, 0.83), (0.53, 0.815)])
        heel = smooth([(0.2, 0.56), (0.27, 0.64), (0.32, 0.77), (0.21, 0.67)])
        parts = [
            Part([outline[0], *smooth(outline[1:], closed=False), outline[-1]]),
            Part(cuff, "trim"),
            Part(toe, "trim"),
            Part(heel, "trim"),
        ]
        return [Part([(x + dx, y + dy) for x, y in part.points], part.material, part.width) for part in parts]

    return one(0.2, -0.03) + one(-0.02, 0.06)


def sunglasses(draw: Random) -> list[Part]:
    """Front view, dark lenses with a glint."""
    height, round_ = draw.uniform(0.1, 0.15), draw.random() < 0.4
    parts = [
        line((0.08, 0.42), (0.03, 0.4), (0.05, 0.5), width=0.022, material="fabric"),
        line((0.92, 0.42), (0.97, 0.4), (0.95, 0.5), width=0.022, material="fabric"),
    ]
    for x in (0.27, 0.73):
        outline = (
            ellipse(x, 0.5, 0.17, height + 0.02)
            if round_
            else smooth(
                [
                    (x - 0.19, 0.4),
                    (x, 0.385),
                    (x + 0.19, 0.4),
                    (x + 0.16, 0.5 + height),
                    (x, 0.52 + height),
                    (x - 0.16, 0.5 + height),
                ]
            )
        )
        lens = [(x + 0.86 * (px - x), 0.49 + 0.84 * (py - 0.49)) for px, py in outline]
        glint = [(x - 0.1, 0.43), (x - 0.04, 0.43), (x - 0.09, 0.53), (x - 0.13, 0.53)]
        parts += [Part(outline), Part(lens, "glass"), Part(glint, "glint")]
    return [*parts, line((0.43, 0.45), (0.5, 0.42), (0.57, 0.45), width=0.03, material="fabric")]


def watch(draw: Random) -> list[Part]:
    """Round dial on a strap."""
    radius = draw.uniform(0.17, 0.21)
    strap = [
        Part([(0.41, 0.06), (0.59, 0.06), (0.61, 0.35), (0.39, 0.35)]),
        Part([(0.39, 0.65), (0.61, 0.65), (0.58, 0.94), (0.42, 0.94)]),
    ]
    dial = [
        Part(ellipse(0.5, 0.5, radius + 0.035, radius + 0.035), "metal"),
        Part(ellipse(0.5, 0.5, radius, radius), "dial"),
    ]
    angles = np.radians(np.arange(0, 360, 30))
    marks = [
        line(
            (0.5 + 0.8 * radius * np.cos(a), 0.5 + 0.8 * radius * np.sin(a)),
            (0.5 + 0.92 * radius * np.cos(a), 0.5 + 0.92 * radius * np.sin(a)),
            width=0.008,
            material="dark",
        )
        for a in angles
    ]
    turn = np.radians(draw.randrange(360))
    hands = [
        line((0.5, 0.5), (0.5 + 0.6 * radius * np.cos(a), 0.5 + 0.6 * radius * np.sin(a)), width=w, material="dark")
        for a, w in ((turn, 0.016), (turn + 2, 0.01))
    ]
    holes = [Part(ellipse(0.5, y, 0.008, 0.008), "dark") for y in (0.76, 0.81, 0.86)]
    return [*strap, *holes, Part(rounded(0.71, 0.475, 0.76, 0.525, 0.01), "metal"), *dial, *marks, *hands]


def umbrella(draw: Random) -> list[Part]:
    """Open umbrella with a hooked handle."""
    height = draw.uniform(0.36, 0.42)
    handle = [
        line((0.5, 0.15), (0.5, 0.82), width=0.018, material="dark"),
        line((0.5, 0.8), (0.5, 0.88), (0.54, 0.91), (0.58, 0.88), width=0.024, material="dark"),
    ]
    edge = [point for i in range(5) for point in ellipse(0.82 - 0.16 * i, 0.52, 0.08, 0.035, 0, -180)[::4]]
    ribs = [
        line((0.5, 0.53 - height), (0.5 + t * 0.85, 0.35), (0.5 + t, 0.515), width=0.004)
        for t in (-0.24, -0.08, 0.08, 0.24)
    ]
    return [
        *handle,
        Part([*ellipse(0.5, 0.52, 0.4, height, 180, 360), *edge]),
        *ribs,
        line((0.5, 0.08), (0.5, 0.15), width=0.014, material="dark"),
    ]


def mug(draw: Random) -> list[Part]:
    """A mug with a handle."""
    side = draw.uniform(0.2, 0.23)
    handle = line(*ellipse(0.46 + side, 0.53, 0.15, 0.14, -80, 80)[::6], width=0.045, material="fabric")
    body = [
        (0.46 - side, 0.3),
        (0.46 + side, 0.3),
        (0.46 + side - 0.01, 0.72),
        *ellipse(0.46, 0.74, side - 0.01, 0.05, 0, 180),
        (0.47 - side, 0.72),
    ]
    return [
        handle,
        Part(body),
        Part(ellipse(0.46, 0.3, side, 0.045), "trim"),
        Part(ellipse(0.46, 0.305, side - 0.02, 0.033), "inside"),
    ]


SHAPES: dict[str, tuple[Shape, tuple[int, int]]] = {
    "T-shirt": (t_shirt, (9, 35)), "Shirt": (shirt, (25, 80)), "Sweater": (sweater, (30, 120)), "Jacket": (jacket, (60, 240)),
    "Dress": (dress, (35, 180)), "Skirt": (skirt, (20, 90)), "Trousers": (trousers, (30, 110)), "Jeans": (jeans, (35, 130)),
    "Shorts": (shorts, (15, 50)), "Sneakers": (sneakers, (40, 160)), "Boots": (boots, (70, 220)), "Heels": (heels, (45, 190)),
    "Handbag": (handbag, (40, 260)), "Backpack": (backpack, (30, 140)), "Wallet": (wallet, (15, 80)), "Cap": (cap, (10, 35)),
    "Hat": (hat, (20, 75)), "Scarf": (scarf, (12, 70)), "Tie": (tie, (12, 60)), "Belt": (belt, (15, 70)),
    "Socks": (socks, (4, 18)), "Sunglasses": (sunglasses, (20, 190)), "Watch": (watch, (40, 400)), "Umbrella": (umbrella, (12, 45)),
    "Mug": (mug, (8, 25)),
}  # fmt: skip
"""Category -> how it is drawn, and the range of its prices."""
