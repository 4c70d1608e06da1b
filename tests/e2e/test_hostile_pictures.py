"""Pictures as strangers break them, sent to a real server: it answers each, and takes no more memory for many."""

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from models.encoder import DualEncoder
from models.imaging import decode_image
from models.store import EMBEDDED
from tests.e2e.conftest import Server
from tests.hostile_pictures import LIMITS, crafted, mutated, reference, whole
from tests.hostile_uploads import WAYS

COUNT, WARMING = 5_000, 1_000
MAX_GROWN_KIB = 64 * 1024
MAX_PEAK_KIB = 768 * 1024
"""Of the whole server, its model among it."""


def memory_kib(server: Server, field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", Path(f"/proc/{server.process.pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def outcomes(client: httpx.Client, pictures: Iterable[tuple[str, bytes]]) -> Counter[str]:
    """Send each by one of the ways in turn; count the answers."""
    seen: Counter[str] = Counter()
    ways = list(WAYS.values())
    for number, (name, data) in enumerate(pictures):
        answer = ways[number % len(ways)](client, data)
        outcome = "accepted" if answer.is_success else answer.json()["type"]
        assert outcome in ("accepted", "image-undecodable", "image-too-large"), f"{name}: {answer.text[:300]}"
        seen[outcome] += 1
    return seen


@pytest.mark.faults
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
def test_five_thousand_take_no_more_memory_than_the_first(start: Callable[[], Server], tmp_path: Path) -> None:
    limits = "".join(f"max_image_{name.removeprefix('max_')} = {value}\n" for name, value in vars(LIMITS).items())
    (tmp_path / "sightline.toml").write_text(limits)
    server = start()
    with httpx.Client(base_url=server.url, timeout=60) as client:
        outcomes(client, [*crafted().items(), *whole().items(), *mutated(WARMING, seed=3)])
        warm = memory_kib(server, "VmRSS")
        seen = outcomes(client, [*crafted().items(), *mutated(COUNT, seed=4)])
        assert client.get("/readyz").status_code == 200
    grown, peak = memory_kib(server, "VmRSS") - warm, memory_kib(server, "VmHWM")
    print(f"{dict(seen)}; {warm:,} KiB after the first, {grown:+,} KiB after all, {peak:,} KiB at most")  # noqa: T201
    assert "Traceback" not in server.log.read_text()
    assert seen.total() == COUNT + len(crafted())
    assert grown < MAX_GROWN_KIB
    assert peak < MAX_PEAK_KIB


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    return DualEncoder.open(EMBEDDED, device="cpu")


def test_a_whole_picture_embeds_as_another_decoder_has_it(encoder: DualEncoder) -> None:
    pictures = whole()
    decoded = encoder.encode_images([decode_image(data, LIMITS) for data in pictures.values()])
    others = [Image.fromarray(reference(data).astype(np.uint8)) for data in pictures.values()]
    cosines = (decoded * encoder.encode_images(others)).sum(axis=1)
    assert dict(zip(pictures, cosines.tolist(), strict=True)) == pytest.approx(dict.fromkeys(pictures, 1), abs=1e-4)
