"""How many runs of a tower go on at once."""

from pathlib import Path

import pytest

from models import sessions
from models.sessions import Session, provider_options, usable_cores
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


def test_engines_of_tensorrt_are_kept_beside_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told = provider_options("TensorrtExecutionProvider", tmp_path)
    assert (told["trt_engine_cache_enable"], told["trt_engine_cache_path"]) == ("1", str(tmp_path / "engines"))
    assert provider_options("CPUExecutionProvider", tmp_path) == {}

    monkeypatch.setattr(sessions.os, "access", lambda *_: False)  # as the tests run as root, who may write anywhere
    assert provider_options("TensorrtExecutionProvider", tmp_path) == {}
