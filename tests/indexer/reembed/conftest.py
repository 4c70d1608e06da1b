"""A data folder with two models, and the job that changes from one to the other."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from indexer.collection import Collection
from indexer.collections import Collections
from indexer.errors import FetchFailed
from indexer.ingest.pipeline import LoadImage
from indexer.jobs.runner import Jobs
from indexer.jobs.store import Job
from indexer.reembed.job import KIND, ReembedJob, ReembedRequest
from tests.fakes import FakeEncoder
from tests.waiting import WAIT_S

NEW = "0" * 64


class Folder:
    """A running server without HTTP: collections and jobs of one data folder."""

    def __init__(self, path: Path, encoders: dict[str, FakeEncoder], load_image: LoadImage) -> None:
        self._stack = ExitStack()
        self.encoders = encoders
        self.collections = self._stack.enter_context(Collections(path, encoders.__getitem__))
        work = ReembedJob(self.collections, encoders.__getitem__, load_image)
        self.jobs = Jobs(self.collections, {KIND: work}, on_end=work.clean_up)
        work.sweep(self.jobs.store.begun(KIND))
        self._stack.enter_context(self.jobs)

    @property
    def collection(self) -> Collection:
        return self.collections.get("default")

    def begin(self, model: str = "new", **options: object) -> Job:
        fingerprint = self.encoders[model].fingerprint
        request = ReembedRequest(model, fingerprint, **options)  # type: ignore[arg-type]
        return self.jobs.submit(KIND, "default", request.to_json())

    def reembed(self, model: str = "new", **options: object) -> Job:
        return self.end(self.begin(model, **options))

    def end(self, job: Job) -> Job:
        deadline = time.monotonic() + WAIT_S
        while (job := self.jobs.get(job.id)).finished_at is None or self.jobs._workers:
            assert time.monotonic() < deadline, job
            time.sleep(0.005)
        return job

    def states(self) -> list[str]:
        return [info.state for info in self.collection.generations.infos()]

    def close(self) -> None:
        self._stack.close()


@pytest.fixture
def encoders() -> dict[str, FakeEncoder]:
    return {"default": FakeEncoder(), "new": FakeEncoder(dimension=8, fingerprint=NEW)}


@pytest.fixture
def pictures() -> dict[str, bytes]:
    """What addresses give."""
    return {}


@pytest.fixture
def open_folder(
    tmp_path: Path, encoders: dict[str, FakeEncoder], pictures: dict[str, bytes]
) -> Iterator[Callable[[], Folder]]:
    """Open the same data folder, closing what was opened before: a restart."""
    opened: list[Folder] = []

    def load_image(reference: object) -> bytes:
        if reference not in pictures:
            raise FetchFailed("the URL's server answers 404")
        return pictures[str(reference)]

    def open_() -> Folder:
        if opened:
            opened.pop().close()
        opened.append(Folder(tmp_path / "data", encoders, load_image))
        return opened[-1]

    yield open_
    if opened:
        opened.pop().close()


@pytest.fixture
def folder(open_folder: Callable[[], Folder]) -> Folder:
    return open_folder()
