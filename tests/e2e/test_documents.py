"""The documents are right: their `bash` runs as it stands there. Their `sh` is only for reading."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.sample import draw_sample
from tests.e2e.conftest import ROOT, spawn, wait_until_ready

REFUSED = {"watch-rules.md": [422]}
"""Statuses of errors that are shown on purpose."""


def commands(document: Path) -> str:
    return "\n".join(re.findall(r"```bash\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL))


DOCUMENTS = [file for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))) if commands(file)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a reader is: with a sample catalogue, what README names, and a server, whose address is in `url`."""
    folder = tmp_path_factory.mktemp("reader")
    (folder / "docs").symlink_to(ROOT / "docs")
    (folder / "sightline.toml").write_text(f'ingest_roots = ["{folder}"]\n')
    draw_sample(folder / "shop", items=60)
    (folder / "bin").mkdir()
    script(folder / "bin" / "sightline", f'{sys.executable} -m app "$@"')
    script(folder / "bin" / "curl", f"""{shutil.which("curl")} -w '%{{stderr}}\\n%{{http_code}}\\n' "$@" """)
    log = folder / "server.log"
    process = spawn(log, "serve", "--port", 0, "--data-dir", "data")
    try:
        (folder / "url").write_text(wait_until_ready(process, log))
        yield folder
    finally:
        process.terminate()
        process.wait(timeout=30)


def script(file: Path, command: str) -> None:
    file.write_text(f"#!/bin/sh\nexec {command}\n")
    file.chmod(0o755)


@pytest.mark.skipif(any(shutil.which(tool) is None for tool in ("curl", "zip")), reason="a reader has curl and zip")
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: file.name)
def test_commands_run(document: Path, folder: Path) -> None:
    url = (folder / "url").read_text()
    anew = "curl -s -X DELETE http://127.0.0.1:8000/v1/collections/default\nsightline ingest shop/catalog.csv\n"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", (anew + commands(document)).replace("http://127.0.0.1:8000", url)],
        cwd=folder,
        env=dict(os.environ, PATH=f"{folder}/bin:{os.environ['PATH']}", PYTHONPATH=str(ROOT), SIGHTLINE_URL=url),
        capture_output=True,
        text=True,
        timeout=300,
    )
    statuses = [int(line) for line in re.findall(r"^(\d{3})$", done.stderr, re.MULTILINE)]
    assert done.returncode == 0, done.stdout + done.stderr
    assert [status for status in statuses if status >= 400] == REFUSED.get(document.name, []), done.stdout
