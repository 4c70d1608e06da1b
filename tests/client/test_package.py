"""The package by itself."""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
ALONE = """
import sys
for name in ("app", "indexer", "models", "faiss", "fastapi", "onnxruntime", "PIL", "sqlalchemy", "starlette"):
    sys.modules[name] = None
import sightline_client
print(sightline_client.Client.__name__)
"""


def test_it_is_imported_without_the_server() -> None:
    ran = subprocess.run([sys.executable, "-W", "error", "-c", ALONE], cwd=ROOT, capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "Client\n"), ran.stderr


def test_it_needs_nothing_that_the_server_does_not_need() -> None:
    server = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    client = tomllib.loads((ROOT / "sightline_client" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(client["dependencies"]) < set(server["dependencies"])
    assert client["version"] == server["version"]
