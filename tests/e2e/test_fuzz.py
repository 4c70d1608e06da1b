"""Requests that schemathesis makes up by the OpenAPI document, to a real server: nothing that the document hides."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Server
from tests.pictures import data_uri, picture

SCHEMATHESIS = Path(sys.executable).parent / "schemathesis"
CONFIG = Path(__file__).with_name("schemathesis.toml")
FUZZ_S = int(os.environ.get("FUZZ_SECONDS", "1800"))


@pytest.fixture
def server(start: Callable[[], Server], tmp_path: Path) -> Server:
    """A server that speaks all that it can, with items by the ids of the document's examples."""
    (tmp_path / "sightline.toml").write_text("clip_retrieval = true\n")
    server = start()
    for id_, colour in (("sku-1042", "red"), ("0", "blue")):
        item = {
            "image": data_uri(picture(colour)),
            "text": f"a {colour} dress",
            "metadata": {"brand": "Puma", "price": 5},
        }
        httpx.put(f"{server.url}/v1/collections/default/items/{id_}", json=item, timeout=60).raise_for_status()
    return server


def fuzz(server: Server, *options: object) -> None:
    command = [SCHEMATHESIS, "--config-file", CONFIG, "run", f"{server.url}/openapi.json", "--no-color", *options]
    ran = subprocess.run(list(map(str, command)), cwd=server.log.parent, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Traceback" not in server.log.read_text()


def test_a_short_run_finds_nothing(server: Server) -> None:
    fuzz(server, "--phases", "examples,coverage", "--generation-deterministic", "--max-time", 60)


@pytest.mark.fuzz
def test_a_long_run_finds_nothing(server: Server) -> None:
    fuzz(server, "--max-time", FUZZ_S, "--continue-on-failure")
