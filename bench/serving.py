"""A server in a process of its own, over a folder of the benchmark's."""

import multiprocessing
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from app.cli.serve import address, leave_on_sigterm, listen, run_server
from app.settings import Settings
from app.state import open_resources


@contextmanager
def server(data_dir: Path, *roots: Path) -> Iterator[tuple[str, int]]:
    """Its address and the id of its process.

    Args:
        roots: Folders that catalogues and their pictures are read from.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(data_dir, roots, sender))
    process.start()
    sender.close()  # else nobody would notice that the process ended
    try:
        yield receiver.recv(), process.pid or 0
    finally:
        process.terminate()
        process.join()


def end(client: httpx.Client, job: dict[str, Any]) -> dict[str, Any]:
    """Wait for a job; gives it as it ended, unless it failed."""
    with client.stream("GET", f"/v1/jobs/{job['id']}/events", timeout=None) as events:
        events.read()
    ended: dict[str, Any] = client.get(f"/v1/jobs/{job['id']}").raise_for_status().json()
    if ended["state"] != "succeeded":
        raise SystemExit(f"the job {ended['state']}: {ended['error']}")
    return ended


def _serve(data_dir: Path, roots: tuple[Path, ...], sender) -> None:  # type: ignore[no-untyped-def]
    settings = Settings(data_dir=data_dir, port=0, query_cache_size=0, ingest_roots=tuple(map(str, roots)))
    with leave_on_sigterm(), listen(settings) as listener, open_resources(settings) as resources:
        sender.send(address(listener))
        run_server(resources, listener, access_log=False)
