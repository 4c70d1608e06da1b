"""Pictures of every kind that decoders know, whole and damaged; the same for the same seed.

Run as a program it decodes them in a process of its own, with bounded memory, and prints what came of it as JSON:
`python -m tests.hostile_pictures 600`.
"""

import io
import json
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache

import numpy as np
from PIL import Image, ImageCms, ImageOps

from models.errors import ImageError
from models.imaging import ImageLimits, decode_image

LIMITS = ImageLimits(max_bytes=2_000_000, max_pixels=2_000_000, max_frames=20)
SIZE = (40, 24)
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def encode(image: Image.Image, format_: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format_, **options)
    return buffer.getvalue()


def photo(mode: str = "RGB", seed: int = 0) -> Image.Image:
    """Smooth colours with some noise, so that every decoder has work to do."""
    noise = np.random.default_rng(seed).integers(0, 32, (SIZE[1], SIZE[0], 4))
    across, down = np.linspace(0, 220, SIZE[0]), np.linspace(0, 220, SIZE[1])
    layers = [np.add.outer(down * k, across * (1 - k)) for k in (0, 0.3, 0.7, 1)]
    return Image.fromarray((np.stack(layers, -1) + noise).astype(np.uint8), "RGBA").convert(mode)


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG with its checksum, so that damage gets past it."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: bytes, size: tuple[int, int], depth: int, colour_type: int, *extra: bytes) -> bytes:
    """A PNG put together by hand; `pixels` has a filter byte before each row."""
    header = struct.pack(">IIBBBBB", *size, depth, colour_type, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(pixels))
    return PNG_SIGNATURE + chunk(b"IHDR", header) + b"".join(extra) + body + chunk(b"IEND", b"")


def oriented(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "Maker"
    return exif


def rgb16() -> np.ndarray:
    return np.random.default_rng(5).integers(0, 65536, (SIZE[1], SIZE[0], 3), dtype=np.uint16)


def png_rgb16(values: np.ndarray) -> bytes:
    return png(b"".join(b"\0" + row.astype(">u2").tobytes() for row in values), SIZE, 16, 2)


@cache
def whole() -> dict[str, bytes]:
    """Undamaged pictures by name."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = bytes(12)  # the second in which it was made
    palette = photo().quantize(16)
    grey16 = Image.fromarray(np.linspace(0, 65535, SIZE[0] * SIZE[1], dtype=np.uint16).reshape(SIZE[::-1]))

    def more() -> list[Image.Image]:
        return [photo(seed=seed) for seed in (1, 2, 3)]  # new ones, as saving leaves traces in a picture

    found = {
        "jpeg": encode(photo(), "JPEG"),
        "jpeg grey": encode(photo("L"), "JPEG"),
        "jpeg CMYK": encode(photo("CMYK"), "JPEG"),
        "jpeg YCCK": ycck(encode(photo("CMYK"), "JPEG")),
        "jpeg progressive": encode(photo(), "JPEG", progressive=True),
        "jpeg 4:4:4 with restarts": encode(photo(), "JPEG", subsampling=0, restart_marker_rows=1),
        "jpeg with a profile": encode(photo(), "JPEG", icc_profile=bytes(profile)),
        "jpeg with a comment": encode(photo(), "JPEG", comment=b"\xff\xd8\xff\xda" * 50),
        "mpo": encode(photo(), "MPO", save_all=True, append_images=more()),
        "png": encode(photo()),
        "png with a profile": encode(photo(), icc_profile=bytes(profile)),
        "png alpha": encode(photo("RGBA")),
        "png grey": encode(photo("L")),
        "png grey alpha": encode(photo("LA")),
        "png 1 bit": encode(photo("1")),
        "png palette": encode(palette),
        "png palette with alpha": encode(palette, transparency=bytes(range(0, 256, 16))),
        "png grey 16": encode(grey16),
        "png RGB 16": png_rgb16(rgb16()),
        "apng": encode(photo(), save_all=True, append_images=more()),
        "gif": encode(photo(), "GIF"),
        "gif animated": encode(photo(), "GIF", save_all=True, append_images=more(), disposal=2),
        "gif transparent": encode(palette, "GIF", transparency=3),
        "webp": encode(photo(), "WEBP"),
        "webp lossless alpha": encode(photo("RGBA"), "WEBP", lossless=True),
        "webp animated": encode(photo(), "WEBP", save_all=True, append_images=more()),
        "bmp": encode(photo(), "BMP"),
        "bmp palette": encode(palette, "BMP"),
        "bmp 1 bit": encode(photo("1"), "BMP"),
        "tiff pages": encode(photo(), "TIFF", save_all=True, append_images=more()),
        "tiff CMYK": encode(photo("CMYK"), "TIFF"),
        "tiff grey 16": encode(grey16, "TIFF"),
        "tiff group4": encode(photo("1"), "TIFF", compression="group4"),
        "tiff big": encode(photo(), "TIFF", big_tiff=True),
    }
    for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"):
        found[f"tiff {compression}"] = encode(photo(), "TIFF", compression=compression)
    for orientation in range(1, 9):
        found[f"jpeg turned {orientation}"] = encode(photo(), "JPEG", exif=oriented(orientation))
        found[f"png turned {orientation}"] = encode(photo(), exif=oriented(orientation))
    return found


def ycck(cmyk: bytes) -> bytes:
    """A CMYK JPEG whose Adobe marker says that the first three components are luminance and chrominance."""
    at = cmyk.index(b"Adobe") + 11
    return cmyk[:at] + b"\2" + cmyk[at + 1 :]


def tiff(entries: list[tuple[int, int, int, int]], data: bytes, following: int = 0) -> bytes:
    """A little-endian TIFF of one directory (tag, type, count, value) at byte 8; `data` comes after it."""
    packed = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0" + struct.pack("<IH", 8, len(entries)) + packed + struct.pack("<I", following) + data


def grey_tiff(strips: int, *, width: int = 64, height: int = 64) -> list[tuple[int, int, int, int]]:
    plain = [(256, 3, 1, width), (257, 3, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1)]
    return [*plain, (273, 4, strips, 8), (278, 3, 1, 1), (279, 4, strips, 8)]


def reference(data: bytes) -> np.ndarray:
    """A whole picture's pixels by another way: Pillow's own transposition, and the colours computed in NumPy."""
    with Image.open(io.BytesIO(data)) as image:
        upright = ImageOps.exif_transpose(image)
        if upright.mode.startswith("I;16"):
            return np.round(np.asarray(upright)[..., None].repeat(3, axis=2) / 257)
        layers = np.asarray(upright.convert("RGBA")).astype(float)
    alpha = layers[..., 3:] / 255
    return np.round(layers[..., :3] * alpha + 255 * (1 - alpha))


@cache
def crafted() -> dict[str, bytes]:
    """Files made to cost a decoder time or memory, or to be taken for what they are not."""
    bomb = zlib.compress(b"\0" * 100_000_000, 9)
    row = b"\0" * (SIZE[0] * 3 + 1)
    jpeg = encode(photo(), "JPEG")
    progressive = encode(photo(), "JPEG", progressive=True)
    last_scan = progressive[progressive.rindex(b"\xff\xda") : -2]
    gif = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\2\2\x44\1\0"
    directory = b"".join(struct.pack("<HHII", *entry) for entry in grey_tiff(1))
    chain = b"".join(
        struct.pack("<H", 8) + directory + struct.pack("<I", 110 + 102 * number) for number in range(1, 15_000)
    )
    tags = struct.pack("<2sHIH", b"II", 42, 8, 5000) + b"".join(
        struct.pack("<HHII", 1000 + number, 12, 7500, 8) for number in range(5000)
    )
    return {
        "png text bomb": png(row * SIZE[1], SIZE, 8, 2, chunk(b"zTXt", b"a\0\0" + bomb)),
        "png international text bomb": png(row * SIZE[1], SIZE, 8, 2, chunk(b"iTXt", b"a\0\1\0\0\0" + bomb)),
        "png profile bomb": png(row * SIZE[1], SIZE, 8, 2, chunk(b"iCCP", b"a\0\0" + bomb)),
        "png data bomb": png(b"\0" * 50_000_000, SIZE, 8, 2),
        "png of chunks": png(row * SIZE[1], SIZE, 8, 2, chunk(b"tEXt", b"a\0") * 140_000),
        "png of empty data": png(row, SIZE, 8, 2, chunk(b"IDAT", b"") * 160_000),
        "png huge": png(b"", (2**31 - 1, 2**31 - 1), 8, 2),
        "png wide": png(b"", (2**31 - 1, 1), 1, 0),
        "png without size": png(b"", (0, 0), 8, 2),
        "png exif bomb": png(row * SIZE[1], SIZE, 8, 2, chunk(b"eXIf", tags + b"x" * 1_900_000)),
        "png frames declared": PNG_SIGNATURE
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 2, 0, 0, 0))
        + chunk(b"acTL", struct.pack(">II", 2**32 - 1, 0)),
        "jpeg huge": jpeg_of_size(jpeg, 65500, 65500),
        "jpeg large and short": jpeg_of_size(jpeg, 1400, 1400),
        "jpeg without size": jpeg_of_size(jpeg, 0, 0),
        "jpeg of scans": progressive[:-2] + last_scan * 5000 + b"\xff\xd9",
        "jpeg of segments": jpeg[:2] + b"\xff\xe1\0\4ab" * 300_000 + jpeg[2:],
        "jpeg of fill bytes": jpeg[:2] + b"\xff" * 1_900_000 + jpeg[2:],
        "jpeg of fill bytes without end": jpeg[:2] + b"\xff" * 1_900_000,
        "jpeg of junk": jpeg[:2] + b"\0" * 1_900_000 + jpeg[2:],
        "jpeg exif bomb": jpeg[:2] + b"\xff\xe1" + struct.pack(">H", 60_018) + b"Exif\0\0" + tags[:60_010] + jpeg[2:],
        "jpeg exif circle": jpeg[:2]
        + b"\xff\xe1\0\x22Exif\0\0"
        + struct.pack("<2sHIHHHII", b"II", 42, 8, 1, 0x8769, 4, 1, 8)
        + b"\0" * 4
        + jpeg[2:],
        "gif of frames": gif + frame * 100_000 + b";",
        "gif of comments": gif + b"\x21\xfe\1a\0" * 380_000 + frame + b";",
        "gif of one comment": gif + b"\x21\xfe" + b"\1a" * 900_000 + b"\0" + frame + b";",
        "gif of unknown blocks": gif + b"\1" * 1_900_000 + frame + b";",
        "gif large frame": gif + b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\2\2\x44\1\0;",
        "tiff of directories": tiff(grey_tiff(1), chain, 110),
        "tiff in a circle": tiff(grey_tiff(1), b"\0" * 8192, 8),
        "tiff of strips": tiff(grey_tiff(450_000), b"\x80" * 1_900_000),
        "tiff of tiles": tiff(
            [*grey_tiff(1)[:5], (322, 3, 1, 1), (323, 3, 1, 1), (324, 4, 450_000, 8), (325, 4, 450_000, 8)],
            b"\x80" * 1_900_000,
        ),
        "tiff huge": tiff(grey_tiff(1, width=65535, height=65535), b""),
        "bmp huge": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, 2**31 - 1, 1, 1, 24, 0, 0, 0, 0, 0, 0),
        "bmp upside down": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 0, 0, 0, 54, 40, -5, 70, 1, 24, 0, 0, 0, 0, 0, 0),
        "webp of frames": encode(
            photo(), "WEBP", save_all=True, append_images=[photo(seed=seed) for seed in range(1, 30)]
        ),
        "svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "html": b"<!doctype html><img src=x onerror=alert(1)>",
        "pdf": b"%PDF-1.7\n1 0 obj\n<<>>\nendobj\n",
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "xbm": b"#define a_width 8\n#define a_height 1\nstatic char a_bits[] = {0};\n",
        "zip": b"PK\3\4" + b"\0" * 100,
        "zeros": b"\0" * 10_000,
        "nothing": b"",
    }


@cache
def polyglots() -> dict[str, bytes]:
    """Pictures that are something else as well: they are decoded as pictures, and never as what follows or hides."""
    script = b"<script>alert(1)</script>"
    return {
        "jpeg and zip": encode(photo(), "JPEG") + b"PK\3\4" + b"\0" * 100,
        "png and html": encode(photo()) + script,
        "gif and script": encode(photo(), "GIF", comment=b"*/=1;" + script),
        "jpeg and html": encode(photo(), "JPEG", comment=script),
    }


def jpeg_of_size(jpeg: bytes, width: int, height: int) -> bytes:
    at = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:at] + struct.pack(">HH", height, width) + jpeg[at + 4 :]


# Damage


def _flip(data: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.choice((1, 2, 8, 64))):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return data


def _flip_head(data: bytearray, draw: random.Random) -> bytearray:
    for _ in range(draw.randint(1, 4)):
        data[draw.randrange(min(64, len(data)))] = draw.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
    return data


def _set_number(data: bytearray, draw: random.Random) -> bytearray:
    form = draw.choice((">I", "<I", ">H", "<H"))
    size = struct.calcsize(form)
    at = draw.randrange(min(400, len(data) - size))
    extreme = draw.choice((0, 1, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1))
    struct.pack_into(form, data, at, extreme)
    return data


def _cut(data: bytearray, draw: random.Random) -> bytearray:
    return data[: draw.randrange(len(data))]


def _drop(data: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(data))
    del data[at : at + draw.randint(1, 64)]
    return data


def _double(data: bytearray, draw: random.Random) -> bytearray:
    at = draw.randrange(len(data))
    return data[:at] + data[at : at + draw.randint(1, 200)] * draw.randint(2, 9) + data[at:]


def _blank(data: bytearray, draw: random.Random) -> bytearray:
    at, length = draw.randrange(len(data)), draw.randint(1, 64)
    data[at : at + length] = draw.choice((b"\0", b"\xff")) * length
    return data


_DAMAGE: tuple[Callable[[bytearray, random.Random], bytearray], ...] = (
    _flip, _flip_head, _set_number, _cut, _drop, _double, _blank,
)  # fmt: skip


def mutated(count: int, seed: int = 1) -> Iterator[tuple[str, bytes]]:
    """Damaged pictures with the names of what they were; some wear the head of another one."""
    draw = random.Random(seed)
    originals = list((whole() | polyglots()).items())
    for number in range(count):
        name, original = originals[number % len(originals)]
        data = bytearray(original)
        if draw.random() < 0.1:
            other, head = draw.choice(originals)
            name, length = f"{name} as {other}", draw.randint(2, 40)
            data[:length] = head[:length]
        for _ in range(draw.choice((1, 1, 1, 2, 3))):
            if len(data) > 8:
                data = draw.choice(_DAMAGE)(data, draw)
        yield f"{number}: {name}", mended(bytes(data)) if draw.random() < 0.5 else bytes(data)


def mended(data: bytes) -> bytes:
    """A damaged PNG with right checksums, so that the damage gets to where chunks are read."""
    if not data.startswith(PNG_SIGNATURE):
        return data
    parts, at = [PNG_SIGNATURE], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if at + 12 + length > len(data):
            break
        parts.append(chunk(data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return b"".join(parts) + data[at:]


def main(count: int, max_address_bytes: int) -> None:
    """Decode all in this process; any other end than the printed line is a crash."""
    resource.setrlimit(resource.RLIMIT_AS, (max_address_bytes, max_address_bytes))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes: Counter[str] = Counter()
    slowest = (0.0, "")
    for name, data in [*crafted().items(), *mutated(count)]:
        started = time.process_time()
        try:
            decode_image(data, LIMITS)
            outcomes["decoded"] += 1
        except ImageError as error:
            outcomes[type(error).__name__] += 1
        slowest = max(slowest, (time.process_time() - started, name))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    sys.stdout.write(json.dumps({"outcomes": outcomes, "slowest": slowest, "grown_bytes": grown}))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
