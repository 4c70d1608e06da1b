"""Real processes of `sightline`, started in an instant: forks of one process that has imported everything.

What runs in them is the command line itself, with an encoder that costs nothing, and with shorter rests.
"""

import multiprocessing
import os
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import httpx
import uvicorn  # noqa: F401  imported once here, and in no fork

import app.cli
import app.server
import app.state
from indexer.index import approximate, compaction, kinds, vector_index
from indexer.jobs import runner as jobs
from models.encoder import DualEncoder
from models.manifest import read_manifest
from tests.fakes import FakeEncoder

TIMEOUT_S = 60.0

_forks = multiprocessing.get_context("forkserver")
_forks.set_forkserver_preload([__name__, "pytest"])  # every fork imports the main module, which is pytest's


@dataclass(frozen=True)
class Process:
    """A command that runs; its output goes to `log`."""

    process: BaseProcess
    log: Path

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        self.process.kill()
        self.process.join(TIMEOUT_S)

    def stop(self) -> int | None:
        """SIGTERM; the exit code."""
        self.process.terminate()
        return self.wait()

    def wait(self) -> int | None:
        """The exit code, once it has ended."""
        self.process.join(TIMEOUT_S)
        return self.process.exitcode

    def ready(self) -> str:
        """The address of a server, once it answers that it is ready."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline and self.process.is_alive():
            found = re.search(r"Sightline serves (\S+)", self.log.read_text())
            with suppress(httpx.TransportError):
                if found and httpx.get(f"{found[1]}/readyz", timeout=TIMEOUT_S).status_code == 200:
                    return found[1]
            time.sleep(0.02)
        raise AssertionError(f"the server did not become ready:\n{self.log.read_text()}")


def start(
    log: Path, *arguments: object, temporary: Path | None = None, flat_components: int = kinds.FLAT_COMPONENTS
) -> Process:
    """Start a command of `sightline`.

    Args:
        temporary: Its folder for temporary files.
        flat_components: Segments of more than these get lists, and a graph where these must be read far.
    """
    log.touch()
    words = [str(argument) for argument in arguments]
    process = _forks.Process(target=_run, args=(log, words, temporary, flat_components), daemon=True)
    process.start()
    return Process(process, log)


def fake_encoder(folder: Path) -> FakeEncoder:
    """An encoder that passes for a model's."""
    manifest = read_manifest(folder)
    return FakeEncoder(manifest.dimension, manifest.fingerprint)


def _run(log: Path, arguments: list[str], temporary: Path | None, flat_components: int) -> None:
    with log.open("ab", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.chdir(log.parent)
    os.environ["COLUMNS"] = "500"
    if temporary:
        os.environ["TMPDIR"] = str(temporary)
    DualEncoder.open = lambda folder, **_: fake_encoder(folder)  # type: ignore[method-assign, assignment, return-value]
    jobs.STORAGE_PAUSE_S = 0.2
    compaction.RETRY_S = 0.5
    vector_index.MIN_COMPACTION = 500
    kinds.FLAT_COMPONENTS = flat_components
    approximate.FAR = flat_components // 16
    sys.argv = ["sightline", *arguments]
    app.cli.main()
