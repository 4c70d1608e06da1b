"""The Python of the documents runs as it stands there."""

import re
from pathlib import Path

import pytest

from sightline_client import Client
from tests.pictures import picture

CLIENTS = Path(__file__).parents[2] / "docs" / "clients.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", CLIENTS.read_text(encoding="utf-8"), re.DOTALL)


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 3


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.splitlines()[0])
def test_an_example_runs(example: str, server_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGHTLINE_URL", server_url)
    (tmp_path / "coat.jpg").write_bytes(picture("green", format_="JPEG"))
    (tmp_path / "catalog.csv").write_text("id,title\na,red\n,\n")
    exec(compile(example.replace("http://127.0.0.1:8000", server_url), "docs/clients.md", "exec"), {})
    with Client() as sightline:
        assert sightline.collection().items == 1
