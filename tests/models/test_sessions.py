"""How many runs of a tower go on at once."""

from pathlib import Path

import pytest

from models import sessions
from models.sessions import Session, usable_cores
from models.store import EMBEDDED


def test_a_container_has_the_cores_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(sessions, "CGROUP_QUOTA", quota)
    monkeypatch.setattr(sessions.os, "sched_getaffinity", lambda _: set(range(8)))
    assert usable_cores() == 8
    for written, cores in (("max 100000\n", 8), ("250000 100000\n", 2), ("50000 100000\n", 1), ("1600000 100000\n", 8)):
        quota.write_text(written)
        assert usable_cores() == cores


@pytest.mark.parametrize(("threads", "parallel"), [(1, 8), (3, 2), (16, 1), (0, 1)])
def test_runs_take_the_cores_that_their_threads_leave(
    threads: int, parallel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "usable_cores", lambda: 8)
    assert Session(EMBEDDED / "image.onnx", device="cpu", threads=threads).parallel == parallel
