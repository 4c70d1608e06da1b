"""Small pictures for galleries, of which those that were asked for last are kept."""

import io
import threading
from collections import OrderedDict
from collections.abc import Callable

from PIL import Image
from prometheus_client import CollectorRegistry, Counter

from models.imaging import ImageLimits, decode_image

QUALITY = 85
MEDIA_TYPE = "image/jpeg"


class Thumbnails:
    """Makes thumbnails, and keeps those that were asked for last. Thread-safe.

    Args:
        max_bytes: Of the thumbnails kept; 0 keeps none.
        limits: Of the pictures.
    """

    def __init__(self, max_bytes: int, limits: ImageLimits) -> None:
        self.registry = CollectorRegistry()
        self._lookups = Counter(
            "sightline_thumbnail_lookups", "Thumbnails that were asked for.", ("result",), registry=self.registry
        )
        self._max_bytes, self._limits = max_bytes, limits
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._bytes = 0

    def get(self, sha256: str, width: int, read: Callable[[], bytes]) -> bytes:
        """A JPEG at most `width` pixels wide; see `make_thumbnail`.

        Args:
            sha256: Of the picture's bytes.
            read: Gives them, if they are needed.

        Raises:
            ImageError: The bytes are no picture within the limits (any more).
            Whatever `read` raises.
        """
        key = sha256, width
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
        self._lookups.labels("miss" if kept is None else "hit").inc()
        if kept is not None:
            return kept
        made = make_thumbnail(read(), width, self._limits)
        self._keep(key, made)
        return made

    def _keep(self, key: tuple[str, int], made: bytes) -> None:
        if len(made) > self._max_bytes:
            return
        with self._lock:
            self._bytes += len(made) - len(self._kept.pop(key, b""))  # another request may have been as quick
            self._kept[key] = made
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])


def make_thumbnail(data: bytes, width: int, limits: ImageLimits) -> bytes:
    """A JPEG at most `width` pixels wide, upright, never larger than the picture itself.

    Raises:
        ImageError: The stored bytes are no picture within the limits (any more).
    """
    picture = decode_image(data, limits, lambda size: _at_least(2 * width, size))
    if picture.width > width:
        height = max(1, round(picture.height * width / picture.width))
        picture = picture.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=QUALITY, optimize=True)
    return file.getvalue()


def _at_least(side: int, size: tuple[int, int]) -> tuple[int, int]:
    """A picture's (width, height), scaled down until its shorter side is `side`."""
    return size if min(size) <= side else (side * size[0] // min(size), side * size[1] // min(size))
