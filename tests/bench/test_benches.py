"""The benchmarks run, with tiny settings and the embedded model; what they measure here means nothing."""

from itertools import starmap
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from bench import gpu, soak, start
from bench.clients import Answer, Answers
from bench.http import process
from bench.peers import __main__ as peers
from bench.peers import sightline
from models.store import EMBEDDED

HEAD = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\n\r\n"


def add_models(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for name in names:
        (folder / name).symlink_to(EMBEDDED, target_is_directory=True)


def test_gpu_bench_runs_on_a_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    add_models(tmp_path / "models", "small-int8")
    plan = gpu.Plan("cpu", tmp_path / "models", ["small"], ["int8", "fp16"], [1, 2], 0.01, 4, 2000, 16)
    gpu.run(plan)
    rows = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert rows.count("small-int8") == 3  # two batches, one ingest
    assert {"flat, CPU", "IVF, CPU"} <= set(rows)


def test_what_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpu.run(gpu.Plan("cpu", tmp_path, ["small"], ["fp16"], [1], 0.01, 4, 500, 16))
    assert "small-fp16: not at" in capsys.readouterr().out


def ends_at_once(sender: Connection) -> None:
    """Stands for a server that does not start."""


def test_a_server_that_does_not_start_is_not_waited_for() -> None:
    with pytest.raises(EOFError), process(ends_at_once):
        pass


def test_peers_bench_runs_without_peers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(peers, "CLIENTS", (1, 4))
    monkeypatch.setattr(peers, "DRAWN", 4)
    monkeypatch.setattr(sightline, "JOB_S", 0.5)
    monkeypatch.setattr(sightline, "CHOICE_S", 0.01)
    monkeypatch.setattr(sightline, "usable_cores", lambda: 2)  # so many readers are started
    add_models(tmp_path / "models", "fp32", "int8")
    peers.run(tmp_path, items=50, rounds=1, seconds=0.05, peers=["infinity"])
    printed = capsys.readouterr().out
    assert "infinity is not installed: uv venv" in printed
    assert all(f"{what}, {clients} client" in printed for what in ("texts", "pictures") for clients in (1, 4))
    assert "a lone search, int8" in printed
    assert "by `took_ms`, of " in printed
    assert "Sightline int8, search, " in printed  # by readers


def test_soak_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for setting, value in {"SAMPLE_S": 0.05, "CLIENTS": 6, "FEW": 2, "MANY": 2}.items():
        monkeypatch.setattr(soak, setting, value)
    soak.run(2 / 60, items=50)
    assert "as asked      no error but 503" in capsys.readouterr().out


def answers(*statuses: int, head: bytes = HEAD) -> Answers:
    return Answers(
        [Answer(b"POST /v1/embeddings HTTP/1.1", n, 0.1, status, head) for n, status in enumerate(statuses)], 1
    )


@pytest.mark.parametrize(
    ("seen", "memory", "index", "patience_s", "good"),
    [
        (answers(200, 201, 503, 200, 200), [100, 10, 10, 10, 10], [0] * 5, 20, True),
        (answers(200, 500, 503, 200, 200), [10] * 5, [0] * 5, 20, False),
        (answers(200, 200, 503, 200, 200, head=b"HTTP/1.1 503\r\n\r\n"), [10] * 5, [0] * 5, 20, False),
        (answers(200, 201, 503, 200, 200), [10, 10, 10, 10, 11], [0] * 5, 20, False),
        (answers(200, 201, 503, 200, 200), [10, 10, 10, 10, 11], [0, 0, 0, 0, 1], 20, True),
        (answers(200, 201, 503, 200, 200), [10] * 5, [0] * 5, 0.01, False),
    ],
    ids=["as asked", "an error", "no Retry-After", "memory grows", "the index grows", "p99 too long"],
)
def test_soak_judges(seen: Answers, memory: list[int], index: list[int], patience_s: float, good: bool) -> None:
    assert soak._judge(seen, list(starmap(soak.Memory, zip(memory, index, strict=True))), patience_s) is good


def test_start_bench_runs(capsys: pytest.CaptureFixture[str]) -> None:
    start.run(items=20, rounds=1)
    assert "serve, 20 items" in capsys.readouterr().out
